"""A finished run as somebody else gets it: its model card, and its files on the hub."""
