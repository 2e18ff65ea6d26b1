"""The forms in which an op is written down: one call, in one place, for each.

`elementwise`, `linear`, `bilinear`, `custom` and `composite` each make an entry of `TABLE` and
return the public function. Rules are written in the library's own ops, so that they run on plain
values, on taped values and on duals, and can be differentiated again.

In a rule, a parameter whose name begins with an underscore is not needed by value: the tape drops
it, and the rule is given what is left (`.shape`, `.dtype`, `.ndim`, `.size`; None in a partial).
"""
import builtins
import functools
import importlib.util
import inspect
import math
from typing import NamedTuple

import numpy as np

from ad import _core
from ad._core import Array, apply
from ad.engine.graph import Op
from ad.errors import unsupported_argument
from ad.ops import shape_rules

__all__ = [
    "BROADCASTS", "EXACT", "FUNCTIONS", "LANES", "LATER", "TABLE", "UFUNCS", "Accuracy", "Entry", "Lanes", "Point",
    "bilinear", "case", "composite", "custom", "elementwise", "inexact", "lanes_of", "linear", "point", "spelling",
    "stacked",
]

OUTPUT = 1 << 31
NOT_GIVEN = ("out", "dtype", "signature")  # arguments of NumPy's functions that are as good as left out if None

TABLE = {}  # name -> Entry
UFUNCS = {}  # NumPy ufunc -> public function
FUNCTIONS = {}  # NumPy function -> public function
LANES = {}  # Op -> Lanes
LATER = []  # modules whose entries are made when one is first asked for, and whose names are taken all the same


class Accuracy(NamedTuple):
    """How accurate the first derivatives of an elementwise entry are in float64: bounds that the tests hold.

    Those of most entries are within 8 ulp everywhere. Where more would cost too much, `reason` says what loses digits.
    """

    reason: str = ""
    relative: float = 8.0      # ulps of the derivative f'
    absolute: float = 8.0      # ulps of max(1, |f'|)
    low: float = -math.inf     # bounds of the inputs between which this holds
    high: float = math.inf


EXACT = Accuracy()


def inexact(reason, absolute=8.0, low=-math.inf, high=math.inf):
    """The accuracy of a derivative whose relative error has no bound, for this reason."""
    return Accuracy(reason, math.inf, absolute, low, high)


class Entry:
    """One op: what it is called, what it stands for, where to sample it, what to watch out for.

    `points` are singular points with the derivatives there; `singular` says it of all, these included. `accuracy` is
    that of the first derivatives of an elementwise op.
    """

    def __init__(self, name, function, form, *, numpy=(), op=None, domain=None, cases=(), points=(), singular="",
                 accuracy=EXACT):
        self.name, self.function, self.form, self.op, self.accuracy = name, function, form, op, accuracy
        self.numpy, self.domain, self.cases, self.points, self.singular = numpy, domain, cases, points, singular

    def __repr__(self):
        return f"<table entry {self.name} ({self.form})>"


def case(*inputs, **params):
    """Arguments to test an entry with. A tuple is a shape to sample; anything else is passed as it is."""
    return inputs, params


class Point(NamedTuple):
    """A point at which a rule makes a choice, and the derivatives of each order there."""

    inputs: tuple
    params: dict
    derivatives: tuple

    def __str__(self):
        given = [_text(x) for x in self.inputs]
        at = ", ".join(given + [f"{name}={_text(value)}" for name, value in self.params.items()])
        at = at if len(given) == 1 and not self.params else f"({at})"
        first, *higher = map(_text, self.derivatives)
        ordinals = ("second", "third")
        return ", ".join([f"{first} at {at}", *[f"{ordinal} {value}" for ordinal, value in zip(ordinals, higher)]])


