"""Slots of the reverse sweep: compiled code without public names."""
