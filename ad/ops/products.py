"""Products: matmul and einsum are the ops, the others are written with them."""
import builtins
import itertools
import math
import string

import numpy as np

from ad import _core
from ad._core import Array
from ad.errors import MissingRule
from ad.ops.costs import contraction, matrix_product
from ad.ops.domains import REAL
from ad.ops.elementwise import conjugate, multiply
from ad.ops.forms import bilinear, case, composite, custom, linear, numpy_signature, stacked
from ad.ops.indexing import getitem, put_zeros
from ad.ops.joining import asarray
from ad.ops.shape_rules import view
from ad.ops.shaping import broadcast_to, reshape
from ad.ops.traits import SAME_PARAMS, Batching

__all__ = [
    "adjoint", "contract", "convolve", "cross", "cross_along", "cross_of_vectors", "dot", "einsum", "inner", "kron",
    "matmul", "matrix_transpose", "matvec", "multi_dot", "operand", "outer", "outer_of_vectors",
    "polyval", "rearrange", "tensordot", "vdot", "vecdot", "vecmat", "widened",
]


normalize_axis_index = np.lib.array_utils.normalize_axis_index


def operand(x):
    """`x` as something with a shape: a value of ours, or an ndarray."""
    return x if isinstance(x, Array) else asarray(x)


# -- matmul ----------------------------------------------------------------------------------


@linear(np.matrix_transpose, np.linalg.matrix_transpose, transpose=lambda y_bar, x: matrix_transpose(y_bar),
        batching=SAME_PARAMS, domain=REAL, cases=(case((2, 3)), case((4, 2, 3))), shape_rule=view)
def matrix_transpose(x):
    """The last two axes exchanged."""
    return np.swapaxes(x, -1, -2)


_core.add_method("mT", property(matrix_transpose))


def flipped(x):
    """The matrix transpose, at the cost of a view where nothing watches `x`."""
    return np.swapaxes(x.numpy(), -1, -2) if x.is_constant else matrix_transpose(x)


def adjoint(x):
    """The conjugate transpose of the matrices in `x`."""
    return matrix_transpose(conjugate(x) if x.dtype.kind == "c" else x)


def _as_rows(x):
    return reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _pull_first(y_bar, _x1, x2, _y):
    if _x1.ndim > 1 and x2.ndim > 1:
        return matmul(y_bar, flipped(x2))
    if x2.ndim == 1:
        return y_bar * x2 if _x1.ndim == 1 else reshape(y_bar, (*y_bar.shape, 1)) * x2
    return matmul(x2, y_bar) if x2.ndim == 2 else _matrix_vector(x2, y_bar)


def _pull_second(y_bar, x1, _x2, _y):
    if x1.ndim == 1:
        return y_bar * x1 if _x2.ndim == 1 else reshape(x1, (-1, 1)) * reshape(y_bar, _with_one(y_bar.shape, -1))
    if _x2.ndim == 1:
        return matmul(y_bar, x1) if x1.ndim == 2 else matmul(reshape(y_bar, (-1,)), _as_rows(x1))
    if x1.ndim > 2 == _x2.ndim:  # one product, and no sum over the leading axes afterwards
        return matmul(flipped(_as_rows(x1)), _as_rows(y_bar))
    return matmul(flipped(x1), y_bar)


def _with_one(shape, axis):
    return (*shape[:axis], 1, *shape[axis:])


def _matrix_vector(matrix, vector):
    """matrix @ vector over leading axes."""
    return reshape(matmul(matrix, reshape(vector, (*vector.shape, 1))), matrix.shape[:-1])


def _as_matrix(x, shape, ndim):
    """Lanes of operands of this shape, as lanes of matrices behind enough axes to broadcast."""
    return reshape(x, (*x.shape[:1], *(1,) * (ndim - len(shape)), *shape))