def point(*inputs, first, second=None, third=None, **params):
    """A singular point of an entry: its inputs, numbers or tuples of them, and the derivatives there.

    The second and third are those with respect to all elements of the inputs, one after the other: nested tuples. A
    number stands for all of them. Of an output with several elements they are those of the sum.
    """
    return Point(inputs, params, tuple(x for x in (first, second, third) if x is not None))


def _text(value):
    """A number, or nested tuples of them, as one reads it."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _choices(points, singular):
    """What an entry says of its singular points: of each that it lists, and in words."""
    return "; ".join([*map(str, points), *([singular] if singular else [])])


class Lanes(NamedTuple):
    """How an op runs over lanes, a leading axis of its inputs; each of these says it."""

    broadcasts: bool = False  # as it is: leading axes of its inputs are broadcast
    shifted: object = None    # `shifted(ndim, *params)` gives params for inputs that all have lanes; or None
    batched: object = None    # `batched(values, xs, y, *params)`, from values some of which have an axis more than xs


BROADCASTS = Lanes(broadcasts=True)


def lanes_of(op):
    """How an op runs over lanes; one that nobody told of must be run lane by lane."""
    if op.form == "elementwise" or (shape_rules.is_elementwise(op.fn) and not op.parameters):
        return BROADCASTS
    return LANES.get(op) or Lanes()


def _register(entry, method, function=None):
    """Add an entry to the tables; NumPy's protocol and the methods call `function`, if that is not the entry's own."""
    function = function or entry.function
    if entry.name not in TABLE and LATER and importlib.util.find_spec("scipy"):
        for module in LATER:
            importlib.import_module(module)
    if TABLE.setdefault(entry.name, entry) is not entry:
        raise ValueError(f"ad: the table has an op {entry.name!r} already; give this one another name")
    for callable_ in entry.numpy:
        (UFUNCS if isinstance(callable_, np.ufunc) else FUNCTIONS)[callable_] = function
    if method:
        _core.add_method(entry.name if method is True else method, function)


def _needs(rule, first, inputs):
    """Bits for the values a rule needs; `first` is the position of its first input."""
    if not callable(rule):
        return 0
    code = rule.__code__
    named = min(code.co_argcount - first, inputs + 1)
    bits = 0
    for i, name in enumerate(code.co_varnames[first : first + named]):
        if not name.startswith("_"):
            bits |= OUTPUT if i == inputs else 1 << i
    if code.co_flags & inspect.CO_VARARGS and not code.co_varnames[code.co_argcount].startswith("_"):
        bits |= (OUTPUT - (1 << named)) | OUTPUT  # all that follows
    return bits


def _tuple(x):
    return x if isinstance(x, tuple) else (x,)


def _title(numpy):
    """The first sentence of a NumPy or SciPy function's documentation."""
    paragraphs = [text.strip() for text in (numpy.__doc__ or "").split("\n\n", 2)]
    titles = [text for text in paragraphs if text and not text.startswith(f"{numpy.__name__}(")]
    return " ".join(titles[0].split()) if titles else numpy.__name__


def _documentation(name, own, numpy, singular, accuracy=EXACT):
    """The docstring of a public function: what it computes, whose place it takes, where its derivative is a choice."""
    parts = [own.rstrip() if own else _title(numpy[0]) if numpy else name]
    if numpy and not own:
        module = numpy[0].__module__ if hasattr(numpy[0], "__module__") else "scipy.special"
        parts.append(f"As `{module}.{numpy[0].__name__}`, where the full description is; differentiable in every mode.")
    if singular:
        parts.append(f"Singular points: {singular}.")
    if accuracy.reason:
        parts.append(f"Accuracy of the derivative: {accuracy.reason}.")
    return "\n\n    ".join(parts)  # indented as in the source, which `help` takes away


def _present(public, function, name, numpy, singular):
    """Give a public function the name, signature and documentation that `help` shows."""
    public.__name__ = public.__qualname__ = name
    public.__module__, public.__wrapped__ = function.__module__, function  # inspect.signature follows the latter
    public.__doc__ = _documentation(name, function.__doc__, numpy, singular)


