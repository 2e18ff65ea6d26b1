"""The compiled engine: what one op, one sweep and one call of a transform cost.

`types` has the kinds of values; `graph` ops and nodes; `recorder` what each thread records, and the making of nodes;
`kernels` the loops, and `pool` the arrays that are used again; `deferred` ops that a recording has not evaluated;
`roles` the ops that the engine itself needs. On these stand `array`, which has the type `Array`, and `ad._core`, which
has `apply`. On that stand `forward`, which pushes tangents; `powers`, which remembers what a value is a power of;
`sweep`, with `slots` and `native_steps`, which pulls cotangents over a graph; `writing`, by which Arrays are written
to; `variable`; `boundary` and `tape`, which are what a transform or a tape does once a call; `public_functions`, which
makes functions and methods of ops; and `inspection`, which has what the layers above ask about values and about the
program that is being recorded. `array` and `ad._core` call what is above them by function pointers (`Hooks` in
`array.pxd`), which `ad._core`, `forward`, `powers` and `writing` set when they are imported.
"""
