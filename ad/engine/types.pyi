"""Objects that the compiled modules share: compiled code without public names."""
