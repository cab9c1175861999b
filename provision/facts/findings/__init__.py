"""What is worth telling about a machine: one topic a file."""
