//! The one way in which threads here take a lock.
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, also after a thread that held it has panicked: what it left is consistent enough to mute in.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