def _over_lanes(values, xs, y):
    """The product of operands like `xs`, of which one or both have lanes.

    Lanes that are rows, or more rows, of one product are that; otherwise vectors become matrices.
    """
    has_lanes = [value.ndim > x.ndim for value, x in zip(values, xs)]
    if has_lanes == [True, False] and xs[1].ndim <= 2:
        return matmul(*values)
    if has_lanes == [False, True] and xs[0].ndim <= 2 and xs[1].ndim == 1:
        return matmul(values[1], values[0] if xs[0].ndim == 1 else matrix_transpose(values[0]))
    k = next(value.shape[0] for value, x in zip(values, xs) if value.ndim > x.ndim)
    shapes = [x.shape if x.ndim > 1 else one for x, one in zip(xs, ((1, *xs[0].shape), (*xs[1].shape, 1)))]
    ndim = builtins.max(map(len, shapes))
    x1, x2 = [_as_matrix(value, shape, ndim) if value.ndim > x.ndim else value if x.ndim > 1 else reshape(value, shape)
              for value, x, shape in zip(values, xs, shapes)]
    return reshape(matmul(x1, x2), (k, *y.shape))


def _push_first(x1_dot, _x1, x2, _y):
    return matmul(x1_dot, x2) if x1_dot.ndim == _x1.ndim else _over_lanes((x1_dot, x2), (_x1, x2), _y)


def _push_second(x2_dot, x1, _x2, _y):
    return matmul(x1, x2_dot) if x2_dot.ndim == _x2.ndim else _over_lanes((x1, x2_dot), (x1, _x2), _y)


def _shape_rule(x1, x2):
    """What a product of floating numbers is: vectors are matrices of one row, or one column, that is left out."""
    shape1, shape2, dtype = np.shape(x1), np.shape(x2), np.result_type(x1, x2)
    (*batch1, _, k), (*batch2, also_k, m) = (1,) * (len(shape1) < 2) + shape1, shape2 + (1,) * (len(shape2) < 2)
    if k != also_k or dtype.kind not in "fc":
        return None
    return np.broadcast_shapes(tuple(batch1), tuple(batch2)) + shape1[-2:-1] + (m,) * (len(shape2) > 1), dtype


@custom(np.matmul, inputs=2, jvp=(_push_first, _push_second), vjp=(_pull_first, _pull_second),
        batching=Batching(rule=_over_lanes, tangents=True), operations=matrix_product, domain=REAL,
        shape_rule=_shape_rule,
        cases=(case((2, 3), (3, 4)), case((3,), (3,)), case((2, 3), (3,)), case((3,), (3, 2)), case((2, 2, 3), (3,)),
               case((3,), (2, 3, 4)), case((2, 2, 3), (3, 2)), case((2, 3), (4, 3, 2)),
               case((2, 1, 2, 3), (4, 3, 2)), case((0, 3), (3, 2)), case((2, 0), (0, 3))))
def matmul(x1, x2):
    return np.matmul(x1, x2)


# -- einsum ----------------------------------------------------------------------------------
# One operand is a linear op, two are a bilinear one; more are contracted two at a time.


def _scatter(y_bar, x, subscripts):
    """The transpose of an einsum of one operand: every label dropped is spread, a repeated one is a diagonal."""
    labels, kept = subscripts.split("->")
    size = dict(zip(labels, x.shape))
    unique = "".join(dict.fromkeys(labels))
    order = [label for label in unique if label in kept]
    turned = rearrange(y_bar, f"{kept}->{''.join(order)}") if order != list(kept) else y_bar
    spread = reshape(turned, tuple(size[label] if label in kept else 1 for label in unique))
    spread = broadcast_to(spread, tuple(size[label] for label in unique))
    if len(unique) == len(labels):
        return spread
    grid = np.ix_(*(np.arange(size[label]) for label in unique))
    return put_zeros(spread, tuple(grid[unique.index(label)] for label in labels), x.shape)


def _behind_lane(ndim, subscripts):
    labels, kept = subscripts.split("->")
    lane = next(label for label in string.ascii_letters if label not in labels)
    return (f"{lane}{labels}->{lane}{kept}",)


