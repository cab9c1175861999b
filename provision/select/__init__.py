"""Pure: which engine, acceleration and model, and why."""
