"""Campaigns that break a sanctuary on purpose, and count what is left of its promises."""
