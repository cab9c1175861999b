"""The command line: one verb a file. Parse, call ``app``, present."""
