//! node_clock
