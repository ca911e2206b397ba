"""Parrot's tests: a package, so that another package's `tests` does not take its name."""
