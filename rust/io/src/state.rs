//! Small files that outlive the process.
//!
//! Each is written beside and renamed over, so that a reader or a crash meets the old one or the new one, never half of
//! one. What may be lost with the power (the clock: after a reboot it is another anyway) is not waited for.
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::IoError;

/// The file `FILE.WHAT`. The whole name and more, so that two clocks in one folder never share a file.
pub(crate) fn beside(file: &Path, what: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}

/// What is in `file`, damaged or not; `None` if there is no such file.
pub(crate) fn read(file: &Path) -> Result<Option<String>, IoError> {
    match std::fs::read(file) {
        // A damaged file may hold any bytes.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoError::file(file)(error)),
    }
}

/// As [`read`], but only what nobody else could have read or written; `None` for what they could.
pub(crate) fn read_secret(file: &Path) -> Result<Option<String>, IoError> {
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => Ok(None),
        _ => read(file),
    }
}

/// Writes `text` in place of what was there. Does not wait for the disk.
pub(crate) fn replace(file: &Path, text: &str) -> Result<(), IoError> {
    let new = beside(file, "new");
    std::fs::write(&new, text).map_err(IoError::file(&new))?;
    std::fs::rename(&new, file).map_err(IoError::file(file))
}

/// As [`replace`], for the owner's eyes only (mode 0600), and on the disk when it returns.
pub(crate) fn replace_secret(file: &Path, text: &str) -> Result<(), IoError> {
    let new = beside(file, "new");
    // A file that is there already would keep its mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(IoError::file(&new)(error)),
        _ => {}
    }
    let write = || {
        let mut secret = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        secret.write_all(text.as_bytes())?;
        secret.sync_all()
    };
    write().map_err(IoError::file(&new))?;
    std::fs::rename(&new, file).map_err(IoError::file(file))
}
