"""Jacobians as sums of terms: exact sparse forward mode through a graph.

The Jacobian of a value is kept as a sum of `Term`, each a list of entries
`J[rows[e], columns[e]] += factor * coefficients[e]`. Rows, columns and the factor are known when the program is made;
coefficients are what it computes. An elementwise op multiplies the coefficients by its partial derivative, one that
moves or sums elements changes the rows only, and a constant factor changes the factor only. What several terms need is
computed once. So a program of elementwise ops, slices and sums gets each entry of its Jacobian by the ops that a person
would write down for it.
"""
from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ad._core import Array, apply, constant
from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.interpreting import initial_slots
from ad.engine.graph import Aval
from ad.engine.inspection import value_or_tracer
from ad.ops.indexing import getitem, put_zeros
from ad.ops.joining import concatenate
from ad.ops.shaping import broadcast_to, ravel, reshape
from ad.ops.structure import blocks_of
from ad.ops.ufuncs import add, multiply, scale, subtract
from ad.sparse import _rows
from ad.sparse.index_maps import Interned, folded_shape, inverse_of, view_of
from ad.sparse.links import Elementwise, Factors, Gather, Link, Mixed, Pairs, Scatter, as_operand, links_of
from ad.sparse.zeros import KnownZeros

__all__ = ["SHORT", "Term", "TooCostly", "joined_coefficients", "push_terms"]

Indices: TypeAlias = NDArray[np.int32]

MANY_TERMS = 12  # of one value, from which it may pay to join them to one
REPEATED = 3  # entries of one term for each element of the value, from which it may pay, too
WORTH_JOINING = 1.5  # entries of all terms for each place
SHORT = 16  # entries of a term on average, up to which it costs more to compute on it than to join it to others
SMALL = 1e-100  # a factor that is smaller, or larger than its inverse, is multiplied out
MOST_LANES = 64  # elements that an op mixes, up to which its own Jacobian is taken


class TooCostly(Exception):
    """Terms would have many more entries than the values have elements, or are not defined."""


class Term(NamedTuple):
    """Entries of a Jacobian: `J[rows[e], columns[e]] += factor * coefficients[e]`.

    Attributes
    ----------
    rows : ndarray of int32 or None
        Numbers of elements of the value; None if the entries are those elements, in order.
    columns : ndarray of int32
        The shape of the term.
    coefficients : Array or None
        Can be broadcast to the shape; None for ones.
    factor : float
    """

    rows: Indices | None
    columns: Indices
    coefficients: Any
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.columns.shape


class _Sum(NamedTuple):
    """The terms of two values that are added: joined only when something else is done with them."""

    first: Any
    second: Any


def push_terms(graph: Graph, values: Sequence[Any], columns: dict[int, Indices],
               budget: int) -> tuple[list[Any], list[list[Term]], int]:
    """Interpret a graph on Arrays, with the terms of each value; return its outputs, their terms, and the cost.

    Parameters
    ----------
    graph : Graph
    values : sequence of Array
        One for each input.
    columns : dict
        Slot of an input -> the columns that its elements are, in its shape.
    budget : int
        The most that it may cost: the number of entries of the terms of all values together.

    Raises
    ------
    TooCostly
        If the budget does not suffice, or an op has too large a Jacobian of its own.
    """
    pusher = _Pusher(graph, values, columns, budget)
    return *pusher.run(), budget - pusher.budget


