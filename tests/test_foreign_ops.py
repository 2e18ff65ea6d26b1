"""Ufuncs of someone else's that are called as ops of the table are: they are told apart by what they are."""
import subprocess
import sys

import numpy as np
import pytest
from foreign import foreign_gufunc, foreign_ufunc

import ad
from ad.compiler.machine.loops import OPCODES
from ad.compiler.program import Program
from ad.engine.graph import Op
from ad.ops import TABLE


def one(x):
    return 3 * x - 1


def two(x, y):
    return 3 * x - y


def three(x, y, z):
    return 3 * x - y + 2 * z


OURS = sorted({name for name, entry in TABLE.items() if entry.op} | {*OPCODES} | {
    "less", "logical_and", "logical_not", "detached", "take", "gather", "add_into", "add_at", "add_part", "sum_to"})
NINE = ["square", "maximum", "reshape", "matmul", "real", "sum_to", "put_zeros", "clip", "sum"]
FUNCTIONS = {1: one, 2: two, 3: three}
X, Y, Z = np.array([0.5, 1.5, -2.0]), np.array([1.0, 0.0, 3.0]), np.array([-1.0, 2.0, 0.25])


def uses(ufunc, nin):
    """A function in which a ufunc stands alone, among arithmetic, on parts put into zeros, and on a comparison."""
    def f(*xs):
        xs = xs[:nin]
        y = ufunc(*xs)
        z = ufunc(*[2.0 * x + 1.0 for x in xs]) * y + ufunc(*[x[..., :1] if np.ndim(x) else x for x in xs])
        return y, z, ufunc(*[x > 0.1 for x in xs]) + ufunc(*[2.0 for _ in xs]) * y

    return f


def expected_of(f, values):
    return [np.asarray(y) for y in f(*values)]


def assert_equal(found, expected):
    for y, y0 in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(y), y0, rtol=1e-14)


@pytest.mark.parametrize("nin", FUNCTIONS)
@pytest.mark.parametrize("name", OURS)
def test_a_ufunc_with_the_name_of_an_op(name, nin):
    f = uses(foreign_ufunc(name, FUNCTIONS[nin], nin), nin)
    for values in ((X, Y, Z), (0.5, 1.5, -2.0)):
        expected = expected_of(f, values)
        compiled = ad.compile(f)
        for _ in range(3):
            assert_equal(compiled(*values), expected)
    lanes = ad.vmap(f)
    assert_equal(lanes(X, Y, Z), [np.stack(y) for y in zip(*[f(*parts) for parts in zip(X, Y, Z)])])


@pytest.mark.parametrize("name", NINE)
def test_a_program_with_it_is_what_it_was_and_is_not_saved(name, tmp_path):
    f = uses(foreign_ufunc(name, two, 2), 2)
    program = ad.record(f)(X, Y)
    assert isinstance(program, Program)
    assert_equal(program(X, Y), expected_of(f, (X, Y)))
    assert program.cost().operations == ad.record(uses(foreign_ufunc("of_its_own", two, 2), 2))(X, Y).cost().operations
    with pytest.raises(TypeError, match=f"'{name}' cannot be saved: .* none of NumPy's own"):
        program.save(tmp_path / "program")


@pytest.mark.parametrize("name", ["matmul", "sum", "square", "of_its_own"])
def test_a_generalised_ufunc(name):
    gufunc = foreign_gufunc(name, lambda values: 3 * sum(values) - 1)
    a, w = np.arange(6.0).reshape(2, 3), np.ones((4, 2, 3)) * np.arange(4.0)[:, None, None]

    def f(x):
        return gufunc(x), gufunc(2.0 * x) * gufunc(x)

    compiled = ad.compile(f)
    for _ in range(3):
        assert_equal(compiled(a), f(a))
    assert_equal(ad.vmap(f)(w), [np.stack(y) for y in zip(*map(f, w))])


@pytest.mark.parametrize("name", ["identity", "square", "getitem"])
def test_it_has_no_derivative(name):
    ufunc = foreign_ufunc(name, one)
    with pytest.raises(ad.errors.MissingRule if hasattr(ad.errors, "MissingRule") else TypeError):
        ad.grad(lambda x: np.sum(ufunc(x) * x))(X)

    def detached(x):
        return np.sum(ufunc(ad.stop_gradient(x)) * x)

    assert_equal([ad.grad(detached)(X), ad.compile(ad.grad(detached))(X)], [one(X)] * 2)
    assert_equal([ad.compile(ad.grad(lambda x: detached(x) + np.sum(x * x)))(X)], [one(X) + 2 * X])


def test_a_custom_gradient_with_the_name_of_an_op():
    @ad.custom_gradient
    def square(x):
        return x * x * x, lambda g: g * 7.0

    for f in (square, ad.compile(square)):
        assert_equal([f(X), f(X)], [X**3] * 2)
    assert_equal([ad.compile(ad.grad(lambda x: np.sum(square(x))))(X)] * 2, [np.full(3, 7.0)] * 2)


def test_an_entry_of_ones_own_cannot_have_the_name_of_another():
    from ad.ops.domains import REAL
    from ad.ops.forms import elementwise

    entry = TABLE["square"]
    with pytest.raises(ValueError, match="has an op 'square' already"):
        elementwise("square", foreign_ufunc("square", one), lambda x: 3.0, domain=REAL)
    assert TABLE["square"] is entry
    assert_equal([np.square(ad.constant(X)).numpy()], [X**2])


def test_nor_that_of_an_entry_for_scipy_which_is_made_later():
    code = """
from ad.ops.domains import REAL
from ad.ops.forms import elementwise
try:
    elementwise("expit", abs, lambda x: 1.0, domain=REAL)
except ValueError as error:
    print(error)
import ad
print(ad.special.expit(0.0))
"""
    pytest.importorskip("scipy")
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "has an op 'expit' already" in printed
    assert printed.endswith("0.5\n")


def test_an_op_is_not_known_by_its_name():
    """A new op is not even given the native kernels of the one whose name it has."""
    for name in ("square", "power", "getitem", "identity"):
        op = Op(name, "elementwise", one, partials=(3.0,))
        assert_equal([ad._core.apply(op, (ad.constant(X),), ()).numpy()], [one(X)])
        assert_equal([ad._core.apply(op, (ad.constant(2.0),), ()).numpy()], [5.0])