# -- elementwise ----------------------------------------------------------------------------


def elementwise(name, numpy, partials, *, domain, singular="", points=(), method=False, fn=None, shape_rule=None,
                exponent=None, radicand=None, carry=None, dots=(), accuracy=EXACT):
    """An op that works element by element, and broadcasts.

    Parameters
    ----------
    name : str
    numpy : callable or tuple
        The NumPy callables it stands for; the first one computes it.
    partials : callable, number, or a tuple with one for each input
        `partial(*inputs, output)` is the derivative with respect to that input.
    domain : callable
        `domain(rng, shape)` samples an input (a tuple of them: one for each input).
    singular : str
        What happens where the derivative does not exist.
    points : tuple of Point
        Such points, with the derivatives there: for the documentation and the tests.
    method : bool or str
        Whether (under what name) it is a method of Array.
    fn : callable, optional
        Computes it on raw values, where NumPy's callable does not do.
    shape_rule : callable, optional
        What the output looks like (`ad/ops/shape_rules.py`), where that does not follow from a ufunc.
    exponent : number, "operand" or "itself", optional
        Of an op that is a power of its first input (of its modulus, if the exponent is 1 or even). The exponent is the
        second input; or the op is the square of an input that is given twice. See `ad/engine/powers.pyx`.
    radicand : callable, optional
        Of an op that is a root: `radicand(*inputs, *params)` gives a function that computes of what, and the exponent;
        or None. What it computes is not negative, or the root of that is not nan.
    carry : callable, optional
        Of an op that moves or scales: `carry(power, i, p, inputs, params)` is the output to the power p, from input i
        to that power; or None where it cannot tell.
    dots : tuple of int
        The inputs whose partial is itself a (co)tangent: where it is zero, the product with it is.
    accuracy : Accuracy
        Of the partials; by default within 8 ulp.
    """
    partials, numpy = _tuple(partials), () if numpy is None else _tuple(numpy)
    needs = [_needs(partial, 0, len(partials)) for partial in partials]
    singular = _choices(points, singular)
    op = Op(name, "elementwise", fn or numpy[0], partials=partials, needs=needs, dots=dots)
    op.shape_rule = shape_rule or (shape_rules.elementwise_shape(op.fn) if shape_rules.is_elementwise(op.fn) else None)
    op.set_power(exponent, radicand, carry)
    inputs = "x" if len(partials) == 1 else "x1, x2"
    signature = f"{name}({inputs}, /, **kwargs)\n--\n\n"  # as CPython wants it of a built-in function
    function = _core.elementwise_function(op, signature + _documentation(name, None, numpy, singular, accuracy))
    entry = Entry(name, function, "elementwise", numpy=numpy, op=op, domain=domain, points=points,
                  singular=singular, accuracy=accuracy)
    _register(entry, False)
    if method:
        _core.add_method(name if method is True else method, lambda x, *rest: apply(op, (x, *rest)))
    return function


# -- forms with static parameters ----------------------------------------------------------------


class ArgumentBinder:
    """Binds a NumPy-like call to the inputs and the static parameters of an op."""

    def __init__(self, function, inputs):
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
        defaults = function.__defaults__ or ()
        self.name, self.inputs = function.__name__, inputs
        self.input_names, self.parameters = names[:inputs], names[inputs:]
        self.required = len(names) - len(defaults)
        self.defaults = dict(zip(names[self.required :], defaults))
        self.default_params = defaults if self.required <= inputs else None

    def bind(self, args, kwargs):
        names = self.input_names + self.parameters
        if len(args) > len(names):
            raise TypeError(f"ad.{self.name} takes at most {len(names)} arguments, not {len(args)}")
        bound = dict(zip(names, args))
        for name, value in kwargs.items():
            if name in bound:
                raise TypeError(f"ad.{self.name} got argument {name!r} twice")
            if name in names:
                bound[name] = value
            elif value is not np._NoValue and not (value is None and name in NOT_GIVEN):
                raise unsupported_argument(self.name, name, value, f"It takes {', '.join(names)}.")
        for name in names:
            if name not in bound:
                if name not in self.defaults:
                    raise TypeError(f"ad.{self.name} misses its argument {name!r}")
                bound[name] = self.defaults[name]
        return tuple(bound[n] for n in self.input_names), tuple([self._static(n, bound[n]) for n in self.parameters])

    def _static(self, name, value):
        """A static parameter has no derivative: values of ours in it become ndarrays, if nothing flows through them."""
        if type(value) is tuple:
            return tuple([self._static(name, part) for part in value])
        if _core.is_differentiated(value):
            raise unsupported_argument(self.name, name, value, "Nothing flows through it; cut it off with x.numpy().")
        return _core.concrete(value)


