"""One topic a file: what to read, and a pure parser. A probe never decides anything."""
