"""Calls of ops of users: what they take and return, and errors, which name the op and say what to do."""
import ast
import functools
import inspect
import math
import re
import subprocess
import sys

import numpy as np
import own_ops_samples as samples
import pytest

import ad

close = np.testing.assert_allclose
X = np.array([0.3, 0.7, 1.2])


def identity(**options):
    """An op that is called `op`, by its rules."""
    return ad.ops.custom(lambda x: x * 1.0, **{"name": "op", **options})


def raises(error, message, f, *args):
    with pytest.raises(error, match="^ad: .*" + re.escape(message)) as caught:
        f(*args)
    assert "\n" not in str(caught.value)


# -- how it is called --------------------------------------------------------------------------------------


def test_plain_values_give_plain_values_and_others_arrays():
    erf = samples.erf
    assert type(erf(0.5)) is np.float64 and erf(0.5) == math.erf(0.5)
    assert type(erf(X)) is np.ndarray and erf([0.5, 1]).tolist() == [math.erf(0.5), math.erf(1)]
    assert erf(np.float32(0.5)).dtype == erf(X.astype(np.float32)).dtype == np.float32
    assert erf(np.array(2)) == math.erf(2) and erf(np.zeros((0, 2))).shape == (0, 2)
    assert type(erf(ad.constant(X))) is ad.Array and type(erf(ad.Variable(0.5))) is ad.Array
    assert type(erf([ad.constant(0.5), 1.0])) is ad.Array
    assert type(erf(ad.Dual(0.5, 1.0))) is ad.Dual
    assert type(ad.grad(lambda x: np.sum(erf(x)))(X.astype(np.float32))[0]) is np.float32


def test_inputs_by_position_and_keyword_and_static_parameters():
    power = samples.scaled_power
    for call in (power(X, 2.0), power(a=2.0, x=X), power(X, a=2.0, n=3), power(x=X, n=3, a=2)):
        close(call, 2 * X**3)
    close(ad.grad(lambda a: np.sum(power(n=1, x=X, a=a)))(2.0), np.sum(X))
    close(power(X, 1.0, n=ad.constant(2)), X**2)
    raises(TypeError, "scaled_power: missing a required argument: 'a'", power, X)
    raises(TypeError, "scaled_power: got an unexpected keyword argument 'm'", functools.partial(power, m=2), X, X)


def test_a_function_without_a_signature_has_inputs_only():
    hypot = ad.ops.elementwise(math.hypot, vectorize=True, partials=(lambda a, b, y: a / y, lambda a, b, y: b / y))
    ad.testing.check_grads(hypot, (X, 2.0))
    raises(TypeError, "hypot takes 2 inputs by position and no other arguments, not 1 by position", hypot, X)
    log = np.vectorize(math.log1p)
    assert ad.ops.elementwise(log, partials=lambda x, y: 1 / (1 + x))(1.0) == math.log(2)
    raises(TypeError, "f: the number of inputs is not known, as a builtin_function_or_method has no signature; give "
           "it: inputs=1", lambda: ad.ops.custom(math.hypot, vjp=lambda y_bar, x, y: y_bar, name="f"))


def test_the_inputs_are_the_parameters_without_a_default():
    @ad.ops.custom(vjp=lambda y_bar, a, b, y, c, d: (y_bar * c, y_bar * d))
    def f(a, b, c=2, *, d=3, **unused):
        return a * c + b * d

    close(f(X, X, 4, d=5), 9 * X)
    close(ad.grad(lambda a, b: np.sum(f(a, b, 4, d=5)), (0, 1))(X, X), [np.full(3, 4.0), np.full(3, 5.0)])
    g = ad.ops.custom(lambda a, b=1.0: a * b, inputs=2, vjp=lambda y_bar, a, b, y: (y_bar * b, np.sum(y_bar * a)))
    close(ad.grad(lambda b: np.sum(g(X, b)))(2.0), np.sum(X))
    close(ad.grad(lambda x: np.sum(g(x)))(X), np.ones(3))
    for wrong in (lambda a=1: a, lambda *, a: a, lambda: 1):
        raises(TypeError, "must take at least one input by position",
               lambda wrong=wrong: ad.ops.custom(wrong, vjp=lambda y_bar, x, y: y_bar))
    raises(TypeError, "the static parameter 'n' must not be positional-only",
           lambda: ad.ops.custom(lambda x, n=1, /: x, vjp=lambda y_bar, x, y, n: y_bar))


