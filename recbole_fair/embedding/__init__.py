"""Text embeddings of items, and the recommenders that stand on them."""
