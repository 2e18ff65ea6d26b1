"""What a person reads who makes one of the common mistakes: the whole message, to the letter."""
import copy
import math
import pickle
import re

import numpy as np
import pytest

import ad
from ad.ops.domains import REAL
from ad.ops.forms import elementwise

X = np.array([0.0, 1.0, 2.0])
PLACE = re.compile(rf" \({re.escape(__file__)}, line \d+: .*?\)(?=\. )")  # see test_callers


def square(x):
    return np.sum(x * x)


def messages(*rows):
    """Parametrizes a test by (mistake, error, *parts of the message)."""
    cases = [(mistake, error, "".join(parts)) for mistake, error, *parts in rows]
    return pytest.mark.parametrize("mistake, error, message", cases, ids=map(str, range(len(cases))))


def check(mistake, error, message):
    with pytest.raises(error) as raised:
        mistake()
    assert raised.type is error
    assert PLACE.sub("", str(raised.value)) == message
    assert ad.grad(square)(X).tolist() == [0.0, 2.0, 4.0]  # and nothing is left open by it


# -- the function ------------------------------------------------------------------------------

NUMBER = "it must return one number (with has_aux=True: a pair of that and anything else)"


@messages(
    (lambda: ad.grad(lambda x: x * x)(X), ValueError,
     "ad.grad: the function returned an array of shape (3,); it must return a scalar: sum it, or use ad.jacobian"),
    (lambda: ad.value_and_grad(lambda x: np.sum(x, keepdims=True))(X), ValueError,
     "ad.value_and_grad: the function returned an array of shape (1,); it must return a scalar: sum it, or use ",
     "ad.jacobian"),
    (lambda: ad.hessian(lambda x: x)(X), ValueError,
     "ad.hessian: the function returned an array of shape (3,); it must return a scalar: sum it, or use ad.jacobian"),
    (lambda: ad.grad(lambda x: (np.sum(x), 1))(X), TypeError, f"ad.grad: the function returned a tuple; {NUMBER}"),
    (lambda: ad.grad(lambda x: None)(X), TypeError, f"ad.grad: the function returned None; {NUMBER}"),
    (lambda: ad.grad(lambda x: np.sum(x * 1j))(X), TypeError,
     "ad.grad: the function returned a complex number; a gradient is that of a real one: return its real(), imag() or ",
     "abs(), or use ad.vjp"),
    (lambda: ad.grad(square, has_aux=True)(X), TypeError,
     "ad.grad: with has_aux=True the function must return a pair (output, aux), not an ad.Array"),
    (lambda: ad.jacobian(lambda x: "x")(X), TypeError,
     "ad.jacobian: the function returned a str; it must return arrays or numbers, or containers of them (with ",
     "has_aux=True: a pair of that and anything else)"),
    (lambda: ad.grad(square(X)), TypeError, "ad.grad takes a function, not a float64: write ad.grad(f)(x)"),
    (lambda: ad.hvp(X), TypeError, "ad.hvp takes a function, not an ndarray: write ad.hvp(f)(x, v)"),
    (lambda: ad.jvp(X, (X,), (X,)), TypeError,
     "ad.jvp takes a function, not an ndarray: write ad.jvp(f, (x,), (x_dot,))"),
    (lambda: ad.vjp(None, X), TypeError, "ad.vjp takes a function, not None: write ad.vjp(f, x)"),
    (lambda: ad.linearize("f", X), TypeError, "ad.linearize takes a function, not a str: write ad.linearize(f, x)"),
)
def test_the_function(mistake, error, message):
    check(mistake, error, message)


# -- argnums -------------------------------------------------------------------------------------


def not_argnums(transform, argnums, call):
    return (f"ad.{transform}: argnums is an int or a tuple of ints, not {argnums}; what the function is called with "
            f"comes in a second call: write {call}")


