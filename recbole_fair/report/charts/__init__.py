"""The figures of a report, one file each; canvas.py has what they share."""
