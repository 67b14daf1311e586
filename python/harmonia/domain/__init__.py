"""What a night is and what may happen in it. Pure: no clock, no randomness, no I/O; time and entropy are parameters."""
