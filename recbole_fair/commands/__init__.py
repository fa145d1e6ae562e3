"""One file a sub-command; table.py names them."""