def _front(op, signature, raw, numpy):
    """The public function of an op: plain in, plain out; else `apply`."""
    inputs, default_params = signature.inputs, signature.default_params

    def public(*args, **kwargs):
        try:
            if len(args) == inputs and not kwargs and default_params is not None:
                values, params = args, default_params
            else:
                values, params = signature.bind(args, kwargs)
            for value in values:
                if isinstance(value, Array):
                    return apply(op, values, params)
            if _has_array(values):
                return apply(op, values, params)
            return raw(*values, *params)
        except Exception as refusal:
            return _by_numpy(numpy, args, kwargs, refusal)

    return public


def _by_numpy(numpy, args, kwargs, refusal):
    """What NumPy's function makes of a call that raised, if nothing in it is being differentiated."""
    from ad.ops.nondifferentiable import by_numpy  # which is made with what is here

    if not numpy:
        raise refusal
    return by_numpy(numpy[0], args, kwargs, refusal)


def _variadic_front(op, signature, raw, numpy):
    def public(arrays, *args, **kwargs):
        values = tuple(arrays)
        params = signature.bind((arrays, *args), kwargs)[1]
        if any(isinstance(value, Array) for value in values):
            return apply(op, values, params)
        return raw(values, *params)

    return public


def _define(function, form, numpy, *, inputs, jvp, vjp, needs, domain, cases, singular, method, lanes, points=(),
            outputs=1, fold=None, shape_rule=None, radicand=None, carry=None):
    """The op, public function and entry for a form with static parameters."""
    singular = _choices(points, singular)
    name = function.__name__.rstrip("_").lstrip("_")
    variadic = inputs is None
    signature = ArgumentBinder(function, 1 if variadic else inputs)
    fn = (lambda *args: function(args[: len(args) - n], *args[len(args) - n :])) if variadic else function
    n = len(signature.parameters)
    op = Op(name, form, fn, jvp=jvp, vjp=vjp, needs=needs, parameters=signature.parameters, outputs=outputs, fold=fold)
    op.shape_rule = shape_rule
    op.set_power(None, radicand, carry)
    LANES[op] = lanes
    public = (_variadic_front if variadic else _front)(op, signature, function, numpy)
    _present(public, function, name, numpy, singular)
    public.op = op
    entry = Entry(name, public, form, numpy=numpy, op=op, domain=domain, cases=cases, points=points, singular=singular)
    _register(entry, method)
    return public


def spelling(name, *numpy, cases=(), method=False):
    """Decorates a public function that runs an op, but is spelt as NumPy spells it.

    It takes the place of the op's own function in the entry `name`; `cases` are in its spelling. It
    is for signatures that differ from the op's, and for calls too hot to be bound by `ArgumentBinder`.
    """

    def define(function):
        entry = TABLE[name]
        entry.function, entry.numpy = _guarded(function, numpy[0]) if numpy else function, numpy
        entry.cases = cases or entry.cases
        entry.function.op = function.op = entry.op
        entry.function.__doc__ = function.__doc__ = _documentation(name, function.__doc__, numpy, entry.singular)
        _register(entry, method, function)
        return function

    return define