@linear(transpose=_scatter, batching=Batching(params=_behind_lane), moves=True, domain=REAL,
        cases=(case((2, 3), subscripts="ab->ba"), case((3, 3), subscripts="aa->a"), case((3, 3), subscripts="aa->"),
               case((2, 3, 2), subscripts="aba->b"), case((2, 3), subscripts="ab->b"), case((), subscripts="->")))
def rearrange(x, subscripts):
    """An einsum of one operand, with its output written out and no ellipsis."""
    return np.einsum(subscripts, x)


def _transposed(subscripts, i):
    """The subscripts that give operand `i` from the output and the other operand."""
    inputs, output = subscripts.split("->")
    parts = inputs.split(",")
    return f"{output},{parts[1 - i]}->{parts[i]}"


def _stretched(x_bar, x):
    """Spread along the axes where only `x` is longer than 1 (the other operand was broadcast)."""
    lead = x_bar.ndim - x.ndim
    shape = x_bar.shape[:lead] + tuple(n if m == 1 else m for m, n in zip(x_bar.shape[lead:], x.shape))
    return x_bar if shape == x_bar.shape else broadcast_to(x_bar, shape)


def _core_axes(subscripts):
    """How many axes of each operand have a label, and do not stand under its ellipsis."""
    return [len(part) - 3 for part in subscripts.split("->")[0].split(",")]


def _contract_lanes(values, xs, _y, subscripts):
    """Operands behind enough axes of length 1 that their ellipses are as long; then those of lanes meet in front."""
    widths = [x.ndim - core for x, core in zip(xs, _core_axes(subscripts))]
    x1, x2 = [_as_matrix(value, x.shape, x.ndim + builtins.max(widths) - width) if value.ndim > x.ndim else value
              for value, x, width in zip(values, xs, widths)]
    return contract(x1, x2, subscripts)


@bilinear(batching=Batching(rule=_contract_lanes, tangents=_core_axes), operations=contraction, domain=(REAL, REAL),
          transposes=(
              lambda y_bar, _x1, x2, subscripts: _stretched(contract(y_bar, x2, _transposed(subscripts, 0)), _x1),
              lambda y_bar, x1, _x2, subscripts: _stretched(contract(y_bar, x1, _transposed(subscripts, 1)), _x2)),
          cases=(case((2, 3), (3, 4), subscripts="...ab,...bc->...ac"), case((2,), (3,), subscripts="...a,...b->...ba"),
                 case((2, 3), (2, 3), subscripts="...ab,...ab->..."),
                 case((1, 3), (2, 3), subscripts="...ab,...ab->...b")))
def contract(x1, x2, subscripts):
    """An einsum of two operands; the ellipsis stands for lanes, so every axis has its own label."""
    return np.einsum(subscripts, x1, x2, optimize=np.size(x1) * np.size(x2) > WORTH_PLANNING)


LETTERS = frozenset(string.ascii_letters)
WORTH_PLANNING = 10_000  # products of sizes from which NumPy's way to BLAS costs less than its plain loop


@composite(np.einsum, domain=REAL,
           cases=(case("ij,jk", (2, 3), (3, 2)), case("ii->i", (3, 3)), case("ii", (3, 3)), case("ij->", (2, 3)),
                  case("...ij,...jk->...ik", (4, 2, 3), (3, 2)), case("i,j,k->kij", (2,), (3,), (2,)),
                  case("ii,ij,k->kj", (2, 2), (2, 3), (2,)), case("ij,ij->j", (2, 3), (2, 3)),
                  case("i,i", (1,), (3,)), case((2, 3), [0, 1], (3, 2), [1, 2], [2, 0])))
