"""Recording: the tracer, and what tells one call from another.
"""
