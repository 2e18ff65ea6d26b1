"""Gradients of some models, plain and compiled: their times, and the ratios to the function by plain NumPy."""
import numpy as np

import ad

from .problems import best


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_sum_exp(x, axis=-1):
    top = np.max(x, axis=axis, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=axis)) + np.squeeze(top, axis=axis)


# -- an LSTM: the next of a sequence of characters, each a row of bits or a one-hot row -------------


def lstm_cell(weights, bias, x, h, c):
    n = h.shape[0]
    z = weights @ np.concatenate([x, h]) + bias
    c = sigmoid(z[n : 2 * n]) * c + sigmoid(z[:n]) * np.tanh(z[3 * n :])
    return sigmoid(z[2 * n : 3 * n]) * np.tanh(c), c


def lstm(layers, output, sequence):
    """The negative log-likelihood of each row of a sequence given those before it."""
    states = [(np.zeros(len(bias) // 4), np.zeros(len(bias) // 4)) for _, bias in layers]
    weights, bias = output
    loss = 0.0
    for x, wanted in zip(sequence[:-1], sequence[1:]):
        for i, layer in enumerate(layers):
            states[i] = lstm_cell(*layer, x, *states[i])
            x = states[i][0]
        logits = weights @ x + bias
        loss = loss + log_sum_exp(logits) - wanted @ logits
    return loss / (len(sequence) - 1)


def lstm_problem(rng, features=14, hidden=50, length=100):
    widths = [features, hidden, hidden]
    layers = [(0.1 * rng.standard_normal((4 * n, m + n)), 0.1 * rng.standard_normal(4 * n))
              for m, n in zip(widths, widths[1:])]
    output = 0.1 * rng.standard_normal((features, hidden)), 0.1 * rng.standard_normal(features)
    return layers, output, np.eye(features)[rng.integers(features, size=length)]


# -- a Gaussian process ----------------------------------------------------------------------------


def gaussian_process(theta, x, y):
    """The negative log marginal likelihood; `theta` has the logarithms of length scales, amplitude and noise."""
    d = x.shape[1]
    scaled = x / np.exp(theta[:d])
    norms = np.sum(scaled**2, axis=1)
    squares = norms[:, None] + norms - 2 * (scaled @ scaled.T)
    k = np.exp(2 * theta[d] - 0.5 * squares) + np.exp(2 * theta[d + 1]) * np.eye(len(x))
    factor = np.linalg.cholesky(k)
    white = np.linalg.solve(factor, y)
    return 0.5 * white @ white + np.sum(np.log(np.diag(factor))) + 0.5 * len(x) * np.log(2 * np.pi)


def gaussian_process_problem(rng, n=1000, d=3):
    x = rng.standard_normal((n, d))
    return np.log([0.5, 1.0, 2.0, 1.5, 0.3]), x, np.sin(x[:, 0]) + 0.3 * rng.standard_normal(n)


# -- a mixture of Gaussians, as in ADBench: full covariances by the factor of their inverse ------------------


def gaussian_mixture(alphas, means, factors, x):
    """The negative log-likelihood; a row of `factors` has the logarithms of a diagonal, then the rest of a triangle."""
    d = x.shape[1]
    rows, columns = np.tril_indices(d, -1)
    places = np.zeros((d, d), int)
    places[rows, columns] = d + np.arange(len(rows))
    places[np.arange(d), np.arange(d)] = np.arange(d)
    filled = factors[:, places]
    q = np.where(np.eye(d, dtype=bool), np.exp(filled), np.tril(np.ones((d, d)), -1) * filled)
    z = (x - means[:, None, :]) @ np.swapaxes(q, 1, 2)
    terms = (alphas + np.sum(factors[:, :d], axis=1))[:, None] - 0.5 * np.sum(z**2, axis=2)
    return (0.5 * d * np.log(2 * np.pi) + log_sum_exp(alphas)) * len(x) - np.sum(log_sum_exp(terms, axis=0))


def gaussian_mixture_problem(rng, d=20, k=50, n=1000):
    alphas, means = rng.standard_normal(k), rng.standard_normal((k, d))
    return alphas, means, 0.1 * rng.standard_normal((k, d * (d + 1) // 2)), rng.standard_normal((n, d))


# -- particles that attract and repel each other in pairs ---------------------------------------------


PAIRS = np.triu_indices(50, 1)


def particles(x):
    """The energy of Lennard-Jones: of each pair 4 (r^-12 - r^-6)."""
    first, second = PAIRS
    steps = x[first] - x[second]
    attraction = 1 / np.sum(steps**2, axis=1) ** 3
    return np.sum(4 * (attraction**2 - attraction))


def particles_problem(rng):
    return (3 * rng.standard_normal((50, 3)),)


# -- a Kalman filter: many products of small matrices --------------------------------------------------


def kalman_filter(noise, steps, measuring, measured):
    """The negative log-likelihood of what was measured, with variances of the steps and of the measurements."""
    n, m = len(steps), len(measuring)
    x, covariance, loss = np.zeros(n), np.eye(n), 0.0
    for y in measured:
        x, covariance = steps @ x, steps @ covariance @ steps.T + noise[0] * np.eye(n)
        spread = measuring @ covariance @ measuring.T + noise[1] * np.eye(m)
        surprise = y - measuring @ x
        loss = loss + surprise @ np.linalg.solve(spread, surprise) + np.log(np.linalg.det(spread))
        gain = covariance @ measuring.T @ np.linalg.inv(spread)
        x, covariance = x + gain @ surprise, (np.eye(n) - gain @ measuring) @ covariance
    return 0.5 * loss


def kalman_filter_problem(rng, length=50):
    return np.array([0.1, 1.0]), np.eye(4) + 0.1 * np.eye(4, k=1), np.eye(2, 4), rng.standard_normal((length, 2))


# -- the benchmarks ---------------------------------------------------------------------------------

MODELS = {  # the function, a problem, and what of its arguments has a gradient
    "lstm": (lstm, lstm_problem, (0, 1)),
    "gaussian_process": (gaussian_process, gaussian_process_problem, (0,)),
    "gaussian_mixture": (gaussian_mixture, gaussian_mixture_problem, (0, 1, 2)),
    "particles": (particles, particles_problem, (0,)),
    "kalman_filter": (kalman_filter, kalman_filter_problem, (0,)),
}


class Models:
    params = [list(MODELS)]
    param_names = ["model"]

    def setup(self, name):
        self.f, problem, argnums = MODELS[name]
        self.args = problem(np.random.default_rng(1))
        self.gradient = ad.grad(self.f, argnums=argnums)
        self.compiled = ad.compile(self.gradient)
        self.compiled(*self.args)
        self.compiled(*self.args)

    def time_value(self, name):
        self.f(*self.args)

    def time_gradient(self, name):
        self.gradient(*self.args)

    def time_compiled(self, name):
        self.compiled(*self.args)

    def time_first_call(self, name):
        ad.compile(self.gradient)(*self.args)

    def track_gradient_by_value(self, name):
        return best(lambda: self.gradient(*self.args)) / best(lambda: self.f(*self.args))

    def track_compiled_by_value(self, name):
        return best(lambda: self.compiled(*self.args)) / best(lambda: self.f(*self.args))

    track_gradient_by_value.unit = track_compiled_by_value.unit = "ratio"