def einsum(*operands, optimize=False):
    """Einstein's summation over any number of operands, as `np.einsum`; `optimize` may be a path."""
    labels, output, arrays = _parsed(operands)
    if not {*"".join(labels)}.issuperset(output) or len({*output}) < len(output):
        raise ValueError("ad.einsum: the output has a label that no operand has, or one twice")
    if not all(map(_has_diagonals, labels, arrays)):
        raise ValueError("ad.einsum: the axes of a label that an operand has twice differ in length")
    if len(arrays) == 1:
        return rearrange(arrays[0], f"{labels[0]}->{output}")
    for pair in _path(labels, output, arrays, optimize):
        (a, x1), (b, x2) = [(labels.pop(k), arrays.pop(k)) for k in sorted(pair, reverse=True)]
        rest = set(output).union(*labels)
        a, x1 = _summed(a, x1, rest.union(b))
        b, x2 = _summed(b, x2, rest.union(a))
        kept = "".join(label for label in dict.fromkeys(a + b) if label in rest) if labels else output
        labels.append(kept)
        arrays.append(contract(x1, x2, f"...{a},...{b}->...{kept}"))
    return arrays[0]


def _has_diagonals(labels, x):
    """Whether the axes under the same label are of the same length."""
    if len({*labels}) == len(labels):
        return True
    size = dict(zip(labels, x.shape))
    return all(size[label] == n for label, n in zip(labels, x.shape))


def _summed(labels, x, wanted):
    """`x` summed over what appears in it alone, with every label once."""
    kept = "".join(label for label in dict.fromkeys(labels) if label in wanted)
    return (labels, x) if kept == labels else (kept, rearrange(x, f"{labels}->{kept}"))


def _path(labels, output, arrays, optimize):
    """The pairs to contract, one after the other."""
    if len(arrays) == 2:
        return [(0, 1)]
    if not isinstance(optimize, (list, tuple)):
        optimize = "greedy"
    shapes = [np.broadcast_to(0.0, x.shape) for x in arrays]
    path = np.einsum_path(f"{','.join(labels)}->{output}", *shapes, optimize=optimize)[0][1:]
    if all(len(step) == 2 for step in path):
        return path
    return [(0, 1)] + [(0, n - 1) for n in range(len(arrays) - 1, 1, -1)]


def _parsed(operands):
    """The labels of each operand, those of the output, and the operands; no ellipsis left."""
    if isinstance(operands[0], str):
        inputs, arrow, output = operands[0].replace(" ", "").partition("->")
        inputs, arrays = inputs.split(","), [operand(x) for x in operands[1:]]
    else:
        arrow = "->" if len(operands) % 2 else ""
        output = _letters(operands[-1]) if arrow else ""
        arrays = [operand(x) for x in operands[: len(operands) - len(operands) % 2 : 2]]
        inputs = [_letters(sublist) for sublist in operands[1::2]]
    if len(inputs) != len(arrays):
        raise ValueError(f"ad.einsum: the subscripts are for {len(inputs)} operands, and {len(arrays)} are given")
    used = set("".join(inputs)) | set(output)
    if not used <= LETTERS and not all(LETTERS.issuperset(part.replace("...", "", 1)) for part in (*inputs, output)):
        raise ValueError("ad.einsum: the subscripts are letters, and an ellipsis at most for each operand")
    spare = [label for label in string.ascii_letters if label not in used]
    widths = [x.ndim - len(part.replace("...", "")) for part, x in zip(inputs, arrays)]
    for part, x, width in zip(inputs, arrays, widths):
        if width < 0 or width and "..." not in part:
            raise ValueError(f"ad.einsum: the subscripts {part!r} do not fit an operand of shape {x.shape}")
    widest = builtins.max(widths)
    spelt = ["".join(spare[:widest])[widest - width :] for width in widths]
    labels = [part.replace("...", own) for part, own in zip(inputs, spelt)]
    if arrow and widest and "..." not in output:
        raise ValueError("ad.einsum: the output has no ellipsis, and the operands have axes for one")
    if not arrow:
        joined = "".join(inputs).replace("...", "")
        output = "..." + "".join(sorted(label for label in set(joined) if joined.count(label) == 1))
    return labels, output.replace("...", "".join(spare[:widest])), arrays


