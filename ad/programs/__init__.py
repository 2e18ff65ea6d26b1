"""Recorded programs: how a call becomes one, what is done with it, and how `ad.compile` and `ad.vmap` replay it.

`_trace` records; `program` is what was recorded; `passes` (with `rewriting`, `algebra` and `stacking`) make it simpler;
`recording` (with `signatures` and `_compiled`) keeps the recordings of a function; `lanes` run one for many directions
at once; `listing`, `costs` and `saving` print it, count what it does, and store it. `ad.machine` runs it.
"""
