//! Sockets, operating-system clocks, time stamps and threads: feeds `harmonia-core` and drains it.
//!
//! All of the project's `unsafe` stands here, in the two files that talk to the kernel; each block says why it is sound.

pub mod os;
pub mod socket;
