"""Proving that the server answers, and measuring how fast."""
