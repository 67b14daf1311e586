//! `PersonKey`.
use harmonia_core::person_key::{PersonKey as Core, KEY_LEN, NONCE_LEN};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

#[pyclass(frozen, module = "harmonia._core")]
pub struct PersonKey(pub Core);

#[pymethods]
impl PersonKey {
    #[new]
    fn new(key: &[u8]) -> PyResult<Self> {
        Ok(Self(Core::new(&sized::<KEY_LEN>("a person's key", key)?)))
    }

    fn seal<'py>(&self, py: Python<'py>, nonce: &[u8], event_id: &[u8], data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let nonce = sized::<NONCE_LEN>("a nonce", nonce)?;
        Ok(PyBytes::new(py, &py.detach(|| self.0.seal(nonce, event_id, data))))
    }

    fn open<'py>(&self, py: Python<'py>, event_id: &[u8], sealed: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let mut room = sealed.to_vec();
        py.detach(|| self.0.open(event_id, &mut room)).map(|data| PyBytes::new(py, data))
    }
}

fn sized<const N: usize>(what: &str, given: &[u8]) -> PyResult<[u8; N]> {
    given.try_into().map_err(|_| PyValueError::new_err(format!("{what} must be {N} bytes, not {}", given.len())))
}
