"""Parts of a search (tune.py) and of a comparison (compare.py): spaces, jobs, Ray, and choosing among figures."""
