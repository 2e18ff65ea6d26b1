"""`check_grads`: what it must find, and what it must not call wrong."""
import numpy as np
import pytest

import ad
from ad.testing import check_grads


@pytest.mark.parametrize(("f", "x"), [
    (np.min, [0.5, 0.5008, 2.0]), (np.max, [0.5, 1.99995, 2.0]), (np.sort, [0.5, 0.5003, 2.0]),
    (lambda x: np.abs(x) * x[0], [3e-4, -2e-5, 1.0]), (lambda x: np.maximum(x, 0.0), [1e-5, -1e-4, 1.0]),
    (lambda x: np.median(x), [1.0, 1.0002, 1.0004]), (lambda x: np.sqrt(x), [1e-4, 2e-3, 1.0]),
    (lambda x: np.floor(x) * x, [1.0002, 3.9999, 0.5]),
])
def test_a_kink_beside_the_point_is_no_fault(f, x):
    check_grads(f, [np.array(x)])


def test_steps_to_one_side():
    check_grads(lambda x: np.where(x > 1, x**2, x), [np.array([1.0, 3.0])], order=1)


@pytest.mark.parametrize("error", [1e-4, 0.1, 1.0, -3.0])
@pytest.mark.parametrize("f", [np.sin, lambda x: np.abs(x - 0.5), np.exp, lambda x: np.floor(x) * x])
def test_wrong_derivatives_are_found(f, error):
    @ad.custom_gradient
    def wrong(x):
        return f(x), lambda y_bar: y_bar * (ad.grad(lambda x: np.sum(f(x)))(x.numpy()) + error)

    for x in (np.array([0.3, 0.7]), np.array([0.3, 0.5004])):
        with pytest.raises(AssertionError, match="central differences"):
            check_grads(wrong, [x], order=1, modes=["reverse"])
