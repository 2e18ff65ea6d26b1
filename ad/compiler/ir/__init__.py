"""A program as data: its instructions, what they cost, how they are printed and stored.
"""