class _Pusher:
    """The state of `push_terms`."""

    def __init__(self, graph: Graph, values: Sequence[Any], columns: dict[int, Indices], budget: int) -> None:
        self.graph, self.budget = graph, budget
        self.interned, self.zeros = Interned(), KnownZeros(graph)
        self.values = initial_slots(graph, values)
        self.made: dict[Any, tuple[Any, Any]] = {}
        self.terms: dict[int, Any] = {slot: [Term(None, self.interned(where), None)] for slot, where in columns.items()}

    def run(self) -> tuple[list[Any], list[list[Term]]]:
        for instruction in self.graph.instructions:
            self.step(instruction)
        outputs = self.graph.outputs
        return [self.values[slot] for slot in outputs], [self.terms_of(slot) for slot in outputs]

    def once(self, make: Any, *given: Any) -> Any:
        """Return what a function makes of Arrays, indices or numbers, made once for the same ones."""
        key = make, *[x if isinstance(x, (float, tuple)) else id(x) for x in given]
        if key not in self.made:
            self.made[key] = make(*given), given  # whose identities stay theirs while they are kept
        return self.made[key][0]

    def step(self, instruction: Instruction) -> None:
        op, params, inputs, outputs, _ = instruction
        y = apply(op, tuple([self.values[slot] for slot in inputs]), params)
        ys = y if op.outputs > 1 else (y,)
        self.values.update(zip(outputs, ys))
        wanted = {i for i, slot in enumerate(inputs) if slot in self.terms}
        if wanted:
            if any(self.graph.avals[slot].dtype.kind == "c" for slot in (*inputs, *outputs)):
                raise TooCostly  # derivatives by the parts of complex numbers are no products with one number
            pushed = _Pushed(self, instruction, ys)
            for k, i, link in links_of(self.graph, instruction, wanted, self.zeros):
                found = pushed.terms(k, i, link)
                slot = outputs[k]
                self.terms[slot] = _Sum(self.terms[slot], found) if slot in self.terms else found
        self.zeros.add(instruction)

    def terms_of(self, slot: int) -> list[Term]:
        """Return the terms of a value, with those that have the same places added."""
        found = self.terms.get(slot, [])
        if isinstance(found, _Sum):
            found = self.terms[slot] = self.added(_flattened(found))
        terms: list[Term] = found
        return terms

    def joined_terms(self, slot: int) -> list[Term]:
        """Return the terms of a value whose coefficients are to be multiplied; many are joined to one if that pays."""
        terms = self.terms_of(slot)
        size = self.graph.avals[slot].size
        if len(terms) >= MANY_TERMS or any(term.columns.size > REPEATED * max(size, SHORT) for term in terms):
            terms = self.terms[slot] = self.joined(terms, size)
        return terms

    def added(self, terms: Iterable[Term]) -> list[Term]:
        """Add the coefficients of terms with the same places."""
        groups: dict[tuple[int, int], Term] = {}
        for term in terms:
            key = id(term.rows), id(term.columns)
            groups[key] = self.sum_of(groups[key], term) if key in groups else term
        return [term for term in groups.values() if term.factor]

    def sum_of(self, first: Term, second: Term) -> Term:
        """Return the sum of two terms with the same places."""
        a, b = first.coefficients, second.coefficients
        if a is b:
            return first._replace(factor=first.factor + second.factor)
        if a is None or b is None or abs(first.factor) != abs(second.factor):
            found = self.once(add, self.multiplied(first), self.multiplied(second))
            return first._replace(coefficients=found, factor=1.0)
        return first._replace(coefficients=self.once(add if first.factor == second.factor else subtract, a, b))

    def multiplied(self, term: Term) -> Any:
        """Return the coefficients times the factor: a number, if they are ones."""
        if term.coefficients is None or term.factor == 1:
            return term.factor if term.coefficients is None else term.coefficients
        return self.once(multiply, term.coefficients, term.factor)

    def filled(self, term: Term) -> Any:
        """Return the coefficients in the shape of the term."""
        given = term.coefficients
        return given if given.shape == term.shape else self.once(broadcast_to, given, term.shape)

    def times(self, term: Term, partial: Any, selects: bool = False) -> Term:
        """Return a term times a number or an Array; a zero coefficient stays zero.

        If the Array `selects`, what it does not select becomes zero, also where it is nan.
        """
        if isinstance(partial, Array):
            if term.coefficients is None:
                return term._replace(coefficients=partial)
            n = len(self.made)
            factors = (partial, term.coefficients) if selects else (term.coefficients, partial)
            found = self.once(scale, *factors)
            self.count(term.columns.size if len(self.made) > n else 0)
            return term._replace(coefficients=found)
        factor = term.factor * float(partial)
        if term.coefficients is None or SMALL < abs(factor) < 1 / SMALL:
            return term._replace(factor=factor)
        return term._replace(coefficients=self.multiplied(term), factor=float(partial))

    def joined(self, terms: list[Term], size: int) -> list[Term]:
        """Return one term with the entries of all, if they are short or have many places in common."""
        rows = np.concatenate([_rows_of(term).reshape(-1) for term in terms])
        columns = np.concatenate([term.columns.reshape(-1) for term in terms])
        pattern = _rows.from_pairs(rows, columns, size, int(columns.max(initial=0)) + 1)
        nnz = len(pattern[1])
        if len(rows) < WORTH_JOINING * nnz and len(rows) > SHORT * len(terms):
            return terms
        coefficients = joined_coefficients(terms)
        if nnz < len(rows):
            coefficients = put_zeros(coefficients, _rows.positions(*pattern, rows, columns), (nnz,))
            rows = np.repeat(np.arange(len(pattern[0]) - 1, dtype=np.int32), np.diff(pattern[0]))
            columns = pattern[1]
        self.count(len(coefficients) + nnz)
        return [Term(self.interned(rows), self.interned(columns), coefficients)]

    def count(self, entries: int) -> None:
        self.budget -= entries
        if self.budget < 0:
            raise TooCostly


