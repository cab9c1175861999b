"""Facts about GPUs: what each vendor's kernel driver, library and programs say, one source a file."""
