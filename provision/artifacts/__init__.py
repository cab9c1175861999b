"""Finding, fetching, checking and storing what is installed."""
