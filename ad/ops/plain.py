"""NumPy functions that have no derivative: they are evaluated on the values and give plain results."""
import numpy as np

from ad import _core
from ad._core import Array

__all__ = ["PLAIN", "plain_values"]

PLAIN = {
    getattr(np, name)
    for name in (
        "all allclose any argmax argmin argpartition argsort argwhere array2string array_equal array_equiv array_repr "
        "array_str bincount can_cast common_type count_nonzero digitize empty_like flatnonzero full_like "
        "in1d isclose iscomplex iscomplexobj isin isneginf isposinf isreal isrealobj lexsort "
        "may_share_memory min_scalar_type nanargmax nanargmin ndim nonzero ones_like result_type save savetxt savez "
        "searchsorted shape shares_memory size tril_indices_from triu_indices_from zeros_like"
    ).split()
    if hasattr(np, name)
}


def plain_values(tree):
    """The arguments with the values in the place of arrays of ours, in lists, tuples and dicts too."""
    if isinstance(tree, Array):
        return tree.numpy()
    if isinstance(tree, (list, tuple)):
        return type(tree)([plain_values(part) for part in tree])
    if isinstance(tree, dict):
        return {key: plain_values(part) for key, part in tree.items()}
    return tree


def _method(name):
    def method(x, *args, **kwargs):
        return getattr(np.asarray(x.numpy()), name)(*plain_values(args), **plain_values(kwargs))

    method.__name__ = name
    method.__doc__ = f"As ndarray.{name}, of the value: a plain result, through which nothing flows."
    return method


for _name in "all any argmax argmin argpartition argsort nonzero searchsorted tobytes".split():
    _core.add_method(_name, _method(_name))