class _Pushed:
    """One instruction, of which terms are pushed from inputs to outputs."""

    def __init__(self, pusher: _Pusher, instruction: Instruction, ys: Sequence[Any]) -> None:
        self.pusher, self.instruction, self.ys = pusher, instruction, ys
        self.op, self.params = instruction.op, instruction.params
        self.xs = [as_operand(pusher.values[slot]) for slot in instruction.inputs]
        self.avals = [pusher.graph.avals[slot] for slot in instruction.inputs]

    def terms(self, k: int, i: int, link: Link) -> Any:
        """Return what input i adds to the terms of output k."""
        slot, y = self.instruction.inputs[i], self.pusher.graph.avals[self.instruction.outputs[k]]
        pusher = self.pusher
        if isinstance(link, Elementwise):
            partial = self.partial(i)
            if link.source is None and type(partial) is not Array and partial == 1:
                return pusher.terms[slot]  # of a sum of two values: their terms are joined later
            is_number = not isinstance(partial, Array) or not partial.ndim
            terms = pusher.terms_of(slot) if is_number else pusher.joined_terms(slot)
            return [self.scaled(self.spread(term, link, i, y), partial, y) for term in terms]
        if isinstance(link, Gather):
            return [self.moved(term, link.source, i, y) for term in pusher.terms_of(slot)]
        if isinstance(link, Scatter):
            return [self.summed(term, link.target) for term in pusher.terms_of(slot)]
        if isinstance(link, Mixed):
            if link.lanes > MOST_LANES:
                raise TooCostly
            link = link.pairs()
        weights = self.factors(link, i) if isinstance(link, Factors) else self.own_derivatives(k, i, link)
        return [self.weighted(term, link, weights, self.avals[i]) for term in pusher.joined_terms(slot)]

    # -- elementwise

    def partial(self, i: int) -> Any:
        """Return the partial derivative by input i: a number, or an Array that can be broadcast to the output."""
        if self.op.form == "elementwise":
            partial = self.op.partials[i]
            found = partial if not callable(partial) else partial(*self.xs, self.ys[0])
        else:
            (found,) = self.pushed(i, np.ones(self.avals[i].shape, self.avals[i].dtype))
        value = value_or_tracer(found)
        if isinstance(value, np.ndarray) and value.size and (value == value.flat[0]).all():
            return float(value.flat[0])
        return found

    def scaled(self, term: Term, partial: Any, y: Aval) -> Term:
        """Return a term with its coefficients times the partial derivative."""
        pusher = self.pusher
        if isinstance(partial, Array) and partial.ndim and term.rows is not None:
            whole = partial if partial.shape == y.shape else pusher.once(broadcast_to, partial, y.shape)
            partial = pusher.once(_picked, whole, term.rows)
        return pusher.times(term, partial, selects=self.op.form != "elementwise")

    # -- elements that move and that are summed

    def spread(self, term: Term, link: Elementwise, i: int, y: Aval) -> Term:
        """Return a term with the entries of a broadcast input in the rows of the output."""
        if link.source is None:
            return term
        if term.rows is None and not _has_holes(link.source):  # the coefficients broadcast as the input does
            return self.gathered(term, link.source, y)
        return self.taken(term, link.source, i)

    def moved(self, term: Term, source: Indices, i: int, y: Aval) -> Term:
        """Return a term for outputs that are elements of the input."""
        if term.rows is None and not _has_holes(source):
            if term.coefficients is None:
                return self.gathered(term, source, y)
            if len(self.xs) == 1:
                found = self.pusher.once(self.applied, self.pusher.filled(term))
                return self.gathered(term._replace(coefficients=found), source, y)
        return self.taken(term, source, i)

    def gathered(self, term: Term, source: Indices, y: Aval) -> Term:
        """Return a term with an entry for each output; its coefficients are those given."""
        self.pusher.count(source.size)
        return term._replace(columns=self.pusher.interned(term.columns.reshape(-1)[source].reshape(y.shape)))

    def taken(self, term: Term, source: Indices, i: int) -> Term:
        """Return a term with the entries that the rows `source` have, in the rows of the outputs."""
        if term.rows is not None:
            target = self.pusher.once(inverse_of, source, (self.avals[i].size,))
            if target is not None:
                return self.summed(term, target)
        entries, places = self.entries(term, source, self.avals[i].size)
        return self.selected(term, entries, places)

    def applied(self, coefficients: Any) -> Any:
        return apply(self.op, (coefficients,), self.params)

    def entries(self, term: Term, source: Indices, size: int) -> tuple[Indices, Indices]:
        """Return the entries of a term in these rows, and for each the place of its row in `source`."""
        if term.rows is None:
            places = np.flatnonzero(source >= 0).astype(np.int32)
            return source[places], places
        order = np.argsort(term.rows.reshape(-1), kind="stable").astype(np.int32)
        lengths = np.bincount(term.rows.reshape(-1), minlength=size)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        found, places = _rows.expand(indptr, source)
        return order[found], places

    def selected(self, term: Term, entries: Indices, places: Indices) -> Term:
        """Return a term of these entries, in these rows."""
        self.pusher.count(entries.size)
        interned = self.pusher.interned
        if entries.size == term.columns.size and np.array_equal(entries, np.arange(entries.size)):
            return term._replace(rows=interned(places.reshape(term.shape)))
        shape, coefficients = folded_shape(entries), term.coefficients
        if coefficients is not None:
            coefficients = self.pusher.once(_picked, self.pusher.filled(term), interned(entries.reshape(shape)))
        columns = interned(term.columns.reshape(-1)[entries].reshape(shape))
        return Term(interned(places.reshape(shape)), columns, coefficients, term.factor)

    def summed(self, term: Term, target: Indices) -> Term:
        """Return a term for outputs to which the elements of the input are added."""
        interned = self.pusher.interned
        rows = target.reshape(term.shape) if term.rows is None else target[term.rows]
        if not rows.size or rows.min() >= 0:
            return term._replace(rows=interned(rows))
        kept = np.flatnonzero(rows.reshape(-1) >= 0).astype(np.int32)
        return self.selected(term, kept, rows.reshape(-1)[kept])

    # -- ops that mix elements

    def own_derivatives(self, k: int, i: int, link: Pairs) -> Any:
        """Return the derivative of output k by input i for each pair of the link between them."""
        x, size = self.avals[i], self.ys[k].size
        blocks = blocks_of(x, link.axes)
        lanes = blocks.shape[-1]
        if lanes > MOST_LANES:
            raise TooCostly
        core = np.empty(x.size, np.int32)
        core[blocks] = np.arange(lanes)
        seeds = np.arange(lanes).reshape(-1, *(1,) * len(x.shape)) == core.reshape(x.shape)
        self.pusher.count(lanes * size)
        dots = self.pushed(i, seeds.astype(x.dtype))[k]
        return _picked(dots, core[link.inputs] * np.int32(size) + link.outputs)

    def pushed(self, i: int, tangent: NDArray[Any]) -> Sequence[Any]:
        """Return the tangents of the outputs for a tangent of input i, or for several in lanes."""
        tangents: list[Any] = [None] * len(self.xs)
        tangents[i] = constant(tangent)
        assert self.op.jvp is not None
        has_more = self.op.outputs > 1
        found = self.op.jvp(tuple(tangents), tuple(self.xs), tuple(self.ys) if has_more else self.ys[0], self.params)
        return found if has_more else [found]

    def factors(self, link: Factors, i: int) -> Any:
        """Return the other factor for each pair of the link."""
        slot, signs = self.instruction.inputs[1 - i], link.signs
        if slot in self.pusher.graph.constants:
            value = np.asarray(self.pusher.graph.constants[slot]).reshape(-1)[link.others]
            return constant(value if signs is None else value * signs)
        found = _picked(self.xs[1 - i], link.others)
        return found if signs is None else multiply(found, signs)

    def weighted(self, term: Term, link: Pairs | Factors, weights: Any, x: Aval) -> Term:
        """Return a term for outputs that are sums of elements of the input times weights."""
        entries, places = self.entries(term, link.inputs, x.size)
        found = self.selected(term, entries, places)
        assert found.rows is not None
        if weights.shape != link.inputs.shape:
            weights = self.pusher.once(broadcast_to, weights, link.inputs.shape)
        factor = self.pusher.once(_picked, weights, found.rows)
        rows = self.pusher.interned(link.outputs[found.rows])
        return self.pusher.times(found._replace(rows=rows), factor)


