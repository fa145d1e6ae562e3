"""Fairness strategies: how a model is trained, apart from what it is."""
