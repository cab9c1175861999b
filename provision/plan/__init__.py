"""Pure: what should be, what is, and the difference."""
