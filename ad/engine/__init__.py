"""The compiled engine: what one op, one sweep and one call of a transform cost.

`graph` holds ops and nodes, `kernels` the loops, `deferred` the evaluation that waits, `roles` the ops that the engine
itself needs. On these stands `ad._core`, which is `Array` and `apply`. On that stand the others: `forward` pushes
tangents; `powers` remembers what a value is a power of; `sweep` pulls cotangents over a graph; `boundary` and `tape` are
what a transform or a tape does once a call. `ad._core` calls `forward` and `powers` by function pointers (`Hooks` in
`ad/_core.pxd`), which they set when they are imported.
"""
