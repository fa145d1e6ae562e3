"""Who belongs to which group of users or items."""
