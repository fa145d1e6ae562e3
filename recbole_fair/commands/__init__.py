"""One file a sub-command; cli.py names them."""
