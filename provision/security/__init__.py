"""What ``fabric doctor`` checks of fabric's own promises: one topic a file, nothing is changed."""
