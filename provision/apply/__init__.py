"""Carrying out a plan, step by step, so that a crash at any moment is survived."""
