//! `ByStream`: a stretch of the journal, by streams.
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use harmonia_core::by_stream::ByStream as Core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::person_key::PersonKey;

#[pyclass(frozen, module = "harmonia._core")]
#[derive(Default)]
pub struct ByStream(Mutex<Core>);

#[pymethods]
impl ByStream {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn add(&self, rows: &Bound<'_, PyList>) -> PyResult<()> {
        let mut core = self.core();
        for row in rows.iter() {
            let row = row.cast::<PyTuple>()?;
            let (stream, revision) = (row.get_borrowed_item(0)?, row.get_borrowed_item(1)?);
            let (id, data) = (row.get_borrowed_item(2)?, row.get_borrowed_item(3)?);
            let (id, data) = (id.cast::<PyBytes>()?, data.cast::<PyBytes>()?);
            core.add(stream.cast::<PyString>()?.to_str()?, revision.extract()?, id.as_bytes(), data.as_bytes())
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
        }
        Ok(())
    }

    fn take<'py>(
        &self,
        py: Python<'py>,
        keys: HashMap<String, Py<PersonKey>>,
        heads: Vec<Vec<u8>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let strands = py.detach(|| self.core().take(|stream| keys.get(stream).map(|key| &key.get().0), &heads));
        let each = strands.into_iter().map(|(stream, strand)| {
            let lines = strand.lines.map(|text| PyBytes::new(py, &text));
            (stream, strand.revisions, lines)
        });
        PyList::new(py, each.collect::<Vec<_>>())
    }
}

impl ByStream {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.0.lock().expect("no panic while it is held")
    }
}