def test_it_has_the_name_signature_and_docstring_of_the_function():
    op = samples.scaled_power
    assert op.__name__ == op.__qualname__ == "scaled_power" and op.__module__ == "own_ops_samples"
    assert list(inspect.signature(op).parameters) == ["x", "a", "n"]
    assert inspect.getdoc(samples.weighted) == "Linear in two inputs together."
    assert repr(op) == "<custom op scaled_power of own_ops_samples>"
    assert identity(vjp=lambda y_bar, x, y: y_bar).__name__ == "op"


def test_inputs_cannot_be_written_to():
    @ad.ops.custom(vjp=lambda y_bar, x, y: y_bar)
    def doubled(x):
        x *= 2
        return x

    for call in (doubled, ad.grad(lambda x: np.sum(doubled(x)))):
        x = X.copy()
        with pytest.raises(ValueError, match="read-only"):
            call(x)
        assert np.array_equal(x, X)


def test_the_result_is_held_by_nobody_else():
    buffer = np.zeros(3)

    @ad.ops.custom(vjp=lambda y_bar, x, y: y_bar * y)
    def exp(x):
        return np.exp(x, out=buffer)

    a, b = exp(X), exp(2 * X)
    close([a, b], np.exp([X, 2 * X]))
    close(ad.grad(lambda x: np.sum(exp(x) * exp(2 * x)))(X), 3 * np.exp(3 * X))
    close(ad.compile(ad.grad(lambda x: np.sum(exp(x) * exp(2 * x))))(X), 3 * np.exp(3 * X))
    x = X.copy()
    same = ad.ops.custom(lambda x: x, vjp=lambda y_bar, x, y: y_bar)(x)
    x[0] = 9
    assert same[0] == X[0] and same.flags.writeable


def test_a_python_int_is_a_number_like_others():
    steps = ad.ops.custom(lambda x: 0 if x < 0 else x**2, vjp=lambda y_bar, x, y: 2 * y_bar * x)
    assert steps(-1.0).dtype == np.float64
    f = ad.compile(ad.value_and_grad(lambda x: steps(x) * x))
    for x in (-1.0, 2.0, -3.0):
        assert f(x) == ((0, 2 * x * x) if x < 0 else (x**3, 3 * x**2))


def test_importing_ad_takes_no_time_for_them():
    code = "import sys, ad; before = {*sys.modules}; ad.ops.custom; print(sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"ad.ops.own_forms", "ad.ops.own_rules", "ad.ops.opaque"} <= {*ast.literal_eval(done.stdout)}
    assert {"bilinear", "composite", "custom", "elementwise", "linear"} <= {*dir(ad.ops)}
    with pytest.raises(AttributeError, match="module 'ad.ops' has no attribute 'custm'"):
        ad.ops.custm  # noqa: B018


# -- what the function must return -------------------------------------------------------------------------


@pytest.mark.parametrize("value, what", [
    (None, "None"), ("text", "a str"), ([1, [2, 3]], "a list"), ({"a": 1.0}, "a dict"),
    (np.array([None]), "an ndarray"), (np.array(["a"]), "an ndarray"),
])
@pytest.mark.parametrize("use", [lambda f: f(X), lambda f: reverse(f), lambda f: ad.compile(f)(X)])
def test_a_function_that_returns_no_number(value, what, use):
    op = ad.ops.custom(lambda x: value, vjp=lambda y_bar, x, y: y_bar, name="op")
    raises(TypeError, f"op: the function returned {what}, which is no array of numbers; it must return an array or a "
           "number", use, op)
    each = ad.ops.elementwise(lambda x: value, partials=1.0, name="op", vectorize=True)
    raises(TypeError, "op: the function returned ", use, each)


def test_another_number_of_outputs():
    raises(TypeError, "op: the function returned a tuple of 2; it must return one array or number, or be given "
           "outputs=2", ad.ops.custom(lambda x: (x, x), vjp=lambda y_bar, x, y: y_bar, name="op"), X)
    for value, what in (((X,), "a tuple of 1"), (X, "an ndarray"), (None, "None")):
        op = ad.ops.custom(lambda x, value=value: value, inputs=1, vjp=lambda y_bar, x, y, value: y_bar, outputs=2,
                           name="op")
        raises(TypeError, f"op: the function returned {what}; with outputs=2 it must return a tuple of 2 arrays or "
               "numbers", op, X)
    raises(ValueError, "op: there is no shape rule for several outputs",
           lambda: identity(vjp=lambda y_bar, x, y: y_bar, outputs=2, shape_rule=lambda x: (x.shape, x.dtype)))


def test_an_elementwise_function_of_another_shape():
    op = ad.ops.elementwise(lambda a, b: a[:2], partials=(1, 1), name="op")
    raises(ValueError, "op: the function returned an array of shape (2,), and the shape that its inputs broadcast to "
           "is (3,)", op, X, 1.0)


