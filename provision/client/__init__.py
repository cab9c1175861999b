"""Talking to a model server, whichever engine answers."""
