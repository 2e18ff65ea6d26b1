"""Ops that put elements in order: a permutation of them, which is constant between ties."""
import numpy as np

from ad._core import settled
from ad.errors import MissingRule
from ad.ops.choice import where
from ad.ops.domains import REAL
from ad.ops.forms import case, composite
from ad.ops.indexing import getitem, take, take_along_axis
from ad.ops.joining import stack
from ad.ops.shaping import moveaxis, ravel, reshape

__all__ = ["median", "partition", "percentile", "quantile", "sort", "unique"]

_TIES = "ties keep their order, and each its own gradient"


def _permuted(order, a, axis):
    if axis is None:
        a, axis = ravel(a), 0
    return take_along_axis(a, order(a, axis), axis)


@composite(np.sort, domain=REAL, singular=_TIES, cases=(
    case((5,)), case((2, 3)), case((3, 2), axis=0), case((2, 3), axis=None), case((0,)),
    case(np.array([1.0, 3.0, 2.0])),
))
def sort(a, axis=-1, kind=None, order=None, *, stable=None):
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    return _permuted(lambda values, axis: np.argsort(values, axis, kind="stable"), a, axis)


@composite(np.partition, domain=REAL, singular=_TIES, cases=(case((5,), 2), case((2, 4), 1, axis=1)))
def partition(a, kth, axis=-1, kind="introselect", order=None):
    return _permuted(lambda values, axis: np.argpartition(values, kth, axis), a, axis)


@composite(np.unique, domain=REAL, singular="the gradient goes to the first of equal elements",
           cases=(case((4,)), case(np.array([[2.0, 1.0], [3.0, 4.0]]))))
def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True):
    if axis is not None:
        raise MissingRule("ad.unique has no rule for axis=")
    _, index, *rest = np.unique(settled(ar), True, return_inverse, return_counts, equal_nan=equal_nan)
    found = take(ar, index)
    rest = (index, *rest) if return_index else tuple(rest)
    return (found, *rest) if rest else found


def _last_axis(a, axis):
    """The axes to reduce as one, at the end; and the shape of the result with them kept as ones."""
    axes = tuple(range(a.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
    kept = tuple(1 if i in axes else n for i, n in enumerate(a.shape))
    rest = tuple(n for i, n in enumerate(a.shape) if i not in axes)
    return reshape(moveaxis(a, axes, range(-len(axes), 0)), (*rest, -1)), kept


def _at(ordered, q, dtype):
    """Between the elements of the sorted last axis, the fraction `q` of the way; nan if there is a nan."""
    place = q * (ordered.shape[-1] - 1)
    below = int(np.floor(place))
    low, high = (getitem(ordered, (..., min(i, ordered.shape[-1] - 1))) for i in (below, below + 1))
    last = getitem(ordered, (..., -1))
    weight = dtype.type(place - below)
    y = low + (high - low) * weight
    return where(np.isnan(last), last, y)


def _quantile(a, q, axis, keepdims):
    rows, kept = _last_axis(a, axis)
    ordered = sort(rows)
    q = np.asarray(q, a.dtype if isinstance(q, (int, float)) and a.dtype.kind == "f" else None)
    if np.any((q < 0) | (q > 1)):
        raise ValueError("Quantiles must be in the range [0, 1]")
    shape = kept if keepdims else rows.shape[:-1]
    found = [reshape(_at(ordered, part, np.result_type(a.dtype, q)), shape) for part in q.ravel()]
    if not q.ndim:
        return found[0]
    return reshape(stack(found), (*q.shape, *shape))


def _only_linear(name, out, method, weights):
    if out is not None or weights is not None or method != "linear":
        raise MissingRule(f"ad.{name} has a rule for method='linear' only, without weights= and out=")


_QUANTILES = "between ties any of them; linear between neighbours"


@composite(np.quantile, domain=REAL, singular=_QUANTILES, cases=(
    case((5,), q=0.3), case((2, 4), q=0.5, axis=1), case((3, 4), q=np.array(0.25), axis=0, keepdims=True),
    case((4,), q=[0.0, 0.6, 1.0]),
))
def quantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    _only_linear("quantile", out, method, weights)
    return _quantile(a, q, axis, keepdims)


@composite(np.percentile, domain=REAL, singular=_QUANTILES, cases=(case((5,), 30), case((2, 4), 75, axis=1)))
def percentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    _only_linear("percentile", out, method, weights)
    return _quantile(a, np.true_divide(q, 100), axis, keepdims)


@composite(np.median, domain=REAL, singular=_QUANTILES, cases=(
    case((5,)), case((2, 4), axis=1), case((2, 3, 2), axis=(0, 2), keepdims=True), case(()),
))
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    _only_linear("median", out, "linear", None)
    return _quantile(a, 0.5, axis, keepdims)
