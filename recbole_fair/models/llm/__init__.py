"""Recommenders that are language models answering Yes or No (CL-MoE's rows)."""