def _letters(sublist):
    """The letters that stand for the numbers of a sublist, in the same order."""
    letters = string.ascii_uppercase + string.ascii_lowercase
    return "".join("..." if label is Ellipsis else letters[label] for label in sublist)


# -- written with these ------------------------------------------------------------------------


@composite(np.dot, domain=REAL, method=True,
           cases=(case((3,), (3,)), case((2, 3), (3,)), case((2, 3), (3, 2)), case((2, 2, 3), (3,)),
                  case((2, 3), (2, 3, 2)), case((), (2, 3)), case((2,), ())))
def dot(a, b):
    a, b = operand(a), operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    return matmul(a, b) if b.ndim <= 2 else tensordot(a, b, axes=(-1, -2))


@composite(np.inner, domain=REAL, cases=(case((3,), (3,)), case((2, 3), (3,)), case((2, 3), (4, 3)), case((), (3,))))
def inner(a, b):
    a, b = operand(a), operand(b)
    return multiply(a, b) if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, axes=(-1, -1))


@composite(np.outer, domain=REAL, cases=(case((2,), (3,)), case((2, 2), (3,)), case((), (2,))))
def outer(a, b):
    a, b = operand(a), operand(b)
    return multiply(reshape(a, (a.size, 1)), reshape(b, (1, b.size)))


