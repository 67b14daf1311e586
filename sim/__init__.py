"""Numbered, seeded scenarios for the clock, with numeric limits. Nothing imports them."""
