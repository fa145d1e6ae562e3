"""Many runs, one after another or side by side on machines."""
