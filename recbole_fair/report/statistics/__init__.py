"""Paired tests and intervals between runs."""
