"""One loop over epochs, and what is kept of it."""
