"""Passes that make a program simpler. `pipeline` has the order in which they run.
"""