@messages(
    (lambda: ad.grad(square, X), TypeError, not_argnums("grad", "array([0., 1., 2.])", "ad.grad(f)(x)")),
    (lambda: ad.grad(square, 3.0), TypeError, not_argnums("grad", "3.0", "ad.grad(f)(x)")),
    (lambda: ad.grad(square, True), TypeError, not_argnums("grad", "True", "ad.grad(f)(x)")),
    (lambda: ad.grad(square, [0, 1]), TypeError, not_argnums("grad", "[0, 1]", "ad.grad(f)(x)")),
    (lambda: ad.value_and_grad(square, None), TypeError,
     not_argnums("value_and_grad", "None", "ad.value_and_grad(f)(x)")),
    (lambda: ad.hessian(square, np.eye(9)), TypeError,
     not_argnums("hessian", "array([[1., 0., 0., 0., 0., 0., 0., 0...", "ad.hessian(f)(x)")),
    (lambda: ad.jacobian(square, "x"), TypeError, not_argnums("jacobian", "'x'", "ad.jacobian(f)(x)")),
    (lambda: ad.hvp(square, (X,), (X,)), TypeError,
     not_argnums("hvp", "(array([0., 1., 2.]),)", "ad.hvp(f)(x, v)")),
    (lambda: ad.grad(square, 1)(X), TypeError,
     "ad.grad: no positional argument 1 to differentiate with respect to; the function was called with 1 positional ",
     "and 0 keyword arguments. Pass that argument by position, or choose another by argnums"),
    (lambda: ad.grad(square)(x=X), TypeError,
     "ad.grad: no positional argument 0 to differentiate with respect to; the function was called with 0 positional ",
     "and 1 keyword arguments. Pass that argument by position, or choose another by argnums"),
    (lambda: ad.grad(square, (0, -1))(X), ValueError, "ad.grad: argnums=(0, -1) names an argument twice"),
)
def test_argnums(mistake, error, message):
    check(mistake, error, message)


# -- arguments, tangents, cotangents ---------------------------------------------------------------


@messages(
    (lambda: ad.grad(square)("x"), TypeError,
     "ad.grad: argument 0 is a str, with respect to which there is no derivative; choose others by argnums, or pass ",
     "it by keyword"),
    (lambda: ad.grad(square)({"a": [1.0, True]}), TypeError,
     "ad.grad: argument 0['a'][1] is a bool, with respect to which there is no derivative; choose others by argnums, ",
     "or pass it by keyword"),
    (lambda: ad.hessian(square)(np.array([None])), TypeError,
     "ad.hessian: argument 0 is an array of dtype object, with respect to which there is no derivative; choose others ",
     "by argnums, or pass it by keyword"),
    (lambda: ad.jvp(square, X, X), TypeError,
     "ad.jvp: primals is a tuple with one entry for each argument, not an ndarray: write ad.jvp(f, (x,), (x_dot,))"),
    (lambda: ad.jvp(square, (X,), (X, X)), TypeError,
     "ad.jvp: tangents has 2 parts for 1 arguments; give one for each"),
    (lambda: ad.linearize(square, X)[1](X, X), TypeError,
     "ad.linearize: tangents has 2 parts for 1 arguments; give one for each"),
    (lambda: ad.jvp(square, (X,), (1.0,)), ValueError, "ad.jvp: tangents has shape () where the value has (3,)"),
    (lambda: ad.jvp(square, (X,), (1j * X,)), TypeError,
     "ad.jvp: tangents is complex where the value is real (float64)"),
    (lambda: ad.vjp(lambda x: x, X)[1](1.0), ValueError,
     "ad.vjp: the cotangent has shape () where the value has (3,)"),
    (lambda: ad.hvp(square)(X), TypeError,
     "ad.hvp: call it with the arguments of the function and, after them, the vector: write ad.hvp(f)(x, v)"),
    (lambda: ad.hvp(square)(X, np.ones(2)), ValueError, "ad.hvp: the vector has shape (2,) where the value has (3,)"),
    (lambda: ad.hvp(square)(X, "v"), TypeError,
     "ad.hvp: the vector has a str in it; it must be made of arrays or numbers"),
    (lambda: ad.hvp(square)(X, (X,)), TypeError,
     "ad: the vector is a tuple where a single array or number is wanted"),
    (lambda: ad.hvp(lambda x, y: square(x * y), (0, 1))(X, X, (X,)), TypeError,
     "ad.hvp: the vector has 1 parts for 2 arguments; give one for each"),
    (lambda: ad.jacobian(square, mode="backward"), ValueError,
     "ad.jacobian: mode is 'forward', 'reverse' or None, not 'backward'"),
    (lambda: ad.Dual(X, np.ones(2)), ValueError,
     "ad.Dual: the tangent has shape (2,); for a primal of shape (3,) it must be (3,), or (k, ...) with k tangents ",
     "of that shape"),
    (lambda: ad.constant("x"), TypeError, "ad: an array holds numbers, not a str, 'x'"),
    (lambda: ad.Array(X), TypeError, "ad: make an array with ad.constant(value) or ad.Variable(value)"),
)
def test_arguments(mistake, error, message):
    check(mistake, error, message)


