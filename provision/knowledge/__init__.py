"""The data files under profiles/ as typed values: what is known of engines, hardware and models."""
