"""Tracing: running a function once and recording its ops as instructions.

`tracer` records the ops of a running function, `recording` is one call, `trace_tree` all recorded calls with one
signature, and `call_signature` tells which calls can share recordings. `lanes` lifts what was recorded over many values
of its inputs at once, with `one_by_one` for ops that have no batching rule.
"""