# -- inside the function -----------------------------------------------------------------------------

CUT_OFF = "would make a constant of a value that is being differentiated or recorded."
ON_PURPOSE = "cut it off on purpose with x.numpy() or ad.stop_gradient(x)."
STACK = "np.stack([x, y]) or ad.asarray([x, y]), or import ad.numpy as np"
WRITABLE = "Make an array of floats with ad.numpy (import ad.numpy as np) or by ad.constant(array)"
WRITTEN = (
    "ad: np.add cannot write a value that is being differentiated into a plain ndarray, which would cut it off. "
    f"{WRITABLE}; or use the result, if there is one (a = a + x, not a += x)."
)


def no_rule(function):
    return (f"ad: {function} has no rule, in reverse or in forward mode, and was called on a value that is being "
            "differentiated. Write it in functions that have one, or cut the value off on purpose with x.numpy() or "
            "ad.stop_gradient(x). To give it a rule, make an op of it by ad.ops.custom.")


def add_in_place(x):
    total = np.zeros(3)
    total += x


@messages(
    (lambda x: np.unwrap(x), ad.MissingRule, no_rule("np.unwrap")),
    (lambda x: np.spacing(x), ad.MissingRule, no_rule("np.spacing")),
    (lambda x: np.histogram(x), ad.MissingRule, no_rule("np.histogram")),
    (lambda x: np.sum(x, out=np.zeros(())), TypeError, WRITTEN.replace("np.add cannot", "np.sum cannot")),
    (lambda x: math.sin(x[0]), TypeError, f"ad: math.sin() {CUT_OFF} Use np.sin for math.sin; or {ON_PURPOSE}"),
    (lambda x: np.array([x[0], x[1]]), TypeError, f"ad: numpy.array() {CUT_OFF} Use {STACK}; or {ON_PURPOSE}"),
    (lambda x: np.asarray(x), TypeError,
     f"ad: numpy.asarray() {CUT_OFF} Use ad.asarray(x), or {STACK}; or {ON_PURPOSE}"),
    (lambda x: copy.deepcopy(x), TypeError, f"ad: copy.deepcopy() {CUT_OFF} Keep x itself; or {ON_PURPOSE}"),
    (lambda x: pickle.dumps(x), TypeError, f"ad: pickle.dumps() {CUT_OFF} Keep x itself; or {ON_PURPOSE}"),
    (add_in_place, TypeError, WRITTEN),
    (lambda x: np.add(x, 1.0, out=np.zeros(3)), TypeError, WRITTEN),
    (lambda x: np.copyto(np.zeros(3), x), TypeError, WRITTEN.replace("np.add cannot", "np.copyto cannot")),
    (lambda x: np.put(np.zeros(3), [0], x[:1]), TypeError, WRITTEN.replace("np.add cannot", "np.put cannot")),
    (lambda x: np.log(x, where=X > 0), ValueError,
     "ad: np.log with where= and without out= leaves elements unset, which have no derivative. Give out=, or use ",
     "np.where(mask, value, other)."),
)
@pytest.mark.parametrize("transform", [ad.grad, ad.hessian, ad.jacobian])
def test_inside_the_function(transform, mistake, error, message):
    check(lambda: transform(mistake)(X), error, message)


def test_an_item_of_a_plain_array():
    """NumPy says `setting an array element with a sequence`; what it does so about is ours."""
    def f(x):
        np.zeros(3)[0] = x[0]

    with pytest.raises(ValueError) as raised:
        ad.grad(f)(X)
    assert PLACE.sub("", str(raised.value.__cause__)) == (
        "ad: np.zeros(3)[0] = x[0]: an element of a plain ndarray is a constant, and the value is being differentiated "
        f"or recorded. {WRITABLE}; or {ON_PURPOSE}")


# -- tapes -------------------------------------------------------------------------------------------


