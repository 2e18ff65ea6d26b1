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
Derivatives go by the base; those with respect to the root or modulus itself go by the other way (see `SweepPlan`).
"""
from libc.math cimport NAN, fabs, floor, fmax, rint
from libc.stdint cimport uint32_t

cimport numpy as cnp
from ad._core cimport apply, remembers
from ad.engine.array cimport Array, force, hooks, new_array
from ad.engine.graph cimport BY_ITSELF, BY_OPERAND, BY_RADICAND, CARRIES, FIXED, Op
from ad.engine.recorder cimport State, current, is_busy_elsewhere
from ad.engine.roles cimport roles

import numpy as np

cnp.import_array()

cdef enum:
    CARRIED = 8  # how often a value may be moved or scaled and still be known for a power


cdef object power_of(Op op, object a, object b, Array y):
    """The output of an op that computes a power of `a`; joined with that power of its base where that is smoother."""
    cdef Array x
    cdef double exponent
    if op.power == BY_RADICAND or op.power == CARRIES or op.power == BY_ITSELF and not is_itself(a, b):
        remember(op, (a,) if b is None else (a, b), None, y)
        return y
    if not isinstance(a, Array):
        return y
    x = <Array>a
    check_base(x)
    exponent = exponent_of(op, x, b)
    if is_complex(x):
        return power_of_complex(op, x, exponent, y)
    if not exponent > 0 or exponent == 1 and op.power != FIXED:
        return y
    if x.base is not None:
        y = smoothed(x, exponent, y)
        if type(x.base) is not tuple:
            set_base(y, x.base, product(exponent, x.exponent), x.modulus)
            return y
    if exponent == 1 or is_even(exponent) or exponent != floor(exponent):
        set_base(y, x if depth_of(x) < CARRIED else forgetful(x), exponent, exponent == floor(exponent))
    return y


cdef object power_of_complex(Op op, Array x, double exponent, Array y):
    """`power_of` for a complex `x`: (z ** q) ** p is z ** (p q) for a whole p only."""
    if op.radicand is not None:
        remember(op, (x,), None, y)
    elif x.base is not None:
        return smoothed(x, exponent, y) if exponent > 0 and exponent == floor(exponent) else y
    elif 0 < exponent < 1:
        set_base(y, x, exponent, False)
    return y


cdef double exponent_of(Op op, Array x, object b) except? -9:
    """Of `x`, to which power an op raises it; nan where that is no constant."""
    if op.power == BY_ITSELF:
        if x is b:
            return 2
        return 2 if type(x.base) is tuple else 1 + (<Array>b).exponent / x.exponent
    if op.power != BY_OPERAND:
        return op.exponent
    if type(b) is int or type(b) is float:  # the commonest
        return b
    if isinstance(b, Array):
        if (<Array>b).node is not None or (<Array>b).tangents is not None:
            return NAN
        force(<Array>b)
        b = (<Array>b).number if (<Array>b).array is None else (<Array>b).array
    if isinstance(b, np.ndarray):
        return exponent_of_array(x, b)
    return NAN if isinstance(b, complex) else b


cdef double exponent_of_array(Array x, object b) except? -9:
    """The exponent that all elements share, where there are no more of them than in `x`."""
    if b.dtype.kind not in "fiu" or b.size == 0 or np.broadcast_shapes(x.shape, b.shape) != x.shape:
        return NAN
    first = b.flat[0]
    return first if (b == first).all() else NAN


cdef bint is_itself(object a, object b) except -1:
    """Whether a product is a power of what one factor is a power of."""
    if a is b:
        return True
    if not (remembers(a) and remembers(b)):
        return False
    check_base(<Array>a)
    check_base(<Array>b)
    return remembers(a) and remembers(b) and is_one_base(a, b)


cdef bint is_one_base(Array a, Array b):
    """Whether two Arrays are powers of one base."""
    if a.modulus != b.modulus:
        return False
    if not (type(a.base) is tuple and type(b.base) is tuple):
        return is_same(a.base, b.base)
    op, inputs, params = a.base
    return op is b.base[0] and len(inputs) == len(b.base[1]) and all(
        [is_same(x, z) for x, z in zip(inputs, b.base[1])]) and is_alike(params, b.base[2])


cdef bint is_same(object x, object z):
    """Whether two operands are one value; each may be a copy of the other."""
    cdef Array a, b
    if not (isinstance(x, Array) and isinstance(z, Array)):
        return x is z
    a, b = x, z
    return (a.array is b.array and a.node is b.node and a.tangents is b.tangents
            and (a.array is not None or a.number == b.number))


cdef bint is_alike(object p, object q):
    """Whether two parameters of an op are equal; 1 is not True, which is another index."""
    if p is q:
        return True
    if type(p) is not type(q):
        return False
    if type(p) is tuple:
        return len(p) == len(q) and all([is_alike(x, z) for x, z in zip(p, q)])
    if type(p) is slice:
        return is_alike((p.start, p.stop, p.step), (q.start, q.stop, q.step))
    return p.dtype == q.dtype and np.array_equal(p, q) if isinstance(p, np.ndarray) else p == q


cdef Array smoothed(Array x, double p, Array y):
    """`y`, which is x ** p, joined with that power of the base of `x` where that is smoother."""
    cdef State state = current()
    if state.tracer is not None and state.recording == 1 and y.tangents is None and not is_busy_elsewhere(state):
        return y
    if p == 1:  # the modulus of an even power is that
        return joined(x, y) if type(x.base) is not tuple and x.modulus and is_even(x.exponent) else y
    with np.errstate(all="ignore"):  # the user's own ops have told what there is to tell
        smooth = smoother(x, p)
    return y if smooth is None else joined(smooth, y)


cdef object smoother(Array x, double p):
    """x ** p as a power of the base of `x`; None where that is no smoother."""
    check_base(x)
    if x.base is None:
        return None
    if type(x.base) is not tuple:
        return roles.smooth_power(x.base, product(p, x.exponent), x.modulus) if is_joined(
            x.modulus, p, x.exponent) else None
    op, inputs, params = x.base
    if (<Op>op).carry is not None and (<Op>op).radicand is None:
        return carried(op, inputs, params, p)
    found = (<Op>op).radicand(*inputs, *params)
    if found is None or not is_joined(False, p, found[1]):
        return None
    return roles.smooth_power(found[0], product(p, found[1]), False)


cdef object carried(Op op, tuple inputs, tuple params, double p):
    """The power of an output that is another Array, moved or scaled: from the power of that."""
    for i, x in enumerate(inputs):
        if remembers(x):
            smooth = smoother(x, p)
            return None if smooth is None else op.carry(smooth, i, p, inputs, params)
    return None


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
    cdef Array found
    if smooth.dtype != y.dtype:
        smooth = apply(roles.astype, (smooth,), (y.dtype,))
    found = roles.either(smooth, y)
    found.array, found.number = y.array, y.number
    return found


cdef int remember(Op op, tuple inputs, tuple params, Array y) except -1:
    """Let an output remember the op and the operands that it was made of; a few times in turn."""
    cdef double depth = 0
    if y.node is None and y.tangents is None or op.carry is None and op.radicand is None:
        return 0
    for x in inputs:
        depth = fmax(depth, depth_of(x))
    if depth >= CARRIED:  # in a long chain each would hold on to the one before
        if op.radicand is None:
            return 0
        inputs, depth = tuple([forgetful(x) for x in inputs]), 0
    set_base(y, (op, inputs, params or ()), depth + 1, False)
    return 0


cdef double depth_of(object x):
    """How many ops in turn are remembered."""
    if not remembers(x):
        return 0
    return (<Array>x).exponent if type((<Array>x).base) is tuple else depth_of((<Array>x).base)


cdef object forgetful(object x):
    """An operand that remembers no base."""
    if not remembers(x):
        return x
    return new_array((<Array>x).array, (<Array>x).number, (<Array>x).node, (<Array>x).tangents)


cdef int set_base(Array y, object base, double exponent, bint modulus) except -1:
    y.base, y.exponent, y.modulus, y.base_changes = base, exponent, modulus, changes_of(base)
    return 0


cdef int check_base(Array y) except -1:
    """Forget the base if it is another by now: an `out=` has rebound it, or an accumulator has started from it."""
    if y.base is not None and y.base_changes != changes_of(y.base):
        y.base = None
    return 0


cdef uint32_t changes_of(object base):
    cdef uint32_t n = 0
    if type(base) is not tuple:
        return (<Array>base).changes
    for x in base[1]:
        if isinstance(x, Array):
            n += (<Array>x).changes
    return n


hooks.power_of = power_of
hooks.remember = remember
