"""Keeping the server running, and telling how it is."""
