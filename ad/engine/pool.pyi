"""The pool of float64 arrays: compiled code without public names."""
