"""Rules of shapes: ops that do nothing, indexing, broadcasting, and sums of what was broadcast or multiplied."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from ad.compiler.ir.graph import Slots
from ad.compiler.ir.keys import frozen
from ad.compiler.passes.factors import moderate, times
from ad.compiler.passes.rewriting import Rewriting
from ad.compiler.passes.rules import ANY, FLOATING, RuleTable
from ad.engine.graph import Aval, Op
from ad.ops.indexing import is_basic
from ad.ops.table import ops_named

__all__ = ["RULES", "broadcast"]

ADD, MULTIPLY, SUM, TRANSPOSE, RESHAPE, BROADCAST_TO, SUM_TO, PUT_ZEROS, MATMUL, ASTYPE = ops_named(
    "add multiply sum transpose reshape broadcast_to sum_to put_zeros matmul astype")
RULES = RuleTable()

# -- ops with nothing to do -------------------------------------------------------------------------
# The shape and dtype of what a rule returns are compared with those of the output before it is believed.


@RULES.rule("identity positive real astype reshape broadcast_to sum_to", dtypes=ANY)
def unchanged(r: Rewriting, y: Aval, x: int, *params: Any) -> int | None:
    return x


@RULES.rule("either", dtypes=ANY)
def first(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    return a


@RULES.rule("conjugate", dtypes=ANY)
def conjugate(r: Rewriting, y: Aval, x: int) -> int | None:
    return x if y.dtype.kind != "c" else None


@RULES.rule("getitem", dtypes=ANY)
def get_all(r: Rewriting, y: Aval, x: int, index: Any) -> int | None:
    return x if _is_all(index) else None


@RULES.rule("put_zeros", dtypes=ANY)
def put_all(r: Rewriting, y: Aval, x: int, index: Any, shape: Any) -> int | None:
    return x if _is_all(index) else None


def _is_all(index: Any) -> bool:
    """Return whether an index that keeps the shape keeps every element in its place."""
    for part in index if type(index) is tuple else (index,):
        if part is not Ellipsis and (type(part) is not slice or part.step not in (None, 1)):
            return False
    return True


@RULES.rule("where", dtypes=ANY)
def decided(r: Rewriting, y: Aval, condition: int, a: int, b: int) -> int | None:
    """Both branches are one, or the condition is a constant that is all true or all false."""
    known = r.constants.get(condition)
    if a == b or (known is not None and np.all(known)):
        return a
    return b if known is not None and not np.any(known) else None


# -- shapes -----------------------------------------------------------------------------------------


@RULES.rule("reshape", dtypes=ANY)
def reshape_twice(r: Rewriting, y: Aval, x: int, shape: Any, order: str = "C") -> int | None:
    z = r.made_by(x, RESHAPE)
    if z and order == "C" and r.params(x)[1:] in ((), ("C",)):
        return r.emit(RESHAPE, y, *z, params=(y.shape, "C"))
    return None


@RULES.rule("transpose", dtypes=ANY)
def transpose_twice(r: Rewriting, y: Aval, x: int, axes: Any) -> int | None:
    if z := r.made_by(x, TRANSPOSE):
        first, then = (_axes(axes, len(y.shape)) for axes in (*r.params(x), axes))
        axes = tuple([first[axis] for axis in then])
        return z[0] if axes == tuple(range(len(axes))) else r.emit(TRANSPOSE, y, *z, params=(axes,))
    return None


def _axes(axes: Any, ndim: int) -> Sequence[int]:
    return range(ndim)[::-1] if axes is None else [axis % ndim for axis in axes]


@RULES.rule("transpose", dtypes=ANY)
def transpose_nothing(r: Rewriting, y: Aval, x: int, axes: Any) -> int | None:
    return x if tuple(_axes(axes, len(y.shape))) == tuple(range(len(y.shape))) else None


@RULES.rule("getitem", dtypes=ANY)
def get_what_was_put(r: Rewriting, y: Aval, x: int, index: Any) -> int | None:
    z = r.made_by(x, PUT_ZEROS)
    if z and is_basic(index) and frozen(index) == frozen(r.params(x)[0]):
        return z[0]
    return None


@RULES.rule("add", dtypes=FLOATING)
def add_put(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    """Parts that are put in the same place of zeros are added first, also if a third term was added between them.

    This serves gradients of functions of slices (differences, stencils, filters): each use of `x[1:]` adds a cotangent
    to the cotangent of x, in the order of the sweep, so that a term of `x[1:]` often stands between two of `x[:-1]`.
    Each application saves an array of zeros and a sum over all of x (Rosenbrock's gradient: 12 instructions, not 14).
    """
    for x, put in ((a, b), (b, a)):
        if not r.made_by(put, PUT_ZEROS) or not r.is_used_once(put, y):
            continue
        if _same_place(r, x, put) and r.is_used_once(x, y):
            return _put_sum(r, y, x, put)
        if (parts := r.made_by(x, ADD)) and r.is_used_once(x, y):
            for third, other in (parts, parts[::-1]):
                if _same_place(r, other, put) and r.is_used_once(other, y):
                    return r.emit(ADD, y, third, _put_sum(r, y, other, put))
    return None


def _same_place(r: Rewriting, x: int, put: int) -> bool:
    z, of = r.made_by(x, PUT_ZEROS), r.made_by(put, PUT_ZEROS)
    if not z or r.avals[z[0]].shape != r.avals[of[0]].shape:
        return False
    return bool(frozen(r.params(x)) == frozen(r.params(put)))


def _put_sum(r: Rewriting, y: Aval, x: int, put: int) -> int:
    a, b = r.made_by(x, PUT_ZEROS) + r.made_by(put, PUT_ZEROS)
    total = r.emit(ADD, Aval(r.avals[a].shape, y.dtype), a, b)
    return r.emit(PUT_ZEROS, y, total, params=r.params(x))


# -- broadcasting: ops are moved before it --------------------------------------------------------------


def broadcast(r: Rewriting, y: Aval, x: int) -> int:
    """Emit a broadcast of x to the shape of y, if it does not have it."""
    return r.emit(BROADCAST_TO, y, x, params=(y.shape,)) if r.avals[x].shape != y.shape else x


@RULES.rule("broadcast_to", dtypes=ANY)
def broadcast_one(r: Rewriting, y: Aval, x: int, shape: Any) -> int | None:
    """One element in several axes of length one is taken as a scalar; other axes in front need no reshape."""
    aval = r.avals[x]
    if aval.shape and aval.size == 1:
        return broadcast(r, y, r.emit(RESHAPE, Aval((), y.dtype), x, params=((), "C")))
    z = r.made_by(x, RESHAPE)
    if z and aval.shape[-len(r.avals[z[0]].shape):] == r.avals[z[0]].shape and aval.size == r.avals[z[0]].size:
        return broadcast(r, y, *z)
    return None


@RULES.rule("broadcast_to", dtypes=ANY)
def broadcast_twice(r: Rewriting, y: Aval, x: int, shape: Any) -> int | None:
    z = r.made_by(x, BROADCAST_TO)
    return broadcast(r, y, *z) if z else None


@RULES.rule("reshape getitem transpose", dtypes=ANY)
def take_of_scalar(r: Rewriting, y: Aval, x: int, *params: Any) -> int | None:
    return broadcast(r, y, z) if (z := scalar_source(r, x)) is not None else None


@RULES.rule("astype", dtypes=ANY)
def cast_scalar(r: Rewriting, y: Aval, x: int, dtype: Any) -> int | None:
    if (z := scalar_source(r, x)) is not None:
        return broadcast(r, y, r.emit(ASTYPE, Aval((), y.dtype), z, params=(dtype,)))
    return None


def scalar_source(r: Rewriting, x: int) -> int | None:
    """Return the scalar that was broadcast to the shape of x, or None."""
    z = r.broadcast_source(x)
    return z if z is not None and r.avals[z].shape == () else None


@RULES.rule_of_form("elementwise")
def operate_then_broadcast(r: Rewriting, y: Aval, op: Op, params: tuple[Any, ...], inputs: Slots) -> int | None:
    """Broadcast no operand beside one of the whole shape; if there is none, broadcast the result."""
    sources = [r.broadcast_source(x) if r.avals[x].shape else None for x in inputs]
    if all(z is None for z in sources):
        return None
    small = [x if z is None else z for z, x in zip(sources, inputs)]
    shapes = {r.avals[x].shape for x in small}
    if y.shape in shapes:
        return r.emit(op, y, *small, params=params)
    shapes.discard(())
    if len(shapes) <= 1:
        return broadcast(r, y, r.emit(op, Aval(shapes.pop() if shapes else (), y.dtype), *small, params=params))
    return None


@RULES.rule("sum sum_to")
def sum_of_copies(r: Rewriting, y: Aval, x: int, *params: Any) -> int | None:
    """The sum of n copies of a scalar, or of an array, is n times it."""
    z, n = r.broadcast_source(x), r.avals[x].size // max(y.size, 1)
    if z is not None and n and (r.avals[z].shape == () or (len(params) == 1 and r.avals[z].shape == y.shape)):
        return broadcast(r, y, r.emit(MULTIPLY, r.avals[z], z, float(n)))
    return None


@RULES.rule("sum sum_to")
def sum_of_product(r: Rewriting, y: Aval, x: int, *params: Any) -> int | None:
    """The sum of c z is c times that of z."""
    z = r.product(x)
    if z and moderate(z[1]) and r.is_used_once(x, r.avals[z[0]]) and y.size < r.avals[x].size:
        op = SUM if len(params) == 2 else SUM_TO
        return times(r, y, r.emit(op, y, z[0], params=params), z[1])
    return None


@RULES.rule("sum_to", dtypes=FLOATING)
def sum_of_rows(r: Rewriting, y: Aval, x: int, shape: Any) -> int | None:
    """The sum of the rows of a product a b is the sum of the rows of a, times b.

    This serves gradients of a row that is subtracted from or added to every row of a batch before a matrix is applied
    (an offset of shape (1, n), a mean with keepdims=True): the cotangent of the batch is a product of n rows, of which
    only the sum is wanted; one row is multiplied instead. Without rows the sum is zero whatever b holds, and the rule
    does not apply.
    """
    product, factors = r.avals[x].shape, r.made_by(x, MATMUL)
    if not factors or r.uses[x] > 1 or len(product) < 2 or shape != (*product[:-2], 1, product[-1]):
        return None
    a, b = factors
    before = r.avals[a].shape
    if before[:-1] != product[:-1] or len(r.avals[b].shape) < 2 or product[-2] == 0:
        return None
    row = (*before[:-2], 1, before[-1])
    return r.emit(MATMUL, y, r.emit(SUM_TO, Aval(row, y.dtype), a, params=(row,)), b)


@RULES.rule("sum", dtypes=ANY)
def sum_of_one(r: Rewriting, y: Aval, x: int, axis: Any, keepdims: bool) -> int | None:
    """Sums of one element each."""
    aval = r.avals[x]
    return r.emit(RESHAPE, y, x, params=(y.shape, "C")) if aval.size == y.size and aval.dtype == y.dtype else None


@RULES.rule("sum_to", dtypes=ANY)
def sum_to_twice(r: Rewriting, y: Aval, x: int, shape: Any) -> int | None:
    z = r.made_by(x, SUM_TO)
    return r.emit(SUM_TO, y, *z, params=(y.shape,)) if z else None


@RULES.rule("sum_to", dtypes=ANY)
def sum_to_scalar(r: Rewriting, y: Aval, x: int, shape: Any) -> int | None:
    return r.emit(SUM, y, x, params=(None, False)) if y.shape == () and r.avals[x].dtype == y.dtype else None
