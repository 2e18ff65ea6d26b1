"""Forward mode: the tangents that values carry, how ops push them, and the `Dual` that shows them.

`apply` calls `push_tangents` by a hook where an operand carries tangents. The rules are made of ops, which go through
`apply` again.
"""
cimport cython
from libc.stdint cimport uint64_t

from ad._core cimport apply, apply2, lift
from ad.engine.array cimport Array, as_value, hooks, new_array, settle, wrap
from ad.engine.graph cimport Node, Op, TangentNode
from ad.engine.recorder cimport FIRST_LEVEL, Level, State, current, find_level, new_pick, recording_outside
from ad.engine.types cimport Operand, SCALAR, give_name
from ad.engine.roles cimport roles

import numpy as np


# -- tangents by level ----------------------------------------------------------------------

cdef Array find_tangent(tuple tangents, long tag):
    if tangents is not None:
        for own, x_dot in tangents:
            if own == tag:
                return x_dot
    return None


cdef Array tangent_of(Array x, long tag):
    return find_tangent(x.tangents, tag)


cdef tuple below(tuple tangents, long tag):
    """Those of lower levels: what a tangent of level `tag` is computed from."""
    if tangents is None:
        return None
    return tuple([t for t in tangents if t[0] < tag]) or None


cdef list live_tags(State state, list dots):
    """The tags of live levels among the inputs' tangents, lowest first."""
    cdef set tags = set()
    for tangents in dots:
        for tag, _ in tangents or ():
            if tag < FIRST_LEVEL or find_level(state, tag) is not None:
                tags.add(tag)
    return sorted(tags)


cdef object push_tangents(Op op, Operand *operands, int n, tuple params, Array y):
    """Give `y` the tangents of every live level."""
    cdef list xs = [], dots = []
    cdef int i
    for i in range(n):
        xs.append(new_array(None if operands[i].kind == SCALAR else <object>operands[i].value, operands[i].x,
                            None if operands[i].node == NULL else <Node>operands[i].node, None))
        dots.append(None if operands[i].tangents == NULL else <tuple>operands[i].tangents)
    if y.node is not None:
        (<TangentNode>y.node).tangents = tuple(dots)
    found = find_tangents(op, xs, dots, y, params or ())
    if op.outputs == 1:
        return new_array(y.array, y.number, y.node, tuple(found) or None)
    y.tangents = tuple([part_tangents(found, k) for k in range(op.outputs)])
    return y


cdef list find_tangents(Op op, list xs, list dots, Array y, tuple params):
    """[(tag, y_dot), ...] from the inputs' tangents `dots`, lowest level first.

    An input may be what a node has left of it (an Aval, or None), if the rule can do without.
    """
    cdef State state = current()
    cdef int recording = state.recording
    cdef uint64_t horizon = state.horizon
    cdef list found = []
    cdef Level level
    for tag in live_tags(state, dots):
        x_dots = tuple([find_tangent(tangents, tag) for tangents in dots])
        lower = tuple([lowered(x, tangents, tag) for x, tangents in zip(xs, dots)])
        level = find_level(state, tag)
        if level is not None:
            state.recording, state.horizon = recording_outside(state, level), level.start
        try:
            y_dot = push_rule(op, x_dots, lower, output_with(op, y, found), params)
        finally:
            state.recording, state.horizon = recording, horizon
        if y_dot is not None:
            found.append((tag, y_dot))
    return found


cdef object lowered(object x, tuple tangents, long tag):
    """An input with its tangents of lower levels only."""
    if not isinstance(x, Array):
        return x
    return new_array((<Array>x).array, (<Array>x).number, (<Array>x).node, below(tangents, tag))


cdef Array restrict(Array x, long tag):
    return lowered(x, x.tangents, tag)


cdef tuple part_tangents(list found, int k):
    return tuple([(tag, dots[k]) for tag, dots in found]) or None


cdef object output_with(Op op, Array y, list found):
    """The output with these tangents; a tuple of its parts for an op with several."""
    if op.outputs == 1:
        return new_array(y.array, y.number, y.node, tuple(found) or None)
    return tuple([wrap(value, None if y.node is None else new_pick(y.node, k), part_tangents(found, k))
                  for k, value in enumerate(<tuple>y.array)])


cdef object push_rule(Op op, tuple x_dots, tuple xs, object y, tuple params):
    """The output's tangent from the inputs' (None where an input has none)."""
    cdef Array y_dot = None
    cdef int i
    if not op.elementwise:
        return in_dtype(op.jvp(x_dots, xs, y, params), y)
    for i, x_dot in enumerate(x_dots):
        if x_dot is not None:
            term = scaled(align(x_dot, xs[i], y), op, i, xs, y, False)
            y_dot = term if y_dot is None else apply2(roles.add, y_dot, term)
    return to_output(y_dot, x_dots, xs, y)


cdef object in_dtype(object y_dot, object y):
    """A tangent (a tuple of them for several outputs) in the dtype of its value: a rule may have promoted it."""
    if type(y) is tuple:
        return None if y_dot is None else tuple([in_dtype(dot, part) for dot, part in zip(y_dot, y)])
    if y_dot is None or (<Array>y_dot).dtype is y.dtype or y.dtype.kind not in "fc" or y_dot.dtype == y.dtype:
        return y_dot
    return apply(roles.astype, (y_dot,), (y.dtype,))


