"""One module a source of raw data."""
