"""Judging recommenders: accuracy, fairness between groups, and how sure one can be."""