def _flattened(terms: Any) -> Iterable[Term]:
    """Return the terms of nested sums, without recursion: sums of a loop are as deep as the loop is long."""
    found, stack = [], [terms]
    while stack:
        top = stack.pop()
        if isinstance(top, _Sum):
            stack += [top.second, top.first]
        else:
            found += top
    return found


def _rows_of(term: Term) -> Indices:
    return np.arange(term.columns.size, dtype=np.int32).reshape(term.shape) if term.rows is None else term.rows


def joined_coefficients(terms: Sequence[Term]) -> Any:
    """Return the coefficients of several terms, times their factors, in one flat Array."""
    if all(term.columns.size == 1 for term in terms):
        # Programs put numbers into an array natively, and call NumPy to stack them.
        return _total([put_zeros(_number(term), k, (len(terms),)) for k, term in enumerate(terms)])
    return concatenate([ravel(_multiplied(term)) for term in terms])


def _total(parts: Iterable[Any]) -> Any:
    return functools.reduce(add, parts)


def _number(term: Term) -> Array:
    if term.coefficients is None:
        return constant(term.factor)
    found: Array = reshape(term.coefficients, ()) if term.coefficients.ndim else term.coefficients
    return found if term.factor == 1 else multiply(found, term.factor)


def _multiplied(term: Term) -> Array:
    """Return the coefficients times the factor, in the shape of the term."""
    if term.coefficients is None:
        return constant(np.full(term.shape, term.factor))
    found: Array = term.coefficients if term.factor == 1 else multiply(term.coefficients, term.factor)
    return found if found.shape == term.shape else broadcast_to(found, term.shape)


def _has_holes(source: Indices) -> bool:
    return bool(source.size and source.min() < 0)


def _picked(value: Any, places: Indices) -> Any:
    """Return the elements of a value at these places: a view of it that can be broadcast, or a copy."""
    view = view_of(places, value.shape)
    if view is None:
        return getitem(ravel(value), places)
    shortens = any(_shortens(part, n) for part, n in zip(view.slices, value.shape))
    found = getitem(value, view.slices) if shortens else value
    return found if found.shape == view.shape else reshape(found, view.shape)


def _shortens(part: slice, n: int) -> bool:
    return (part.start, part.stop, part.step) not in ((0, n, None), (0, n, 1))
