"""BiFair: bi-level training of a projector and of item vectors."""
