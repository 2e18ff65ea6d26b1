"""Ops of the table by name, looked up once when a module is imported; from there on an op is told by its identity."""
from ad.engine.graph import Op
from ad.ops.table import TABLE

__all__ = ["ops_named"]


def ops_named(names: str) -> list[Op]:
    """Return the ops of these names, which are separated by blanks."""
    found = [TABLE[name].op for name in names.split()]
    return [op for op in found if op is not None]
