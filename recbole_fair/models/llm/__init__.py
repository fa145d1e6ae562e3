"""Recommenders that are language models answering Yes or No (the rows of CL-MoE and MoS)."""
