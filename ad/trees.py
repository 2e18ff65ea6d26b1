"""Trees: nested containers of values, flattened into leaves and rebuilt from leaves.

Containers are dicts (in order of insertion), lists, tuples, namedtuples and dataclass instances; None is an empty
container. Views of a dict and deques count as lists, other mappings as dicts. Everything else is a leaf.
"""
from __future__ import annotations

import collections
import collections.abc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ad.errors import kind as kind_of

__all__ = [
    "LEAF", "PartialTree", "TreeDef", "broadcast_prefix", "flatten", "flatten_like", "flatten_optional", "map",
    "map_nested",
]

_LISTED = list, collections.deque, collections.abc.ValuesView, collections.abc.ItemsView


class TreeDef:
    """The structure of a tree without its leaves; called with leaves, it builds the tree."""

    __slots__ = ("children", "keys", "kind", "size")
    kind: type
    keys: tuple[Any, ...] | range
    children: tuple[TreeDef, ...]
    size: int

    def __init__(self, kind: type, keys: tuple[Any, ...] | range = (), children: tuple[TreeDef, ...] = ()) -> None:
        self.kind, self.keys, self.children = kind, keys, children
        self.size = sum(child.size for child in children)

    def __call__(self, leaves: Iterable[Any]) -> Any:
        """Build a new tree of this structure from an iterable of leaves in order."""
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self is LEAF:
            return next(leaves)
        parts = [child._build(leaves) for child in self.children]
        kind = self.kind
        if kind is list:
            return parts
        if kind is tuple:
            return tuple(parts)
        if kind is type(None):
            return None
        if hasattr(kind, "_make"):
            return kind._make(parts)
        named = dict(zip(self.keys, parts))
        return kind(named) if issubclass(kind, dict) else _instance(kind, named)

    def paths(self, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return for each leaf the tuple of keys that lead to it."""
        if self is LEAF:
            return [path]
        return [found for key, child in zip(self.keys, self.children) for found in child.paths((*path, key))]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TreeDef):
            return NotImplemented
        return (self.kind, self.keys, self.children) == (other.kind, other.keys, other.children)

    def __hash__(self) -> int:
        return hash((self.kind, tuple(self.keys), self.children))

    def __repr__(self) -> str:
        if self is LEAF:
            return "*"
        return repr(self(["*"] * self.size)).replace("'*'", "*")


LEAF = TreeDef(object)
LEAF.size = 1


class PartialTree:
    """A tree with some leaves fixed; called with the other leaves, it builds the tree.

    Parameters
    ----------
    structure : TreeDef
    fixed : dict
        Position among the leaves -> leaf.
    """

    __slots__ = ("fixed", "structure")
    structure: TreeDef
    fixed: dict[int, Any]

    def __init__(self, structure: TreeDef, fixed: dict[int, Any]) -> None:
        self.structure, self.fixed = structure, fixed

    def __call__(self, values: Iterable[Any]) -> Any:
        """Build a new tree from an iterable of the leaves that are not fixed."""
        if not self.fixed:
            return self.structure(values)
        values = iter(values)
        return self.structure([self.fixed[i] if i in self.fixed else next(values) for i in range(self.structure.size)])

    def values(self, tree: Any, what: str = "the tree", check: Callable[[Any, Any], None] | None = None) -> list[Any]:
        """Return the leaves of `tree` that are not fixed; `check(fixed, leaf)` is called for the others."""
        leaves = flatten_like(self.structure, tree, what)
        if check is not None:
            for i, fixed in self.fixed.items():
                check(fixed, leaves[i])
        return [leaf for i, leaf in enumerate(leaves) if i not in self.fixed]


def _parts(tree: Any) -> tuple[type, Any, Any] | None:
    """Return the kind, keys and values of a container; None for a leaf."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind, range(len(tree)), tree
    if tree is None:
        return kind, (), ()
    if isinstance(tree, dict):
        rebuilt_as = kind if kind.__init__ is dict.__init__ or kind.__name__ == "OrderedDict" else dict
        return rebuilt_as, tuple(tree), tuple(tree.values())
    if isinstance(tree, tuple):
        return (kind if hasattr(kind, "_make") else tuple), range(len(tree)), tree
    if isinstance(tree, _LISTED):
        return list, range(len(tree)), list(tree)
    if isinstance(tree, collections.abc.Mapping):
        return dict, tuple(tree), tuple(tree.values())
    if hasattr(kind, "__dataclass_fields__") and not isinstance(tree, type):
        names = tuple([field.name for field in _fields(kind)])
        return kind, names, tuple(getattr(tree, name) for name in names)
    return None


def _fields(kind: Any) -> tuple[Any, ...]:
    """Return the fields of a dataclass."""
    from dataclasses import fields  # not with the library: few trees have dataclasses, and it takes a millisecond

    return fields(kind)


def _instance(kind: type, named: dict[str, Any]) -> Any:
    """Make an instance of a dataclass with these fields."""
    given = {field.name for field in _fields(kind) if field.init}
    made = kind(**{name: part for name, part in named.items() if name in given})
    for name in named.keys() - given:
        object.__setattr__(made, name, named[name])  # a frozen one, too
    return made


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """Return the leaves of a tree in a list, and the `TreeDef` that builds such a tree from leaves.

    The `TreeDef` makes every container anew: what it builds shares none with `tree`.
    """
    leaves: list[Any] = []
    return leaves, _take_apart(tree, leaves)


def flatten_optional(tree: Any) -> list[Any]:
    """Return the leaves of a tree in which None is a leaf, too: a missing item."""
    if tree is None:
        return [None]
    parts = _parts(tree)
    return [tree] if parts is None else [leaf for part in parts[2] for leaf in flatten_optional(part)]


def _take_apart(tree: Any, leaves: list[Any]) -> TreeDef:
    parts = _parts(tree)
    if parts is None:
        leaves.append(tree)
        return LEAF
    kind, keys, values = parts
    return TreeDef(kind, keys, tuple([_take_apart(value, leaves) for value in values]))


def flatten_like(structure: TreeDef, tree: Any, what: str = "the tree") -> list[Any]:
    """Return the leaves of a tree that must have this structure; dicts are matched by their keys.

    Raises
    ------
    TypeError
        If the nesting differs; the message says where, and calls the tree `what`.
    """
    leaves: list[Any] = []
    _collect(structure, tree, what, leaves)
    return leaves


def _collect(structure: TreeDef, tree: Any, what: str, leaves: list[Any]) -> None:
    if structure is LEAF:
        if _parts(tree) is not None:
            raise TypeError(f"ad: {what} is {kind_of(tree)} where a single array or number is wanted")
        leaves.append(tree)
        return
    parts = _parts(tree)
    if parts is None or parts[0] is not structure.kind:
        raise TypeError(f"ad: {what} is {kind_of(tree)} where {structure!r} is wanted")
    _, keys, values = parts
    if set(keys) != set(structure.keys):
        raise TypeError(f"ad: {what} has the parts {list(keys)} where {list(structure.keys)} are wanted")
    found = dict(zip(keys, values))
    for key, child in zip(structure.keys, structure.children):
        _collect(child, found[key], f"{what}[{key!r}]", leaves)


def broadcast_prefix(prefix: Any, tree: Any, what: str = "the tree") -> list[int | None]:
    """Broadcast a prefix tree of ints and Nones to a list with one entry for each leaf of `tree`.

    Raises
    ------
    TypeError
        If `prefix` is not a prefix of the tree; the message calls it `what`.
    """
    if prefix is None or isinstance(prefix, int):
        return [prefix] * len(flatten(tree)[0])
    given, parts = _parts(prefix), _parts(tree)
    if given is None:
        raise TypeError(f"ad.{what} has {kind_of(prefix)} in it; it is made of ints and None")
    if parts is None or given[0] is not parts[0] or set(given[1]) != set(parts[1]):
        raise TypeError(f"ad.{what} has {prefix!r} for {flatten(tree)[1]!r}, where * is a leaf; it must be nested "
                        "alike, or be an int or None for all of it")
    named = dict(zip(given[1], given[2]))
    return [item for key, part in zip(parts[1], parts[2]) for item in broadcast_prefix(named[key], part, what)]


def map(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Return the tree of `f(leaf, *leaves)`, with the leaves at the same place in `rest`."""
    leaves, rebuild = flatten(tree)
    others = [flatten_like(rebuild, other, f"tree {i}") for i, other in enumerate(rest, 2)]
    return rebuild([f(*group) for group in zip(leaves, *others)])


def map_nested(f: Callable[[Any], Any], tree: Any) -> Any:
    """Return the tree of `f(leaf)` for arguments of NumPy functions: only lists, tuples and dicts are containers.

    Namedtuples become tuples, as they are for NumPy.
    """
    if isinstance(tree, (list, tuple)):
        parts = [map_nested(f, part) for part in tree]
        return parts if isinstance(tree, list) else tuple(parts)
    if isinstance(tree, dict):
        return {key: map_nested(f, part) for key, part in tree.items()}
    return f(tree)
