"""Powers of roots and of moduli, which are smooth where roots and moduli are not.

`abs(x) ** 2` is `x ** 2`. But the chain rule contains the slope of `abs` at 0, which is 0 by convention, so that the
second derivative at 0 would be 0 instead of 2. Therefore an Array that a root, a modulus or a power has made, and that
is being differentiated, remembers what it is a power of: its `base`, an Array, and its `exponent`. `modulus` says that
it is a power of the modulus of the base, as all even powers are.

The base of a norm is computed only when it is needed. Until then it is the op with its operands, and the op's
`radicand(*inputs, *params)` gives a function that computes the base, and the exponent. What an index, a change of shape
or a constant factor makes of such an Array is remembered likewise, as the op with its operands; the op's
`carry(power, i, p, inputs, params)` computes the output to the power p from operand i to that power.

Where a power makes something smooth of such an Array, it is computed in both ways, and the op `either` joins them.
Derivatives go by the base; those with respect to the root or modulus itself go by the other way (see `Plan`).
"""
from libc.math cimport NAN, fabs, floor, rint

cimport numpy as cnp
from ad._core cimport Array, new_array, roles
from ad._graph cimport BY_ITSELF, CARRIES, BY_OPERAND, BY_RADICAND, Op, State, current, is_busy_elsewhere

import numpy as np

cnp.import_array()

cdef enum:
    CARRIED = 8  # how often a value may be moved or scaled and still be known for a power


cdef object power_of(Op op, object a, object b, Array y):
    """The output of an op that computes a power of `a`; joined with that power of its base where that is smoother."""
    cdef Array x
    cdef double exponent
    if op.power == BY_RADICAND:
        remember_root(op, [a] if b is None else [a, b], None, y)
        return y
    if op.power == CARRIES or op.power == BY_ITSELF and a is not b and not (remembers(a) and remembers(b)):
        remember_carried(op, (a,) if b is None else (a, b), None, y)
        return y
    if not isinstance(a, Array):
        return y
    x = <Array>a
    exponent = exponent_of(op, x, b)
    if is_complex(x) and exponent >= 1:
        if op.radicand is not None:
            remember_root(op, [x], None, y)
        return y
    if not exponent > 0:
        return y
    if x.base is not None:
        return power_of_power(x, exponent, y)
    if exponent == 1 or is_even(exponent) or exponent != floor(exponent):
        y.base, y.exponent, y.modulus = as_it_is(x), exponent, exponent == floor(exponent)
    return y


cdef double exponent_of(Op op, Array x, object b) except? -9:
    """Of `x`, to which power an op raises it; nan where that is no constant."""
    if op.power == BY_ITSELF:
        if x is b:
            return 2
        if not is_one_base(x, <Array>b):
            return NAN
        return 2 if type(x.base) is tuple else 1 + (<Array>b).exponent / x.exponent
    if op.power != BY_OPERAND:
        return op.exponent
    if isinstance(b, Array):
        if (<Array>b).node is not None or (<Array>b).tangents is not None:
            return NAN
        b = (<Array>b).number if (<Array>b).array is None else (<Array>b).array
    if isinstance(b, np.ndarray):
        if b.ndim or b.dtype.kind not in "fiu":
            return NAN
    elif isinstance(b, complex):
        return NAN
    return b


cdef bint is_one_base(Array a, Array b):
    """Whether two Arrays are powers of one base."""
    if a.modulus != b.modulus:
        return False
    if not (type(a.base) is tuple and type(b.base) is tuple):
        return is_same(a.base, b.base)
    op, inputs, params = a.base
    return op is b.base[0] and params == b.base[2] and len(inputs) == len(b.base[1]) and all(
        [is_same(x, z) for x, z in zip(inputs, b.base[1])])


cdef bint is_same(object x, object z):
    """Whether two operands are one value, for all derivatives too."""
    cdef Array a, b
    if not (isinstance(x, Array) and isinstance(z, Array)):
        return x is z
    a, b = x, z
    return a.array is b.array and a.number == b.number and a.node is b.node and a.tangents is b.tangents


