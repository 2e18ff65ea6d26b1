"""The machine that runs a program: its values laid out in memory once, its ops as loops over blocks in the L1 cache.

`memory_plan` makes the plan (`execution_plan`): by `lowering` of ops to `lowered_ops`, some on `sparse_blocks` of
arrays, `scheduling`, and `grouping` of loops into blocks. `vm` runs it.
"""
