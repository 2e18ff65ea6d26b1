"""Recorded programs: how a call becomes one, how it is simplified and run, and `ad.compile` and `ad.vmap`.

`ir` is a program as data; `tracing` records one; `passes` simplify it; `machine` runs it. `program` puts them together,
`compile` keeps the programs of a function, `vmap` runs one for many directions at once.
"""
