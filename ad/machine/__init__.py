"""The machine that runs a program: its values laid out in memory once, its ops as loops over blocks in the L1 cache.

`layout` makes the plan (`plans`): by `lowering` of ops to `works`, some on `parts` of arrays, `scheduling`, and
`grouping` of loops into blocks. `_vm` runs it.
"""