def _guarded(function, numpy):
    """The function for people: where it raises, NumPy's own error comes out."""

    def public(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as refusal:
            return _by_numpy((numpy,), args, kwargs, refusal)

    functools.update_wrapper(public, function)
    public.__module__ = "ad"  # where it has this name, and the function itself has not
    return public


def linear(*numpy, transpose, inputs=1, lanes=None, batched=None, domain=None, cases=(), singular="", method=False,
           fold=None, shape_rule=None, moves=False, carry=None):
    """An op that is linear in its inputs: the transpose is all its rule.

    Decorates the function that computes it on raw values: its first `inputs` parameters are the
    inputs (None: the first parameter is a sequence of them), the rest are static.

    Parameters
    ----------
    *numpy : callables
        The NumPy functions it stands for.
    transpose : callable, or a tuple with one for each input
        `transpose(y_bar, *inputs, *params)` is the input's cotangent; the inputs are given by
        shape and dtype only. With `inputs=None`: `transpose(y_bar, i, inputs, *params)`.
    lanes : callable, optional
        `lanes(ndim, *params)` gives params with which the op works behind a leading lane axis.
    batched : callable, optional
        Where other params do not do: `batched(x_dots, xs, y, *params)` is the output's tangent
        from those of the inputs, all of which have a leading lane axis.
    fold : (ufunc, neutral element), optional
        For a reduction over `(axis, keepdims)`.
    shape_rule : callable, optional
        `shape_rule(*inputs, *params)` tells what the output looks like (`ad/ops/shape_rules.py`).
    moves : bool
        Whether all it does is to move elements of its one input.
    carry : callable, optional
        As for `elementwise`, of an op that moves elements of several inputs.
    """

    def define(function):
        transposes = _tuple(transpose)

        def vjp(i, y_bar, xs, y, params):
            if inputs is None:
                return transpose(y_bar, i, xs, *params)
            return transposes[i](y_bar, *xs, *params)

        def jvp(x_dots, xs, y, params):
            if len(xs) == 1:  # the commonest, once for every op of a forward sweep
                (x_dot,), (x,) = x_dots, xs
                if x_dot.ndim == x.ndim:
                    return apply(public.op, x_dots, params)
                if batched is not None:
                    return batched(x_dots, xs, y, *params)
                shifted = lanes(x.ndim, *params) if lanes else None
                if shifted is not None:
                    return apply(public.op, x_dots, shifted)
            dots = tuple(zeros_like_input(x) if x_dot is None else x_dot for x_dot, x in zip(x_dots, xs))
            if batched is not None:
                k = lane_count(dots, xs)
                if k is not None:
                    whole = tuple(d if d.ndim > x.ndim else with_lanes(d, k) for d, x in zip(dots, xs))
                    return batched(whole, xs, y, *params)
            return over_lanes(lambda *d: apply(public.op, d, params), dots, xs, y, lanes and (public.op, lanes, params))

        public = _define(
            function, "linear", numpy, inputs=inputs, jvp=jvp, vjp=vjp, needs=(0,), domain=domain, cases=cases,
            singular=singular, method=method, lanes=Lanes(shifted=lanes, batched=batched), fold=fold,
            shape_rule=shape_rule,
            carry=(lambda power, i, p, xs, params: apply(public.op, (power,), params)) if moves else carry,
        )
        return public

    return define


def bilinear(*numpy, transposes, batches=False, batched=None, domain=None, cases=(), singular="", method=False):
    """An op of two inputs, linear in each: `transposes[i](y_bar, x1, x2, *params)`.

    `batches` says that the op itself works behind a leading lane axis on either side; it is as for `custom`. `batched`,
    for the case that not all leading axes broadcast then, is that of `Lanes`.
    """

    def define(function):
        needs = [_needs(rule, 1, 2) for rule in transposes]

        def vjp(i, y_bar, xs, y, params):
            return transposes[i](y_bar, *conjugated(xs), *params)

        def jvp(x_dots, xs, y, params):
            return total(
                over_lanes(
                    lambda d, i=i: apply(public.op, (*xs[:i], d, *xs[i + 1 :]), params),
                    (_beside(x_dots[i], i, xs, params, batches),), (xs[i],), y, bool(batches),
                )
                for i in (0, 1) if x_dots[i] is not None
            )

        public = _define(
            function, "bilinear", numpy, inputs=2, jvp=jvp, vjp=vjp, needs=needs, domain=domain, cases=cases,
            singular=singular, method=method, lanes=Lanes(bool(batches) and batched is None, None, batched),
        )
        return public

    return define


def custom(*numpy, jvp, vjp, inputs=1, outputs=1, batches=False, lanes=None, domain=None, cases=(), singular="",
           points=(), method=False, fold=None, shape_rule=None, radicand=None, carry=None):
    """An op that no simpler form holds: both rules are given, one of each for every input.

    `jvp(x_dot, *inputs, y, *params)` is what an input's tangent adds to the output's;
    `vjp(y_bar, *inputs, y, *params)` is the input's cotangent. With several outputs, `y`,
    `y_bar` and what `jvp` returns are tuples. `batches` says that `jvp` also works when `x_dot`
    has a leading lane axis: True; or, where leading axes of several inputs broadcast, how many
    axes each of them has that do not, as a number, a tuple or a function of the params. `lanes` tells
    how the op itself runs over lanes (else one by one). `fold` and `shape_rule` are as for `linear`, `points`,
    `radicand` and `carry` as for `elementwise`.
    """

    def define(function):
        jvps, vjps = _tuple(jvp), _tuple(vjp)
        count = 1 if inputs is None else inputs
        needs = [_needs(a, 1, count) | _needs(b, 1, count) for a, b in zip(jvps, vjps)]
        if outputs > 1:
            needs = [bits | OUTPUT for bits in needs]

        def pull(i, y_bar, xs, y, params):
            return vjps[i](y_bar, *xs, y, *params)

        def push(x_dots, xs, y, params):
            return total(
                over_lanes(lambda d, i=i: jvps[i](d, *xs, y, *params), (_beside(x_dots[i], i, xs, params, batches),),
                           (xs[i],), y, bool(batches))
                for i in builtins.range(len(xs)) if x_dots[i] is not None
            )

        public = _define(
            function, "custom", numpy, inputs=inputs, jvp=push, vjp=pull, needs=needs, domain=domain, cases=cases,
            singular=singular, method=method, lanes=lanes or Lanes(), points=points, outputs=outputs, fold=fold,
            shape_rule=shape_rule, radicand=radicand, carry=carry,
        )
        return public

    return define


def composite(*numpy, domain=None, cases=(), singular="", points=(), method=False, sequence=False):
    """A function written in other ops; its derivatives are theirs. Decorates that function.

    It gets lists that hold values of ours as arrays, unless it takes a `sequence` of arrays. What it has no rule for
    (it raises MissingRule) is evaluated by NumPy where nothing is being differentiated.
    """
    singular = _choices(points, singular)

    def define(function):
        plain = numpy[0] if numpy else None
        code = function.__code__
        named = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
        open_ended = code.co_flags & inspect.CO_VARKEYWORDS

        def public(*args, **kwargs):
            if plain is None:
                return function(*args, **kwargs)
            if not _has_array(args) and not _has_array(kwargs.values()):
                return plain(*args, **kwargs)
            given = {k: v for k, v in kwargs.items() if v is not np._NoValue}
            try:
                for option in given:
                    if option not in named and not open_ended:
                        raise unsupported_argument(name, option, given[option])
                if sequence:
                    return function(*args, **given)
                return function(*[_operand(i == 0, value) for i, value in enumerate(args)],
                                **{key: _operand(key == named[0], value) for key, value in given.items()})
            except Exception as refusal:
                return _by_numpy(numpy, args, kwargs, refusal)

        name = function.__name__.rstrip("_")
        _present(public, function, name, numpy, singular)
        entry = Entry(name, public, "composite", numpy=numpy, domain=domain, cases=cases, points=points,
                      singular=singular)
        _register(entry, method)
        return public

    return define


def _operand(is_main, value):
    """An argument of a composite function: an array, if it is a list that holds values of ours or is the main one."""
    if not isinstance(value, (list, tuple)):
        return value
    return stacked(value) if _has_array(value) else np.asarray(value) if is_main else value


def stacked(value):
    """The stack of a list that holds values of ours; anything else as it is."""
    if isinstance(value, (list, tuple)) and _has_array(value):
        return TABLE["stack"].function([stacked(part) for part in value])
    return value


def _has_array(values):
    for value in values:
        if isinstance(value, Array):
            return True
        if isinstance(value, (list, tuple)) and _has_array(value):
            return True
    return False


# -- lanes: a leading axis of a tangent, one entry for each direction seeded --------------------------


def over_lanes(rule, dots, xs, y, lanes):
    """`rule(*dots)`, for every lane if the tangents have lanes.

    `lanes` is True if the rule does it by itself, a triple (op, shift, params) if the op does
    with shifted params, and false where the lanes must be gone through one by one.
    """
    has_lanes = [dot.ndim > x.ndim for dot, x in zip(dots, xs)]
    if not any(has_lanes) or lanes is True:
        return rule(*dots)
    k = next(dot.shape[0] for dot, has in zip(dots, has_lanes) if has)
    if lanes:
        op, shift, params = lanes
        shifted = shift(xs[0].ndim, *params)
        if shifted is not None:
            whole = [dot if has else with_lanes(dot, k) for dot, has in zip(dots, has_lanes)]
            return apply(op, tuple(whole), shifted)
    rows = [rule(*[dot[lane] if has else dot for dot, has in zip(dots, has_lanes)]) for lane in builtins.range(k)]
    stack = TABLE["stack"].function
    if isinstance(rows[0], tuple):
        return tuple(stack(parts) for parts in zip(*rows))
    return stack(rows)


def _beside(x_dot, i, xs, params, batches):
    """The tangent of input i with the axes that broadcasting will add to the input behind the lane axis.

    Operands differ in their leading axes where one is a tangent that has the lanes of an inner differentiation.
    """
    if type(batches) is bool or x_dot.ndim == xs[i].ndim:
        return x_dot
    cores = batches(*params) if callable(batches) else (batches,) * len(xs) if type(batches) is int else batches
    leading = [x.ndim - core for x, core in zip(xs, cores)]
    missing = builtins.max(leading) - leading[i]
    return TABLE["reshape"].function(x_dot, (x_dot.shape[0], *(1,) * missing, *xs[i].shape)) if missing else x_dot


def lane_count(dots, xs):
    """How many lanes the tangents have; None if they have none."""
    for dot, x in zip(dots, xs):
        if dot.ndim > x.ndim:
            return dot.shape[0]
    return None


def with_lanes(dot, k):
    return TABLE["broadcast_to"].function(dot, (k, *dot.shape))


def total(terms):
    """The sum of what each input's tangent adds; of each part for several outputs."""
    result = None
    for term in terms:
        if result is None:
            result = term
        elif isinstance(term, tuple):
            result = tuple(a + b for a, b in zip(result, term))
        else:
            result = result + term
    return result


def zeros_like_input(x):
    return _core.constant(np.zeros(x.shape, x.dtype))


def conjugated(xs):
    """Inputs as the cotangent rule of a complex bilinear op wants them."""
    return tuple(TABLE["conjugate"].function(x) if isinstance(x, Array) and x.dtype.kind == "c" else x for x in xs)
