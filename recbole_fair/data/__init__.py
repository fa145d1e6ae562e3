"""What a run reads: its files, their split, and what is judged."""
