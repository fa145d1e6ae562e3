"""Judging lists that another system has written."""
