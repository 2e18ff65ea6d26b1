"""Random expressions: forward, reverse and numerical derivatives agree, to second order and nested."""
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ad
from ad.testing import check_grads

# Each keeps its result of size about 1, so that differences of any depth stay accurate.
UNARY = [
    np.sin, np.cos, np.tanh, np.arctan, np.arcsinh, np.negative, lambda x: np.exp(-x * x), lambda x: 1 / (1 + x * x),
    lambda x: np.log1p(x * x), lambda x: np.sqrt(1 + x * x), lambda x: np.sin(x) ** 3, lambda x: 0.5 * np.square(x),
    lambda x: np.where(x > 0.123, np.sin(x), x), lambda x: np.logaddexp(x, 0.0),
]
BINARY = [
    np.add, np.subtract, lambda a, b: np.sin(a) * np.cos(b), lambda a, b: a / (1.5 + np.tanh(b)), np.logaddexp,
    lambda a, b: np.hypot(a, 1 + b * b), lambda a, b: (1.5 + np.tanh(a)) ** np.sin(b),
]
SHAPING = [  # of a 2 x 3 array, to what broadcasts with one
    lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x[0], lambda x: x[:, :1], lambda x: x[:, [2, 0, 0]],
    lambda x: np.reshape(np.transpose(x), (2, 3)), lambda x: np.sum(x, axis=0) / 2, lambda x: np.mean(x),
    lambda x: np.concatenate([x[:, 1:], x[:, :1]], axis=1), lambda x: np.cumsum(x, axis=1) / 3,
    lambda x: np.max(x, axis=1, keepdims=True), lambda x: (x @ np.transpose(x)) @ x / 6,
    lambda x: np.einsum("ij,ik->jk", x, x)[:2] / 2,
]


def expressions():
    """Functions of two 2 x 3 arrays, grown from the leaves up."""
    leaves = st.sampled_from([lambda x, y: x, lambda x, y: y])

    def grow(parts):
        return st.one_of(
            st.builds(lambda f, a: lambda x, y: f(a(x, y)), st.sampled_from(UNARY), parts),
            st.builds(lambda f, a, b: lambda x, y: f(a(x, y), b(x, y)), st.sampled_from(BINARY), parts, parts),
            st.builds(lambda f, a: lambda x, y: f(a(x, y) + 0 * x), st.sampled_from(SHAPING), parts),
        )

    return st.recursive(leaves, grow, max_leaves=6)


points = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).uniform(-1, 1, (2, 2, 3)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(expressions(), points)
def test_every_mode_against_differences(f, xs):
    check_grads(f, list(xs), rtol=1e-4, atol=1e-4, directions=1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(expressions(), points)
def test_forward_and_reverse_are_adjoint(f, xs):
    """<y_bar, J x_dot> is <J' y_bar, x_dot>, to the last digits."""
    rng = np.random.default_rng(0)
    x_dots = tuple(rng.uniform(-1, 1, (2, 3)) for _ in xs)
    y, y_dot = ad.jvp(f, tuple(xs), x_dots)
    y_bar = rng.uniform(-1, 1, np.shape(y))
    x_bars = ad.vjp(f, *xs)[1](y_bar)
    pushed = np.sum(y_bar * np.asarray(y_dot))
    pulled = sum(np.sum(np.asarray(x_bar) * x_dot) for x_bar, x_dot in zip(x_bars, x_dots) if x_bar is not None)
    np.testing.assert_allclose(pushed, pulled, rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(expressions(), points)
def test_third_derivatives_by_any_nesting(f, xs):
    """Along one line through the point, forward and reverse levels in every order."""
    x, y = xs

    def line(t):
        return np.sum(np.sin(f(x + t * y, y - 0.5 * t)))

    def forward(g):
        return lambda t: ad.jvp(g, (t,), (1.0,))[1]

    nestings = [
        ad.grad(ad.grad(ad.grad(line))), forward(forward(forward(line))), ad.grad(forward(ad.grad(line))),
        forward(ad.grad(forward(line))),
    ]
    found = [float(g(0.1)) for g in nestings]
    np.testing.assert_allclose(found, found[0], rtol=1e-8, atol=1e-8)
