"""Passes that simplify a graph. `pipeline` runs them in order."""