cdef object power_of_power(Array x, double p, Array y):
    """`y`, which is x ** p, for an `x` that is itself a power."""
    cdef State state = current()
    if not (state.tracer is not None and state.recording == 1 and y.tangents is None and not is_busy_elsewhere(state)):
        smooth = smoother(x, p)
        if smooth is not None:
            y = joined(smooth, y)
    if type(x.base) is not tuple:
        y.base, y.exponent, y.modulus = x.base, product(p, x.exponent), x.modulus
    return y


cdef object smoother(Array x, double p):
    """x ** p as a power of the base of `x`; None where that is no smoother."""
    if type(x.base) is not tuple:
        return roles["smooth_power"](x.base, product(p, x.exponent), x.modulus) if is_joined(
            x.modulus, p, x.exponent) else None
    op, inputs, params = x.base
    if (<Op>op).carry is not None and (<Op>op).radicand is None:
        return carried(op, inputs, params, p)
    found = (<Op>op).radicand(*inputs, *params)
    if found is None or not is_joined(False, p, found[1]):
        return None
    return roles["smooth_power"](found[0], product(p, found[1]), False)


cdef object carried(Op op, tuple inputs, tuple params, double p):
    """The power of an output that is another Array, moved or scaled: from the power of that."""
    cdef int i = 0 if remembers(inputs[0]) else 1
    smooth = smoother(inputs[i], p)
    return None if smooth is None else op.carry(smooth, i, p, inputs, params)


cdef double product(double p, double q) noexcept:
    """The exponent of a power of a power; whole, where rounding only keeps it from being so."""
    cdef double r = p * q
    return rint(r) if fabs(r - rint(r)) < 1e-12 * r else r


cdef bint is_joined(bint modulus, double p, double q) noexcept:
    """Whether base ** (p q) is smoother than (base ** q) ** p is by the chain rule."""
    cdef double r = product(p, q)
    if is_smooth(modulus, q):
        return p < 1 and r >= 1
    return is_smooth(modulus, r)


cdef inline bint is_smooth(bint modulus, double exponent) noexcept:
    return is_even(exponent) if modulus else exponent == floor(exponent)


cdef inline bint is_even(double exponent) noexcept:
    return exponent == 2 * floor(exponent / 2)


cdef inline bint is_complex(Array x) noexcept:
    return x.array is not None and cnp.PyArray_ISCOMPLEX(<cnp.ndarray>x.array)


cdef Array joined(Array smooth, Array y):
    """`y` itself in value; its derivatives are those of `smooth`."""
    cdef Array found = roles["either"](smooth, y)
    found.array, found.number = y.array, y.number
    return found


cdef int remember_root(Op op, list inputs, tuple params, Array y) except -1:
    """Let the output of an op that is a root remember what it was made of."""
    if y.node is not None or y.tangents is not None:
        y.base, y.modulus, y.exponent = (op, tuple([forgetful(x) for x in inputs]), params or ()), False, 0
    return 0


cdef int remember_carried(Op op, tuple inputs, tuple params, Array y) except -1:
    """Let an output remember that it is one of its operands, moved or scaled; a few times in turn."""
    cdef Array x = inputs[0] if remembers(inputs[0]) else inputs[1]
    cdef double depth = 1 + (x.exponent if type(x.base) is tuple else 0)
    if op.carry is not None and depth <= CARRIED and (y.node is not None or y.tangents is not None):
        y.base, y.modulus, y.exponent = (op, tuple([as_it_is(part) for part in inputs]), params or ()), False, depth
    return 0


cdef object as_it_is(object x):
    """An operand that stays what it is: `out=` can make an Array stand for another value."""
    cdef Array found
    if not isinstance(x, Array):
        return x
    found = forgetful(x)
    found.base, found.exponent, found.modulus = (<Array>x).base, (<Array>x).exponent, (<Array>x).modulus
    return found


cdef object forgetful(object x):
    """`as_it_is`, and remembers no base: in a long chain of roots each would hold on to the one before."""
    if not isinstance(x, Array):
        return x
    return new_array((<Array>x).array, (<Array>x).number, (<Array>x).node, (<Array>x).tangents)
