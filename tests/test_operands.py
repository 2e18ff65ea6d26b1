"""What NumPy takes for a number, and what knows better how to combine itself with a value of ours."""
import copy
import decimal
import enum
import fractions
import pickle

import numpy as np
import pytest

import ad


class Level(enum.IntEnum):
    TWO = 2


class Metres(float):
    pass


class Count(int):
    pass


class Wide(np.float64):
    pass


class Narrow(np.float32):
    pass


@pytest.mark.parametrize("number", [
    Level.TWO, Metres(2), Count(2), True, Wide(2), Narrow(2), np.int8(2), np.bool_(True),
], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", [
    lambda x, n: x * n, lambda x, n: n / x, lambda x, n: np.add(x, n), lambda x, n: np.maximum(n, x),
    lambda x, n: x ** n, lambda x, n: np.where(x > 2, x, n), lambda x, n: np.clip(x, 0, n), lambda x, n: (x < n) * x,
], ids="* / add maximum ** where clip <".split())
def test_subclasses_of_numbers(f, dtype, number):
    x = np.array([1.5, 3.0], dtype)
    want = f(x, number)
    for found in (f(ad.constant(x), number).numpy(), ad.compile(f)(x, number)):
        np.testing.assert_array_equal(found, want)
        assert found.dtype == want.dtype
    x_bar = ad.grad(lambda x: np.sum(f(x, number)))(x)
    np.testing.assert_allclose(x_bar, ad.grad(lambda x: np.sum(f(x, float(number))))(x), rtol=1e-6)


@pytest.mark.parametrize("other", [fractions.Fraction(1, 2), decimal.Decimal(2), "a", None, object()],
                         ids=lambda x: type(x).__name__)
def test_what_is_no_number_is_a_type_error(other):
    x = ad.constant([1.0, 2.0])
    for call in (lambda: x * other, lambda: other * x, lambda: np.add(x, other), lambda: ad.add(x, other)):
        with pytest.raises(TypeError):
            call()
    for call in (lambda: x @ other, lambda: other @ x):
        with pytest.raises(ValueError if other is None else TypeError):  # None is NumPy's object of no dimension
            call()
    with pytest.raises((TypeError, AttributeError), match="hypot"):  # by the operand, as NumPy's
        ad.hypot(other, x)


class Operator:
    """Something with products of its own, as sparse matrices and data frames have."""

    def __matmul__(self, other):
        return "left"

    def __rmatmul__(self, other):
        return "right"


def test_products_are_left_to_what_has_its_own():
    x = ad.constant([1.0, 2.0])
    assert (x @ Operator(), Operator() @ x) == ("right", "left")


def test_sparse_matrices_and_data_frames():
    sparse = pytest.importorskip("scipy.sparse")
    a, x = np.array([[1.0, 0.0], [2.0, 3.0]]), ad.constant([1.0, 2.0])
    np.testing.assert_array_equal(x @ sparse.csr_array(a), [5, 6])
    with pytest.raises(TypeError, match="would make a constant of a value"):
        ad.grad(lambda x: np.sum(x @ sparse.csr_array(a)))(np.ones(2))


@pytest.mark.parametrize("function", [ad.sin, ad.add, ad.sum, ad.mean, ad.linalg.inv, ad.special.gammaln],
                         ids=lambda f: f.__name__)
def test_functions_are_pickled_and_copied_by_their_names(function):
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
