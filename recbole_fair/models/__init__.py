"""Recommenders that RecBole lacks."""
