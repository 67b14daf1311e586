//! oscillators