cdef object align(Array x_dot, object x, object y):
    """Put the axes that broadcasting will add behind the lane axis, where there is one.

    A node whose operands are alike has dropped even shapes (None): nothing broadcasts.
    """
    if x is None or y is None:
        return x_dot
    cdef int lanes = x_dot.ndim - x.ndim
    cdef int missing = y.ndim - x.ndim
    if not lanes or not missing:
        return x_dot
    shape = x_dot.shape
    return apply(roles.reshape, (x_dot,), (shape[:1] + (1,) * missing + shape[1:],))


cdef object to_output(Array y_dot, tuple x_dots, tuple xs, object y):
    """Broadcast a tangent to lanes + the shape of the output; None for y as in `align`."""
    cdef tuple lanes = ()
    if y_dot is None:
        return None
    if y is None:
        dtype = next(x_dot for x_dot in x_dots if x_dot is not None).dtype
        return y_dot if y_dot.dtype == dtype else apply(roles.astype, (y_dot,), (dtype,))
    for x_dot, x in zip(x_dots, xs):
        ndim = y.ndim if x is None else x.ndim
        if x_dot is not None and (<Array>x_dot).ndim > ndim:
            lanes = (<Array>x_dot).shape[:1]
    y_dot = in_dtype(y_dot, y)
    shape = lanes + y.shape
    if y_dot.shape == shape:
        return y_dot
    return apply(roles.broadcast_to, (y_dot,), (shape,))


cdef object scaled(object dot, Op op, int i, tuple xs, object y, bint conjugate):
    """dot * partial i of (*xs, y), or its conjugate; a number stands for a constant partial."""
    partial = op.partials[i]
    if callable(partial):
        partial = partial(*xs, y)
    elif partial == 1:
        return dot
    if conjugate:
        if isinstance(partial, complex):
            partial = partial.conjugate()
        elif isinstance(partial, (Array, np.ndarray)) and partial.dtype.kind == "c":
            partial = apply(roles.conjugate, (partial,), ())
    return apply2(roles.scale_dots if op.dots >> i & 1 else roles.scale, dot, partial)


# -- dual numbers --------------------------------------------------------------------------

@cython.no_gc
@cython.final
cdef class Dual(Array):
    """A primal with its tangent, in the open: ops on it give others.

    A `Dual` whose parts are others carries second derivatives, and so on, 15 levels deep. Duals of one depth share one
    perturbation: for a derivative inside a function that is itself given Duals, use `ad.jvp`.

    Parameters
    ----------
    primal : array_like, Array or Dual
    tangent : array_like, Array or Dual
        Of the primal's shape; or of shape (k,) + its shape, for k tangents at once. A number stands for an array of it.

    Raises
    ------
    ValueError
        For a tangent of another shape, or where the nesting is too deep.
    """

    def __init__(self, primal, tangent=1.0):
        cdef Array x = as_dual_part(primal), x_dot = as_dual_part(tangent)
        cdef long tag = 1 + max(dual_depth(x), dual_depth(x_dot))
        if x_dot.ndim == 0 and x.ndim:
            x_dot = apply(roles.broadcast_to, (x_dot,), (x.shape,))
        if x_dot.shape[x_dot.ndim - x.ndim:] != x.shape or not 0 <= x_dot.ndim - x.ndim <= 1:
            raise ValueError(f"ad.Dual: the tangent has shape {x_dot.shape}; for a primal of shape {x.shape} "
                             f"it must be {x.shape}, or (k, ...) with k tangents of that shape")
        if tag >= FIRST_LEVEL:
            raise ValueError(f"ad.Dual: nested deeper than {FIRST_LEVEL - 1} levels")
        if x_dot.dtype.kind != "c" or x.dtype.kind == "c":
            x_dot = in_dtype(x_dot, x)
        self.array, self.number, self.node = x.array, x.number, x.node
        self.tangents = (x.tangents or ()) + ((tag, x_dot),)

    @property
    def primal(self):
        """The value without its highest tangent: an ndarray or scalar, or a Dual if nested."""
        settle(self)
        return opened(restrict(self, dual_depth(self)))

    @property
    def tangent(self):
        """The highest tangent."""
        settle(self)
        return opened(tangent_of(self, dual_depth(self)))

    def __repr__(self):
        return f"Dual({self.primal!r}, {self.tangent!r})"

    def __str__(self):
        return repr(self)


cdef Array blank_dual():
    """A Dual without anything in it."""
    return Dual.__new__(Dual)


cdef long dual_depth(Array x):
    """The highest `Dual` tag of x, or 0."""
    return max([tag for tag, _ in x.tangents or () if tag < FIRST_LEVEL] or [0])


cdef Array without_duals(Array x, long depth):
    """`x` without the tangents of `Dual`s nested deeper than `depth`."""
    tangents = tuple([t for t in x.tangents if t[0] <= depth or t[0] >= FIRST_LEVEL])
    return x if len(tangents) == len(x.tangents) else new_array(x.array, x.number, x.node, tangents or None)


cdef Array as_dual_part(object value):
    return lift(value) if isinstance(value, Array) else as_value(value, None)


cdef object opened(Array x):
    return x if x.node is not None or x.tangents is not None else x.numpy()


give_name(Dual, b"ad.Dual")

hooks.push_tangents = push_tangents
hooks.blank_dual = blank_dual