@pytest.mark.parametrize("value", ["text", None, {}])
def test_inputs_that_are_no_numbers(value):
    raises(TypeError, "op takes arrays and numbers, not", identity(vjp=lambda y_bar, x, y: y_bar), value)


# -- what the rules must return ----------------------------------------------------------------------------


def reverse(op):
    return ad.grad(lambda x: np.sum(op(x)))(X)


def forward(op):
    return ad.jvp(op, (X,), (X,))


def compiled(op):
    return ad.compile(ad.grad(lambda x: np.sum(op(x))))(X)


@pytest.mark.parametrize("use", [reverse, compiled, forward])
def test_a_cotangent_of_another_shape(use):
    for wrong, shape in ((lambda y_bar, x, y: np.sum(y_bar), "()"), (lambda y_bar, x, y: y_bar[:2], "(2,)"),
                         (lambda y_bar, x, y: np.stack([y_bar, y_bar]), "(2, 3)"), (lambda y_bar, x, y: 1.0, "()")):
        raises(ValueError, f"op: its vjp returned a cotangent of shape {shape} for an input of shape (3,); they must "
               "be the same", use, identity(vjp=wrong))


@pytest.mark.parametrize("use", [reverse, compiled, forward])
def test_a_tangent_of_another_shape(use):
    raises(ValueError, "op: its jvp returned a tangent of shape () for an output of shape (3,); they must be the same",
           use, identity(jvp=lambda x_dot, x, y: np.sum(x_dot)))


def test_results_of_a_transpose_and_a_partial_of_another_shape():
    linear = ad.ops.linear(lambda x: 2 * x, transpose=lambda y_bar, x: y_bar[0], name="op")
    raises(ValueError, "op: its transpose returned a cotangent of shape () for an input of shape (3,)", reverse, linear)
    bilinear = ad.ops.bilinear(np.dot, name="op", transposes=(lambda g, a, b: g, lambda g, a, b: g * a))
    raises(ValueError, "op: its transposes returned a cotangent of shape () for an input of shape (3,)",
           reverse, lambda x: bilinear(x, X))
    for partial in (lambda x, y: np.ones((2, 3)), lambda x, y: x[:2], lambda x, y: x[:, None] * x):
        op = ad.ops.elementwise(lambda x: 2 * x, partials=partial, name="op")
        for use in (reverse, forward, compiled):
            raises(ValueError, "op: its partial returned an array of shape (", use, op)
    raises(TypeError, "op: its partial returned None, which is no array of numbers", reverse,
           ad.ops.elementwise(lambda x: 2 * x, partials=lambda x, y: None, name="op"))


def test_results_of_another_dtype():
    for wrong in (lambda y_bar, x, y: "text", lambda y_bar, x, y: np.array([None] * 3)):
        raises(TypeError, "which is no array of numbers; return an array, or None for zeros", reverse,
               identity(vjp=wrong))
    raises(TypeError, "op: its vjp returned a cotangent of dtype complex128 for an input of dtype float64; return its "
           "real part", reverse, identity(vjp=lambda y_bar, x, y: y_bar * 1j))
    raises(TypeError, "op: its jvp returned a tangent of dtype complex128 for an output of dtype float64; return its "
           "real part", forward, identity(jvp=lambda x_dot, x, y: x_dot * 1j))
    integers = reverse(identity(vjp=lambda y_bar, x, y: np.array([1, 2, 3])))
    assert integers.dtype == np.float64 and integers.tolist() == [1, 2, 3]
    single = ad.grad(lambda x: np.sum(identity(vjp=lambda y_bar, x, y: np.ones(3))(x)))(X.astype(np.float32))
    assert single.dtype == np.float32


def test_rules_for_several_inputs_and_outputs():
    def op(**options):
        return ad.ops.custom(lambda a, b: a * b, name="op", **options)

    for wrong, what in ((lambda g, a, b, y: g * b, "an ad.Array"), (lambda g, a, b, y: (g,), "1 cotangents"),
                        (lambda g, a, b, y: None, "None")):
        raises(ValueError, f"op: its vjp returned {what} for 2 inputs; it must return a tuple with one for each (None "
               "for zeros)", reverse, lambda x, wrong=wrong: op(vjp=wrong)(x, X))
    raises(TypeError, "op: it has 2 inputs (a, b) and 1 rules vjp; give one for each",
           lambda: op(vjp=(lambda g, a, b, y: g,)))
    raises(TypeError, "op: it has 2 inputs (a, b) and 1 rules partials; give one for each",
           lambda: ad.ops.elementwise(lambda a, b: a * b, partials=lambda a, b, y: b, name="op"))
    two = ad.ops.custom(lambda x: (x, x), jvp=lambda x_dot, x, y: x_dot, outputs=2, name="op")
    raises(ValueError, "op: its jvp returned an ad.Array for 2 outputs; it must return a tuple with one for each",
           forward, two)
    two = ad.ops.custom(lambda x: (x, x), jvp=lambda x_dot, x, y: (x_dot,), outputs=2, name="op")
    raises(ValueError, "op: its jvp returned 1 tangents for 2 outputs", forward, two)


