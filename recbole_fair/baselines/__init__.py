"""Recommenders to compare with that RecBole lacks."""
