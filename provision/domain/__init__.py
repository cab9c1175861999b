"""Frozen values. No input or output, no clock, nothing outside the standard library."""
