"""Ops of a user's own: the forms of the table, around any plain function.

Each form is a decorator, and a function of a function. It makes an op of a function that is called by its values, and
rules as the table has them of those that the user gives.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from ad.engine.graph import Op
from ad.errors import name_of, not_a_function
from ad.ops import shape_rules
from ad.ops.forms import OUTPUT, Made, bilinear_rules, composite_function, linear_rules
from ad.ops.opaque import ElementByElement, Opaque, Parameters, checked_shape_rule
from ad.ops.own_op import OwnOp, home_of_caller, stand_for
from ad.ops.own_rules import (
    Results,
    elementwise_rules,
    needs_of,
    needs_of_input,
    pull_of_push,
    pull_of_vjp,
    push_of_jvp,
    push_of_pull,
    slopes_of,
    transposes_of,
)
from ad.ops.own_structure import own_structure, same_places
from ad.ops.traits import BROADCASTS, ONE_BY_ONE, SAME_PARAMS, Batching, Traits

__all__ = ["bilinear", "composite", "custom", "elementwise", "linear"]

_Y = TypeVar("_Y")
_F = TypeVar("_F", bound=Callable[..., Any])
_Function = Callable[..., Any]
_LANES = Batching(params=SAME_PARAMS.params)  # the rules take tangents of one direction at a time


@overload
def elementwise(
    function: None = None, /, *, partials: Any, vectorize: bool = False, inputs: int | None = None,
    name: str | None = None, stands_for: Any = ()
) -> Callable[[Callable[..., _Y]], OwnOp[_Y]]: ...
@overload
def elementwise(
    function: Callable[..., _Y], /, *, partials: Any, vectorize: bool = False, inputs: int | None = None,
    name: str | None = None, stands_for: Any = ()
) -> OwnOp[_Y]: ...
def elementwise(
    function: Any = None, /, *, partials: Any, vectorize: bool = False, inputs: int | None = None,
    name: str | None = None, stands_for: Any = ()
) -> Any:
    """Make an op of a function that works element by element.

    Parameters
    ----------
    function : callable, optional
        `function(*inputs, **params)` takes plain arrays and numbers, which broadcast against each other, and returns an
        array of that shape. It is called again in each replay of a compiled function. Without it, as in
        `@ad.ops.elementwise(partials=...)`, a decorator is returned.
    partials : callable, number, or tuple
        `partial(*inputs, y, **params)`, in operations that `ad` differentiates, is the derivative of the output `y`
        with respect to an input. Of several inputs a tuple, with a partial for each.
    vectorize : bool
        Whether the function takes numbers only, as functions of C do: it is then called for each element.
    inputs : int, optional
        How many of the first parameters are inputs. By default those that have no default; the others are static: they
        are passed on as they are, and have no derivative.
    name : str, optional
        The op's name in messages and programs; by default that of the function.
    stands_for : ufunc, or sequence of them
        Ufuncs, also of other libraries, whose calls on values of `ad` come here.

    Returns
    -------
    callable
        The function on values of any kind. Plain arrays give plain arrays.

    Raises
    ------
    TypeError, ValueError
        If the rules do not fit the function; and in a call, if the function or a rule returns something of another
        shape than it should, or no number.

    Examples
    --------
    >>> import math
    >>> erf = ad.ops.elementwise(math.erf, partials=lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x**2), vectorize=True)
    >>> ad.grad(lambda x: np.sum(erf(x)))(np.array([0.0, 1.0])).round(6)
    array([1.128379, 0.415107])
    """

    def define(function: Any) -> OwnOp[Any]:
        home = home_of_caller()
        rules = partials if isinstance(partials, tuple) else (partials,)
        parameters = _parameters("elementwise", function, inputs, name, len(rules))
        fn = function
        if vectorize or not _is_of_floats(function):
            fn = Opaque(ElementByElement(function) if vectorize else function, parameters, broadcasts=True)
        op = _elementwise_op(fn, parameters, rules)
        traits = Traits(BROADCASTS if op.form == "elementwise" else Batching(broadcasts=True, tangents=0),
                        may_raise=fn is not function, structure=None if op.form == "elementwise" else same_places)
        return _finished(OwnOp(function, op, parameters, home, traits), stands_for)

    return define if function is None else define(function)


def _is_of_floats(function: Any) -> bool:
    """Return whether a function is a ufunc with a loop of its own on float64."""
    return shape_rules.is_elementwise(function) and "d" * function.nin + "->d" in function.types


def _elementwise_op(fn: Any, parameters: Parameters, rules: tuple[Any, ...]) -> Op:
    slopes = slopes_of(rules, parameters)
    needs = [needs_of(rule, 0, parameters.inputs) for rule in rules]
    if parameters.static:
        push, pull = elementwise_rules(slopes)
        return Op(parameters.name, "custom", fn, jvp=push, vjp=pull, needs=needs, parameters=parameters.static)
    op = Op(parameters.name, "elementwise", fn, partials=slopes, needs=needs)
    op.shape_rule = shape_rules.elementwise_shape(fn) if _is_of_floats(fn) else None
    return op


@overload
def linear(
    function: None = None, /, *, transpose: Any, inputs: int | None = None, shape_rule: _Function | None = None,
    lanes: bool = False, structure: Any = None, name: str | None = None, stands_for: Any = ()
) -> Callable[[Callable[..., _Y]], OwnOp[_Y]]: ...
@overload
def linear(
    function: Callable[..., _Y], /, *, transpose: Any, inputs: int | None = None, shape_rule: _Function | None = None,
    lanes: bool = False, structure: Any = None, name: str | None = None, stands_for: Any = ()
) -> OwnOp[_Y]: ...
def linear(
    function: Any = None, /, *, transpose: Any, inputs: int | None = None, shape_rule: _Function | None = None,
    lanes: bool = False, structure: Any = None, name: str | None = None, stands_for: Any = ()
) -> Any:
    """Make an op of a function that is linear in its inputs, taken together.

    Parameters
    ----------
    function : callable, optional
        `function(*inputs, **params)` takes plain arrays and numbers, and returns an array. It is called again in each
        replay of a compiled function, and in forward mode on the tangents. Without it, a decorator is returned.
    transpose : callable or tuple
        `transpose(y_bar, *inputs, **params)`, in operations that `ad` differentiates, is the cotangent of the input; of
        the inputs only `shape`, `dtype`, `ndim` and `size` are known. With several inputs it returns the cotangents of
        all in a tuple, with None for zeros; or there is a tuple of functions, one for each input.
    inputs : int, optional
        As for `ad.ops.elementwise`.
    shape_rule : callable, optional
        `shape_rule(*inputs, **params)` returns shape and dtype of the output, from those of the inputs. With it, a
        recording leaves the call on large arrays to the first replay. By default the function itself tells.
    lanes : bool
        Whether the function, the transpose and the shape rule take inputs that all have one more axis in front, the
        lanes of `ad.vmap`, and return results with it. By default they are called for one lane after the other.
    structure : "elementwise", int, tuple of int, or callable, optional
        Which elements of the output depend on which elements of an input, for `ad.sparse`. "elementwise": on those at
        the same place, with broadcasting. An axis, or a tuple of axes: on all elements along these axes; the other axes
        of input and output correspond. A function `structure(*inputs, y, **params)`, which is given what has the
        `shape`, `dtype`, `ndim` and `size` of inputs and output, returns a matrix of shape `(y.size, x.size)`, dense or
        of `scipy.sparse`, whose entries differ from zero where there may be a dependence; with several inputs, a tuple
        of them, with None for an input of which all may depend on all. That is the default. The structure is trusted:
        derivatives that it lacks are lost in sparse ones.
    name, stands_for
        As for `ad.ops.elementwise`.

    Returns
    -------
    callable
        The function on values of any kind. Plain arrays give plain arrays.

    Raises
    ------
    TypeError, ValueError
        As for `ad.ops.elementwise`.

    Examples
    --------
    >>> reverse = ad.ops.linear(lambda x: x[::-1], transpose=lambda y_bar, x: y_bar[::-1], name="reverse")
    >>> ad.grad(lambda x: reverse(x)[0] * x[0])(np.array([2.0, 3.0]))
    array([3., 2.])
    """

    def define(function: Any) -> OwnOp[Any]:
        home, made = home_of_caller(), Made()
        parameters = _parameters("linear", function, inputs, name, _count(transpose))
        pulls = transposes_of(transpose, parameters, Results(parameters.name, 1, "transpose"))
        batching = SAME_PARAMS if lanes else ONE_BY_ONE
        jvp, vjp = linear_rules(made, pulls, parameters.inputs, batching)
        made.op = _op("linear", function, parameters, shape_rule, jvp=jvp, vjp=vjp, needs=(0,))
        traits = Traits(batching, may_raise=True, structure=own_structure(structure, parameters, 1))
        return _finished(OwnOp(function, made.op, parameters, home, traits), stands_for)

    return define if function is None else define(function)


@overload
def bilinear(
    function: None = None, /, *, transposes: tuple[_Function, _Function], shape_rule: _Function | None = None,
    lanes: bool = False, structure: Any = None, name: str | None = None, stands_for: Any = ()
) -> Callable[[Callable[..., _Y]], OwnOp[_Y]]: ...
@overload
def bilinear(
    function: Callable[..., _Y], /, *, transposes: tuple[_Function, _Function], shape_rule: _Function | None = None,
    lanes: bool = False, structure: Any = None, name: str | None = None, stands_for: Any = ()
) -> OwnOp[_Y]: ...
def bilinear(
    function: Any = None, /, *, transposes: tuple[_Function, _Function], shape_rule: _Function | None = None,
    lanes: bool = False, structure: Any = None, name: str | None = None, stands_for: Any = ()
) -> Any:
    """Make an op of a function of two inputs that is linear in each: a product.

    Parameters
    ----------
    function : callable, optional
        `function(x1, x2, **params)` takes plain arrays and numbers, and returns an array. It is called again in each
        replay of a compiled function, and in forward mode on a tangent in the place of an input. Without it, a
        decorator is returned.
    transposes : tuple of two callables
        `transposes[i](y_bar, x1, x2, **params)`, in operations that `ad` differentiates, is the cotangent of input i.
        Complex inputs are given conjugated, so that the rule for real numbers is right for complex ones.
    shape_rule, lanes, structure, name, stands_for
        As for `ad.ops.linear`.

    Returns
    -------
    callable
        The function on values of any kind. Plain arrays give plain arrays.

    Raises
    ------
    TypeError, ValueError
        As for `ad.ops.elementwise`.

    Examples
    --------
    >>> dot = ad.ops.bilinear(np.ndarray.dot, name="dot", transposes=(
    ...     lambda y_bar, _a, b: y_bar * b, lambda y_bar, a, _b: y_bar * a))
    >>> ad.grad(lambda a: dot(a, a))(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    def define(function: Any) -> OwnOp[Any]:
        home, made = home_of_caller(), Made()
        rules = transposes if isinstance(transposes, tuple) else (transposes,)
        parameters = _parameters("bilinear", function, 2, name, 2)
        pulls = transposes_of(rules, parameters, Results(parameters.name, 1, "transposes"))
        needs = [needs_of(rule, 1, 2) for rule in rules]
        batching = _LANES if lanes else ONE_BY_ONE
        jvp, vjp = bilinear_rules(made, pulls, needs, batching)
        made.op = _op("bilinear", function, parameters, shape_rule, jvp=jvp, vjp=vjp, needs=needs)
        traits = Traits(batching, may_raise=True, structure=own_structure(structure, parameters, 1))
        return _finished(OwnOp(function, made.op, parameters, home, traits), stands_for)

    return define if function is None else define(function)


@overload
def custom(
    function: None = None, /, *, jvp: Any = None, vjp: Any = None, inputs: int | None = None, outputs: int = 1,
    conjugates: bool = True, shape_rule: _Function | None = None, lanes: bool = False, structure: Any = None,
    name: str | None = None, stands_for: Any = ()
) -> Callable[[Callable[..., _Y]], OwnOp[_Y]]: ...
@overload
def custom(
    function: Callable[..., _Y], /, *, jvp: Any = None, vjp: Any = None, inputs: int | None = None, outputs: int = 1,
    conjugates: bool = True, shape_rule: _Function | None = None, lanes: bool = False, structure: Any = None,
    name: str | None = None, stands_for: Any = ()
) -> OwnOp[_Y]: ...
def custom(
    function: Any = None, /, *, jvp: Any = None, vjp: Any = None, inputs: int | None = None, outputs: int = 1,
    conjugates: bool = True, shape_rule: _Function | None = None, lanes: bool = False, structure: Any = None,
    name: str | None = None, stands_for: Any = ()
) -> Any:
    """Make an op of any function, by its rule in forward mode, in reverse mode, or both.

    A rule that is not given is derived from the other one, by transposing it. That takes one call of the other rule, if
    it is made of operations that `ad` differentiates.

    Parameters
    ----------
    function : callable, optional
        `function(*inputs, **params)` takes plain arrays and numbers, and returns an array or a number. It is called
        again in each replay of a compiled function; it must return the same for the same inputs. Without it, a
        decorator is returned.
    jvp : callable or tuple, optional
        `jvp(x_dot, *inputs, y, **params)` is the tangent of the output `y` for the tangent of the input. With several
        inputs, it gets their tangents in a tuple; or there is a tuple of functions, one for each input, which return
        what the tangent of that input adds.
    vjp : callable or tuple, optional
        `vjp(y_bar, *inputs, y, **params)` is the cotangent of the input for that of the output. With several inputs it
        returns the cotangents of all in a tuple, with None for zeros; or there is a tuple of functions, one for each
        input.
    inputs : int, optional
        As for `ad.ops.elementwise`.
    outputs : int
        With several, the function returns a tuple of arrays, and `y`, `y_bar` and the result of `jvp` are tuples.
    conjugates : bool
        Whether `vjp` gets complex inputs and outputs conjugated: the rule for real numbers is then right for a
        holomorphic function of complex ones.
    shape_rule, lanes, structure, name, stands_for
        As for `ad.ops.linear`. With several outputs there is no shape rule, and `structure` returns a tuple with a
        result for each of them.

    Returns
    -------
    callable
        The function on values of any kind. Plain arrays give plain arrays.

    Raises
    ------
    TypeError, ValueError
        As for `ad.ops.elementwise`.
    MissingRule
        In a call, if a mode is asked for that has no rule, and the other mode's rule cannot be transposed.

    Notes
    -----
    A parameter of a rule whose name begins with an underscore is not needed by value: a tape does not keep it, and in
    the rule it has only its `shape`, `dtype`, `ndim` and `size`.

    A rule need not take a static parameter that has a default; it then holds for that value only, and a call with
    another one has no derivative.

    Rules are differentiated in their turn for second derivatives. A value that a rule takes out by `x.numpy()` is a
    constant there; compute it by another op, with a rule of its own.

    Examples
    --------
    >>> norm = ad.ops.custom(np.linalg.norm, inputs=1, name="norm", vjp=lambda y_bar, x, y: y_bar * x / y)
    >>> ad.jvp(norm, (np.array([3.0, 4.0]),), (np.array([0.0, 5.0]),))
    (np.float64(5.0), np.float64(4.0))
    """

    def define(function: Any) -> OwnOp[Any]:
        home = home_of_caller()
        parameters = _parameters("custom", function, inputs, name, _count(vjp) or _count(jvp))
        if jvp is None and vjp is None:
            raise TypeError(f"ad: {parameters.name}: it has no rule; give jvp=, vjp= or both")
        if shape_rule is not None and outputs > 1:
            raise ValueError(f"ad: {parameters.name}: there is no shape rule for several outputs")
        batching = _LANES if lanes else ONE_BY_ONE
        push, pull, needs = _custom_rules(jvp, vjp, parameters, outputs, conjugates, batching)
        op = _op("custom", function, parameters, shape_rule, outputs, jvp=push, vjp=pull, needs=needs)
        traits = Traits(batching, may_raise=True, structure=own_structure(structure, parameters, outputs))
        return _finished(OwnOp(function, op, parameters, home, traits), stands_for)

    return define if function is None else define(function)


def _custom_rules(jvp: Any, vjp: Any, parameters: Parameters, outputs: int, conjugates: bool,
                  batching: Batching) -> tuple[_Function, _Function, list[int]]:
    """Return the rules of both modes, of which one may be derived, and the values that they need."""
    results, n = Results(parameters.name, outputs), parameters.inputs
    if vjp is None:
        push = push_of_jvp(jvp, parameters, results, batching)
        pull = pull_of_push(push, results, n, is_of_all=not isinstance(jvp, tuple))
    else:
        pull = pull_of_vjp(vjp, parameters, results, conjugates)
        push = push_of_pull(pull, results) if jvp is None else push_of_jvp(jvp, parameters, results, batching)
    needs = [needs_of_input(i, jvp, n) | needs_of_input(i, vjp, n) | (OUTPUT if outputs > 1 else 0) for i in range(n)]
    return push, pull, needs


@overload
def composite(function: None = None, /, *, stands_for: Any = ()) -> Callable[[_F], _F]: ...
@overload
def composite(function: _F, /, *, stands_for: Any = ()) -> _F: ...
def composite(function: Any = None, /, *, stands_for: Any = ()) -> Any:
    """Make a function that is written in operations of `ad` and NumPy stand for others.

    Its derivatives are those of its operations, so it needs no rules; and without `stands_for` it needs no form.

    Parameters
    ----------
    function : callable, optional
        It takes the arguments of what it stands for. Without it, a decorator is returned.
    stands_for : ufunc or function of NumPy, or sequence of them
        Functions that have no rule in the table of ops, whose calls on values of `ad` come here. Calls on plain arrays
        are those of the first of them.

    Returns
    -------
    callable
        The function. Lists that hold values of `ad` are stacked before it is called.

    Raises
    ------
    TypeError
        For a function that does not hand over its calls, as those outside NumPy.
    ValueError
        For a function that has a rule.

    Examples
    --------
    >>> import math
    >>> softplus = np.frompyfunc(lambda x: math.log1p(math.exp(x)), 1, 1)  # a ufunc of another library
    >>> @ad.ops.composite(stands_for=softplus)
    ... def composed(x):
    ...     return np.logaddexp(0, x)
    >>> ad.grad(lambda x: np.sum(softplus(x)))(np.zeros(2))
    array([0.5, 0.5])
    """

    def define(function: Any) -> Any:
        if not callable(function):
            raise not_a_function("ops.composite", function)
        given = tuple(stands_for) if isinstance(stands_for, (tuple, list)) else (stands_for,)
        public = composite_function(function, given)
        stand_for(function.__name__, given, public)
        return public

    return define if function is None else define(function)


# -- what the forms share -----------------------------------------------------------------------------------------


def _parameters(form: str, function: Any, inputs: int | None, name: str | None, rules: int | None) -> Parameters:
    if not callable(function):
        raise not_a_function(f"ops.{form}", function)
    return Parameters.of(name or name_of(function), function, inputs, rules)


def _count(rule: Any) -> int | None:
    """Return the number of inputs that rules are for; None if it does not follow from them."""
    return len(rule) if isinstance(rule, tuple) else None


def _op(form: str, function: _Function, parameters: Parameters, shape_rule: _Function | None, outputs: int = 1, *,
        jvp: _Function, vjp: _Function, needs: Sequence[int]) -> Op:
    """Return the op of a plain function."""
    rule = None if shape_rule is None else checked_shape_rule(parameters.name, shape_rule, parameters)
    op = Op(parameters.name, form, Opaque(function, parameters, outputs, rule), jvp=jvp, vjp=vjp, needs=needs,
            parameters=parameters.static, outputs=outputs)
    op.shape_rule = rule
    return op


def _finished(own: OwnOp[Any], stands_for: Any) -> OwnOp[Any]:
    """Return an op, once it stands for what it is asked to."""
    stand_for(own.__name__, stands_for, own)
    return own
