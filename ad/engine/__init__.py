"""The compiled engine: what one op, one sweep and one call of a transform cost.

`graph` holds ops and nodes, `kernels` the loops; `forward` pushes tangents; `sweep` pulls cotangents over a graph;
`boundary` and `tape` are what a transform or a tape does once a call. `ad._core` is `Array` and `apply`.
"""
