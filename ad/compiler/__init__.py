"""The compiler: functions are recorded as graphs of instructions, which are simplified and run without Python.

`ir` is a graph as data, `tracing` records one, `passes` simplify it, `machine` runs it. `compile` keeps the recordings
of a function, `program` has one as an object to call, differentiate and save, `record` makes a program of a call, and
`vmap` runs a recording over many values of its inputs at once.
"""
