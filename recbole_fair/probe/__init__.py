"""How well attributes can be read from what a model knows of its users."""