@composite(np.linalg.outer, domain=REAL, cases=(case((2,), (3,)),))
def outer_of_vectors(x1, x2):
    """The outer product, as `np.linalg.outer`: of vectors only."""
    x1, x2 = operand(x1), operand(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError("ad.linalg.outer: the arguments must be vectors")
    return outer(x1, x2)


@composite(np.vdot, domain=REAL, cases=(case((3,), (3,)), case((2, 3), (3, 2))))
def vdot(a, b):
    a, b = operand(a), operand(b)
    return matmul(reshape(conjugate(a), (a.size,)), reshape(b, (b.size,)))


@composite(np.tensordot, np.linalg.tensordot, domain=REAL,
           cases=(case((2, 3, 4), (3, 4, 2)), case((2, 3), (3, 2), axes=1), case((2,), (3,), axes=0),
                  case((2, 3, 4), (4, 3), axes=((1, 2), (1, 0))), case((2, 3), (2, 4), axes=(0, 0))))
def tensordot(a, b, axes=2):
    a, b = operand(a), operand(b)
    try:
        axes_a, axes_b = axes
    except TypeError:
        axes_a, axes_b = range(-axes, 0), range(axes)
    axes_a, axes_b = (list(axes) if np.iterable(axes) else [axes] for axes in (axes_a, axes_b))
    if len({*axes_a}) < len(axes_a) or len({*axes_b}) < len(axes_b):
        raise ValueError("duplicate axes are not allowed in tensordot")
    if [a.shape[i] for i in axes_a] != [b.shape[i] for i in axes_b]:
        raise ValueError(f"ad.tensordot: shapes {a.shape} and {b.shape} do not match along axes {axes_a} and {axes_b}")
    axes_a, axes_b = [axis % a.ndim for axis in axes_a], [axis % b.ndim for axis in axes_b]
    of_a, of_b = string.ascii_letters[: a.ndim], list(string.ascii_letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(axes_a, axes_b):
        of_b[j] = of_a[i]
    kept = [label for label in (*of_a, *of_b) if label not in of_b or label not in of_a]
    return contract(a, b, f"...{of_a},...{''.join(of_b)}->...{''.join(kept)}")


@composite(np.kron, domain=REAL, cases=(case((2,), (3,)), case((2, 3), (3, 2)), case((2, 3), (2,)), case((), (2,))))
def kron(a, b):
    a, b = operand(a), operand(b)
    ndim = builtins.max(a.ndim, b.ndim)
    a, b = widened(a, ndim), widened(b, ndim)
    product = multiply(
        reshape(a, tuple(n for m in a.shape for n in (m, 1))), reshape(b, tuple(n for m in b.shape for n in (1, m)))
    )
    return reshape(product, tuple(m * n for m, n in zip(a.shape, b.shape)))


def widened(x, ndim):
    """The axes of `x` behind enough of length 1 to make `ndim`."""
    return reshape(x, ((1,) * (ndim - x.ndim) + x.shape)) if x.ndim < ndim else x


@bilinear(batching=Batching(broadcasts=True, tangents=(1, 1)), domain=(REAL, REAL),
          cases=(case((3,), (3,)), case((2, 3), (1, 3))),
          transposes=(lambda y_bar, _x1, x2: cross_of_vectors(x2, y_bar),
                      lambda y_bar, x1, _x2: cross_of_vectors(y_bar, x1)))
def cross_of_vectors(x1, x2):
    """The cross product along last axes of length 3, of operands with as many axes."""
    return np.cross(x1, x2)


@composite(np.cross, domain=REAL,
           cases=(case((3,), (3,)), case((2, 3), (3,)), case((3, 2), (3, 2), axis=0), case((2, 3), (2,)),
                  case((3, 2), (2, 3), axisa=0, axisc=0)))
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _moved(operand(a), axisa, -1), _moved(operand(b), axisb, -1)
    if not {a.shape[-1], b.shape[-1]} <= {2, 3}:
        raise ValueError("ad.cross: the vectors must have 2 or 3 components")
    flat = a.shape[-1] == b.shape[-1] == 2
    ndim = builtins.max(a.ndim, b.ndim)
    product = cross_of_vectors(widened(_in_space(a), ndim), widened(_in_space(b), ndim))
    return product[..., 2] if flat else _moved(product, -1, axisc)


@composite(np.linalg.cross, domain=REAL, cases=(case((3,), (3,)), case((3, 2), (3, 2), axis=0)))
def cross_along(x1, x2, axis=-1):
    """The cross product along one axis, as `np.linalg.cross`."""
    x1, x2 = operand(x1), operand(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError("ad.linalg.cross: the vectors must have 3 components")
    return cross(x1, x2, axis=axis)


def _in_space(x):
    """Vectors with a third component, 0 where they had two."""
    return x if x.shape[-1] == 3 else put_zeros(x, (..., slice(0, 2)), (*x.shape[:-1], 3))


def _moved(x, source, destination):
    order = list(string.ascii_letters[: x.ndim])
    labels = "".join(order)
    source, destination = (normalize_axis_index(axis, x.ndim) for axis in (source, destination))
    order.insert(destination, order.pop(source))
    return x if order == list(labels) else rearrange(x, f"{labels}->{''.join(order)}")


@composite(np.linalg.multi_dot, domain=REAL, sequence=True,
           cases=(case([(2, 3), (3, 4), (4, 2)]), case([(3,), (3, 4), (4, 2), (2,)]), case([(2, 3), (3,)])))
def multi_dot(arrays):
    """The matrix product of several arrays in the cheapest order; the first and the last may be vectors."""
    arrays = [operand(x) for x in arrays]
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    if any(a.shape[-1] != b.shape[0] for a, b in itertools.pairwise(arrays)):
        raise ValueError("ad.linalg.multi_dot: the shapes do not match")
    last = len(arrays)
    ends = {
        0: [1] if arrays[0].ndim == 1 else [0, 1],
        last - 1: [last - 1] if arrays[-1].ndim == 1 else [last - 1, last],
    }
    labels = [ends.get(k, [k, k + 1]) for k in range(last)]
    output = ([0] if len(labels[0]) == 2 else []) + ([last] if len(labels[-1]) == 2 else [])
    return einsum(*(part for pair in zip(arrays, labels) for part in pair), output)


# -- NumPy's vector gufuncs, where this NumPy has them --------------------------------------------


def _gufunc(name):
    return tuple(getattr(module, name) for module in (np, np.linalg) if hasattr(module, name))


def _check_core(n, m):
    """Refuse core dimensions that differ: a length of 1 is not broadcast there."""
    if n != m:
        raise ValueError(f"ad: vectors of length {m} do not match a core dimension of length {n}")


@composite(*_gufunc("vecdot"), domain=REAL, cases=(case((3,), (3,)), case((2, 3), (3,)), case((3, 2), (3, 2), axis=0)))
def vecdot(x1, x2, axis=-1):
    """The inner products along an axis, conjugating the first operand."""
    x1, x2 = _moved(operand(x1), axis, -1), _moved(operand(x2), axis, -1)
    _check_core(x1.shape[-1], x2.shape[-1])
    return einsum("...i,...i->...", conjugate(x1), x2)


@composite(*_gufunc("matvec"), domain=REAL, cases=(case((2, 3), (3,)), case((2, 2, 3), (3,)), case((2, 3), (2, 3))))
def matvec(x1, x2):
    """Matrices times vectors, over leading axes."""
    x1, x2 = operand(x1), operand(x2)
    _check_core(x1.shape[-1], x2.shape[-1])
    return einsum("...ij,...j->...i", x1, x2)


@composite(*_gufunc("vecmat"), domain=REAL, cases=(case((2,), (2, 3)), case((2, 2), (2, 2, 3))))
def vecmat(x1, x2):
    """Conjugated vectors times matrices, over leading axes."""
    x1, x2 = operand(x1), operand(x2)
    _check_core(x1.shape[-1], x2.shape[-2])
    return einsum("...i,...ij->...j", conjugate(x1), x2)


# -- polynomials and convolutions --------------------------------------------------------------------


def _turned(x):
    return getitem(x, slice(None, None, -1))


def _pull_longer(y_bar, _a, v, mode):
    return _convolve(y_bar, _turned(v), "valid" if mode == "full" else "full")


def _pull_shorter(y_bar, a, _v, mode):
    return _convolve(y_bar, _turned(a), "valid") if mode == "full" else _turned(_convolve(a, _turned(y_bar), "valid"))


@bilinear(transposes=(_pull_longer, _pull_shorter), domain=REAL)
def _convolve(a, v, mode):
    """Of vectors, of which the first is not the shorter one; mode "full" or "valid"."""
    return np.convolve(a, v, mode)


@numpy_signature("convolve", np.convolve, cases=(
    case((4,), (3,)), case((2,), (4,), "same"), case((5,), (2,), "same"), case((3,), (5,), mode="valid"),
    case((4,), ()), case((3,), (3,), "same"),
))
def convolve(a, v, mode="full"):
    a, v = stacked(a), stacked(v)
    if not isinstance(a, Array) and not isinstance(v, Array):
        return np.convolve(a, v, mode)
    a, v = (reshape(x, (1,)) if x.ndim == 0 else x for x in (asarray(a), asarray(v)))
    if a.ndim > 1 or v.ndim > 1:
        raise ValueError(f"ad.convolve: the arguments have shapes {a.shape} and {v.shape}; it is for vectors")
    if not a.size or not v.size:
        raise ValueError(f"{'a' if not a.size else 'v'} cannot be empty")
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    if v.size > a.size:
        a, v = v, a
    y = _core.apply(_convolve.op, (a, v), ("valid" if mode == "valid" else "full",))
    if mode != "same":
        return y
    start = v.size - 1 - v.size // 2
    return getitem(y, slice(start, start + a.size))


@composite(np.polyval, domain=REAL, cases=(
    case((3,), (4,)), case((3,), ()), case([1.0, 0.0, -2.0], (2, 3)), case((1,), (2,)),
))
def polyval(p, x):
    if isinstance(x, np.poly1d):
        raise MissingRule("ad.polyval has no rule for a polynomial in the place of x; give it arrays")
    p, x = asarray(p), asarray(x)
    y = np.zeros(x.shape, x.dtype)
    for i in range(p.shape[0]):
        y = y * x + p[i]
    return y
