"""Tables of rules for `rewriting`, by the op of the instruction that a rule replaces, or by its form.

A rule is `rule(r, y, *inputs, *params)`, with the `Rewriting` r, the `Aval` y of the instruction's output and the
slots of its inputs. It returns the slot that holds the result (an old one, or one that `r.emit` made), or None
if it does not apply. A rule for numbers gets the value of a constant real scalar in the place of its slot.
"""
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

from ad.engine.graph import Op
from ad.ops.table import ops_named

__all__ = ["ANY", "FLOATING", "REAL", "Rule", "RuleTable", "Rules"]

# What a rule asks of the dtypes: the characters of those that inputs and output may share, or nothing.
REAL, FLOATING, ANY = "fd", "fdFD", None

Rule: TypeAlias = Callable[..., int | None]
_Rule = TypeVar("_Rule", bound=Rule)
_Listed: TypeAlias = list[tuple[Rule, str | None]]


class Rules:
    """The rules for one op, or one form of ops, by what its inputs are; each a pair (rule, dtypes)."""

    __slots__ = ("general", "left", "right")

    def __init__(self) -> None:
        self.right: _Listed = []    # for (x, number)
        self.left: _Listed = []     # for (number, x)
        self.general: _Listed = []  # for any inputs


class RuleTable:
    """Rules by op and by form, in the order in which they are tried."""

    __slots__ = ("by_form", "by_op")

    def __init__(self, *tables: "RuleTable") -> None:
        self.by_op: dict[Op, Rules] = {}
        self.by_form: dict[str, Rules] = {}
        for table in tables:
            for op, rules in table.by_op.items():
                self._add(self.by_op.setdefault(op, Rules()), rules)
            for form, rules in table.by_form.items():
                self._add(self.by_form.setdefault(form, Rules()), rules)

    @staticmethod
    def _add(rules: Rules, more: Rules) -> None:
        for inputs in Rules.__slots__:
            getattr(rules, inputs).extend(getattr(more, inputs))

    def rule(self, names: str, inputs: str = "general", dtypes: str | None = REAL) -> Callable[[_Rule], _Rule]:
        """Decorate a rule for the ops of these names.

        `inputs` is "right" for a rule for (x, number), "left" for (number, x), "general" for one that gets slots only.
        """

        def define(function: _Rule) -> _Rule:
            for op in ops_named(names):
                getattr(self.by_op.setdefault(op, Rules()), inputs).append((function, dtypes))
            return function

        return define

    def rule_of_form(self, form: str, dtypes: str | None = ANY) -> Callable[[_Rule], _Rule]:
        """Decorate a rule `rule(r, y, op, params, inputs)` for the ops of a form on arrays."""

        def define(function: _Rule) -> _Rule:
            self.by_form.setdefault(form, Rules()).general.append((function, dtypes))
            return function

        return define

    def right_of(self, op: Op) -> Iterator[Rule]:
        """Iterate over the rules for an op on (x, number)."""
        return iter([rule for rule, _ in self.by_op[op].right])
