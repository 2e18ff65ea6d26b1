"""Trees: containers taken apart and put together."""
import collections
import types
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

import ad
from ad import trees

Point = namedtuple("Point", "x y")


@dataclass
class Layer:
    weight: object
    bias: object = None


@dataclass(frozen=True)
class Scaled:
    unit: ClassVar[str] = "m"
    values: object
    total: object = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "total", sum(self.values))


class Grid(np.ndarray):
    """A subclass of ndarray is a leaf."""


TREES = {
    "leaf": (3.0, [3.0]),
    "none": (None, []),
    "list": ([1, [2, 3], []], [1, 2, 3]),
    "tuple": ((1, (2,), ()), [1, 2]),
    "dict in order of insertion": ({"b": 1, "a": {"d": 2, "c": 3}}, [1, 2, 3]),
    "ordered dict": (OrderedDict(z=1, a=(2, None)), [1, 2]),
    "namedtuple": (Point(1, Point(2, None)), [1, 2]),
    "dataclass": ([Layer(1, [2]), Layer(3)], [1, 2, 3]),
    "dataclass with fields of its own making": (Scaled([1, 2]), [1, 2, 3]),
    "string": ("ab", ["ab"]),
    "class": (Layer, [Layer]),
}


@pytest.mark.parametrize("name", TREES)
def test_leaves_in_order_and_back(name):
    tree, expected = TREES[name]
    leaves, rebuild = trees.flatten(tree)
    assert leaves == expected
    assert rebuild.size == len(leaves)
    again = rebuild(leaves)
    assert again == tree
    assert type(again) is type(tree)


def test_containers_are_new_down_to_the_last():
    tree = {"a": [1, {"b": 2}]}
    leaves, rebuild = trees.flatten(tree)
    again = rebuild(leaves)
    again["a"][1]["b"] = 7
    again["a"].append(8)
    assert tree == {"a": [1, {"b": 2}]}
    assert rebuild(leaves) == tree


def test_ndarray_subclass_is_a_leaf():
    x = np.zeros(2).view(Grid)
    assert trees.flatten(x)[0][0] is x


def test_defaultdict_comes_back_as_a_dict():
    assert trees.map(lambda x: x + 1, defaultdict(list, a=1)) == {"a": 2}


def test_structures_compare():
    assert trees.flatten([1, (2, None)])[1] == trees.flatten([3, (4, None)])[1]
    assert trees.flatten([1, 2])[1] != trees.flatten((1, 2))[1]
    assert trees.flatten({"a": 1})[1] != trees.flatten({"b": 1})[1]
    assert trees.flatten([1])[1] != trees.flatten([None])[1]
    assert trees.flatten(1)[1] != [1]


def test_structure_prints():
    assert repr(trees.flatten({"a": [1, 2], "b": None})[1]) == "{'a': [*, *], 'b': None}"


def test_paths():
    assert trees.flatten({"a": [1, (2,)], "b": None, "c": 3})[1].paths() == [("a", 0), ("a", 1, 0), ("c",)]


def test_map_matches_dicts_by_key():
    assert trees.map(lambda a, b: a - b, {"x": 5, "y": (7,)}, {"y": (1,), "x": 2}) == {"x": 3, "y": (6,)}


@pytest.mark.parametrize("other, message", [
    ([1], r"tree 2 is a list where \{'a': \[\*\]\} is wanted"),
    ({"b": [1]}, r"tree 2 has the parts \['b'\] where \['a'\] are wanted"),
    ({"a": [1, 2]}, r"tree 2\['a'\] has the parts \[0, 1\] where \[0\] are wanted"),
    ({"a": [[1]]}, r"tree 2\['a'\]\[0\] is a list where a single array or number is wanted"),
    (3.0, "tree 2 is a float where"),
])
def test_map_says_where_the_nesting_differs(other, message):
    with pytest.raises(TypeError, match=message):
        trees.map(lambda a, b: a, {"a": [1]}, other)


def test_other_containers():
    values = {"a": 1, "b": (2, 3)}
    for tree in (values.values(), collections.deque([1, (2, 3)])):
        leaves, structure = trees.flatten(tree)
        assert structure(leaves) == [1, (2, 3)]
    leaves, structure = trees.flatten(types.MappingProxyType(values))
    assert structure(leaves) == values


def test_views_of_a_dict_as_sources():
    d = {"a": ad.Variable(2.0), "b": ad.Variable(3.0)}
    with ad.GradientTape() as tape:
        y = d["a"] * d["b"]
    assert [g.numpy() for g in tape.gradient(y, d.values())] == [3.0, 2.0]
