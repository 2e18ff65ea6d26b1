"""Tracing: running a function once and recording its ops as instructions.

`tracer` records the ops of a running function, `recording` is one call, `trace_tree` all recorded calls with one
signature, and `call_signature` tells which calls can share recordings.
"""
