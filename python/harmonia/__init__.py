"""Harmonia: shared nights, phase-locked to one rhythm, woven from individuals who may leave at any instant."""
