"""Powers of roots and of moduli: compiled code without public names."""
