"""The folder that a run leaves: lock, logs, result and files."""