# -- how it is defined -------------------------------------------------------------------------------------


def test_rules_that_take_other_parameters():
    raises(TypeError, "op: its vjp is called with (y_bar, x, y), and takes other parameters: too many positional",
           lambda: identity(vjp=lambda y_bar, x: y_bar))
    raises(TypeError, "op: its jvp is called with (x_dot, x, y), and takes other parameters: missing a required",
           lambda: identity(jvp=lambda x_dot, x, y, z: x_dot))
    raises(TypeError, "op: its partial is called with (x1, x2, y), and takes",
           lambda: ad.ops.elementwise(np.hypot, partials=(lambda a, b: a, 1), name="op"))
    raises(TypeError, "op: its vjp must be a function, not a float", lambda: identity(vjp=1.0))
    raises(TypeError, "op: its vjp is called with (y_bar, x, y, n=), and takes other parameters: got an unexpected",
           lambda: ad.ops.custom(lambda x, *, n: x, vjp=lambda y_bar, x, y: y_bar, name="op"))


def test_no_rule_and_no_function():
    raises(TypeError, "op: it has no rule; give jvp=, vjp= or both", lambda: identity())
    for form in (ad.ops.elementwise, ad.ops.linear, ad.ops.bilinear, ad.ops.custom, ad.ops.composite):
        with pytest.raises(TypeError, match=f"ad.ops.{form.__name__} takes a function, not an int"):
            form(3, **{"elementwise": {"partials": 1}, "linear": {"transpose": abs}, "custom": {"vjp": abs},
                       "bilinear": {"transposes": (abs, abs)}}.get(form.__name__, {}))


def test_a_static_parameter_that_is_differentiated():
    raises(TypeError, "scaled_power: the parameter 'n' is static, and is given a value that is being differentiated. "
           "Make it an input", ad.grad(lambda n: np.sum(samples.scaled_power(X, 2.0, n=n))), 2.0)
    nested = ad.ops.custom(lambda x, *, table: x, vjp=lambda y_bar, x, y, table: y_bar)
    raises(TypeError, "the parameter 'table' is static", ad.grad(lambda n: np.sum(nested(X, table=[1, (n, 2)]))), 2.0)


# -- the missing mode --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [lambda dot, x, y: dot.numpy() * 2, lambda dot, x, y: np.asarray(dot) * 2,
                                  lambda dot, x, y: np.array([float(part) for part in dot])])
def test_a_rule_that_cannot_be_transposed(rule):
    by_vjp, by_jvp = identity(vjp=rule), identity(jvp=rule)
    message = ("op has no rule in {} mode, and none can be derived from its {}, which is not made of operations on {} "
               "that ad differentiates: ")
    raises(ad.MissingRule, message.format("forward", "vjp", "y_bar"), forward, by_vjp)
    raises(ad.MissingRule, message.format("reverse", "jvp", "x_dot"), reverse, by_jvp)
    with pytest.raises(ad.MissingRule, match="[Oo]r give jvp="):
        forward(by_vjp)


def test_a_rule_that_is_zero_can_be_transposed():
    zero = identity(vjp=lambda y_bar, x, y: np.zeros(3))
    assert forward(zero)[1].tolist() == reverse(zero).tolist() == [0, 0, 0]
    zero = identity(jvp=lambda x_dot, x, y: np.zeros(3))
    assert forward(zero)[1].tolist() == reverse(zero).tolist() == [0, 0, 0]


def test_an_error_of_a_rule_is_its_own():
    def broken(dot, x, y):
        raise KeyError("mine")

    for use, op in ((reverse, identity(vjp=broken)), (forward, identity(vjp=broken)), (reverse, identity(jvp=broken))):
        with pytest.raises(KeyError, match="mine"):
            use(op)


def test_check_grads_finds_a_wrong_rule():
    wrong = identity(vjp=lambda y_bar, x, y: 2 * y_bar)
    for modes in (["forward"], ["reverse"]):
        with pytest.raises(AssertionError, match=modes[0]):
            ad.testing.check_grads(wrong, (X,), modes=modes)
    second = identity(vjp=lambda y_bar, x, y: y_bar * np.ones(3) * (x.numpy() / x))
    ad.testing.check_grads(second, (X,), order=1)
    with pytest.raises(AssertionError, match="over-reverse"):
        ad.testing.check_grads(second, (X,))