def recorded(persistent=False):
    """A variable, its square, and the tape that saw it."""
    x = ad.Variable(3.0)
    with ad.GradientTape(persistent=persistent) as tape:
        y = x * x
    return x, y, tape


def ask_twice(again):
    x, y, tape = recorded()
    tape.gradient(y, x)
    getattr(tape, again)(y, x)


def ask(target=None, source=None, **options):
    x, y, tape = recorded()
    tape.gradient(y if target is None else target, x if source is None else source, **options)


def watch(value):
    with ad.GradientTape() as tape:
        tape.watch(value)


def enter_twice():
    with ad.GradientTape() as tape, tape:
        pass


ONCE = ("ad: a non-persistent GradientTape gives one set of gradients (or jacobians) only; make it with "
        "GradientTape(persistent=True) to ask it again")
OURS = "make it an ad.Variable(value), or an ad.constant(value) that the tape watches, and use that in the block"


@messages(
    (lambda: ask_twice("gradient"), RuntimeError, ONCE),
    (lambda: ask_twice("jacobian"), RuntimeError, ONCE),
    (lambda: ad.GradientTape().gradient(ad.constant(1.0), ad.constant(1.0)), RuntimeError,
     "ad: this GradientTape has never recorded; enter it: with ad.GradientTape() as tape"),
    (enter_twice, ValueError,
     "ad: this GradientTape is recording already; its block cannot be entered inside itself"),
    (lambda: watch(X), ValueError, f"ad: cannot watch an ndarray, array([0., 1., 2.]); {OURS}"),
    (lambda: ask(source=X), TypeError,
     f"ad: a source must be an ad.Array or ad.Variable, not an ndarray, array([0., 1., 2.]); {OURS}"),
    (lambda: ask(target="y"), TypeError, "ad: a target must be an array, not a str, 'y'"),
    (lambda: ask(unconnected_gradients="zeros"), ValueError,
     "ad: unknown value for unconnected_gradients: 'zeros'; it is 'none' or 'zero'"),
    (lambda: ask(output_gradients=[1.0, 2.0]), ValueError,
     "ad: output_gradients has 2 gradients for 1 targets; give one for each, or None"),
    (lambda: ask(output_gradients=X), ValueError,
     "ad: a gradient of shape (3,) in output_gradients for a target of shape ()"),
    (lambda: ad.ForwardAccumulator(X, X), ValueError,
     "ad: a primal must be an ad.Array or ad.Variable, not an ndarray, array([0., 1., 2.]); make it an ",
     "ad.constant(value), and use that in the block"),
    (lambda: ad.ForwardAccumulator(ad.constant(X), [1.0]), ValueError,
     "ad: a tangent of shape (1,) and dtype float64 for a primal of shape (3,) and dtype float64; they must be the ",
     "same"),
    (lambda: ad.Variable(X, name="w").assign(1.0), ValueError,
     "ad: cannot assign a value of shape () to variable 'w' of shape (3,)"),
    (lambda: ad.Variable(1.0, name="w").assign(1j), TypeError,
     "ad: variable 'w' has the dtype float64, which cannot hold values of dtype complex128. Make it with that ",
     "(ad.Variable(value, dtype='complex128')), or cast the value on purpose: np.asarray(value).astype('float64')."),
)
def test_tapes(mistake, error, message):
    check(mistake, error, message)


def test_a_source_that_was_not_watched_has_no_gradient():
    x = ad.constant(3.0)
    with ad.GradientTape() as tape:
        y = x * x
    assert tape.gradient(y, x) is None


def test_an_integer_has_no_gradient():
    x = ad.constant(np.arange(3))
    with ad.GradientTape() as tape, pytest.warns(UserWarning) as warned:
        tape.watch(x)
    (warning,) = warned
    assert str(warning.message) == (f"ad: the dtype of a watched value must be floating or complex (e.g. float64), not "
                                    f"{x.dtype}; it has no gradient")
    assert warning.filename == __file__


# -- the table -----------------------------------------------------------------------------------------


def test_an_op_of_a_name_that_is_taken():
    tanh = ad.ops.TABLE["tanh"]
    check(lambda: elementwise("tanh", np.tanh, 1.0, domain=REAL), ValueError,
          "ad: the table has an op 'tanh' already; give this one another name")
    assert ad.ops.TABLE["tanh"] is tanh
