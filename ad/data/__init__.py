"""Data that the examples use; each file has its source and licence beside it."""
