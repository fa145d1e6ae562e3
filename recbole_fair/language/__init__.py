"""Language models: found, checked and loaded."""
