"""Code as users write it, for the type checker: `tests/test_types.py` checks it strictly, and runs it."""
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import ad
import ad.fft
import ad.linalg
import ad.special
from ad.linalg import det
from ad.special import logsumexp

Vector = NDArray[np.float64]


def rosen(x: ad.Array) -> ad.Array:
    return ad.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosen_numpy(x: Vector) -> np.floating[Any]:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def transforms(x: Vector) -> Vector:
    value, gradient = ad.value_and_grad(rosen)(x)
    y, pullback = ad.vjp(rosen, x)
    y, y_dot, aux = ad.jvp(lambda x: (rosen(x), "aux"), (x,), (np.ones_like(x),), has_aux=True)
    y, f_jvp = ad.linearize(rosen, x)
    newton: Vector = x - np.linalg.solve(ad.hessian(rosen_numpy)(x), gradient)
    assert np.allclose(pullback(1.0)[0], ad.grad(rosen, argnums=0)(x))
    assert np.allclose([f_jvp(gradient), y_dot], [gradient @ gradient, np.sum(gradient)])
    assert value == y and aux == "aux"
    return newton


@ad.ops.custom(vjp=lambda y_bar, x, y: 2 * y_bar * x)
def sum_of_squares(x: Vector) -> float:
    return float(np.sum(x**2))


halved = ad.ops.linear(lambda x: x / 2, transpose=lambda y_bar, x: y_bar / 2)


def own_ops(x: Vector) -> float:
    assert_type(sum_of_squares(x), float)
    return sum_of_squares(halved(x))


@ad.compile
def compiled(x: Vector, n: int = 2) -> Vector:
    return x**n


def programs(x: Vector) -> Vector:
    assert_type(compiled(x, n=2), Vector)
    program = ad.record(compiled)(x)
    assert_type(program, ad.Program)
    assert program.cost().operations == len(program) * x.size
    return ad.compile(ad.grad(lambda x: ad.sum(program(x))), check=True)(x)  # type: ignore[no-any-return]


def arrays(x: ad.Array, a: Vector) -> ad.Array:
    assert_type(x + a, ad.Array)
    assert_type(2.0 * x - 1, ad.Array)
    assert_type(x @ a, ad.Array)
    assert_type(-x[0] ** 2, ad.Array)
    assert_type(ad.sin(x), ad.Array)
    assert_type(ad.maximum(x, 0.0), ad.Array)
    assert_type(ad.matmul(a, x), ad.Array)
    assert_type(ad.stack([x, ad.exp(x)], axis=1), ad.Array)
    assert_type(ad.special.gammaln(x), ad.Array)
    assert_type(logsumexp(x), ad.Array)
    assert_type(det(ad.diag(x)), ad.Array)
    assert_type(ad.fft.fft(x), ad.Array)
    assert_type(ad.linalg.norm(x), ad.Array)
    assert_type(x.reshape(-1, 1).sum(axis=0, keepdims=True), ad.Array)
    assert_type(x.shape, tuple[int, ...])
    return ad.mean(ad.where(x > 0, x, ad.constant(0.0)))


def training() -> float:
    x = ad.Variable([-1.0, 2.0], name="x")
    for _ in range(100):
        with ad.GradientTape() as tape:
            loss = ad.sum(x**2)
        gradients = tape.gradient(loss, [x])
        assert_type(gradients, list[ad.Array])
        x.assign_sub(0.1 * gradients[0])
    with ad.GradientTape(persistent=True) as tape:
        tape.watch({"x": x})
        y = x * x
    assert_type(tape.gradient(y, x), ad.Array)
    assert_type(tape.jacobian(y, x).numpy().shape, Any)
    return float(ad.sum(x.assign_add([1.0, 1.0]).assign_sub([1.0, 1.0])))


class SignDescent(ad.optimizers.Optimizer):
    def update(self, x: Vector, gradient: Vector, learning_rate: float) -> Vector:
        return x - learning_rate * np.sign(gradient)


def optimizers() -> Vector:
    x = ad.Variable([1.0, 2.0])
    schedule = ad.optimizers.schedules.CosineDecay(0.5, decay_steps=10, warmup_target=None)
    for optimizer in (SignDescent(schedule), ad.optimizers.AdamW(lambda: 0.1, amsgrad=True, global_clipnorm=1.0)):
        assert_type(optimizer.learning_rate, float)
        optimizer.minimize(lambda: ad.sum(x**2), [x])
        with ad.GradientTape() as tape:
            loss = ad.sum(x**2)
        optimizer.apply_gradients(zip(tape.gradient(loss, [x]), [x]))
        optimizer.learning_rate = 0.1
    again = ad.optimizers.AdamW.from_config(optimizer.get_config())
    assert_type(again, ad.optimizers.AdamW)
    again.load_state(optimizer.state(), x)
    value: Vector = x.numpy()
    return value


def minimum(x: Vector) -> Vector:
    found: Vector = ad.optimize.minimize(rosen_numpy, x, method="trust-exact", options={"gtol": 1e-9}).x
    assert np.allclose(found, ad.optimize.root(ad.grad(rosen), found, tol=1e-12).x)
    popt, pcov = ad.optimize.curve_fit(lambda t, a: a * np.exp(-t), x, 2 * np.exp(-x), p0=[1.0])
    residuals = ad.optimize.least_squares(lambda x: x**2 - 2, popt, method="lm", args=())
    assert np.allclose(residuals.x**2, 2) and pcov.shape == (1, 1)
    return found


def duals() -> float:
    x = ad.Dual(2.0, 1.0)
    with ad.ForwardAccumulator(ad.constant([1.0]), [1.0]) as accumulator:
        pass
    assert accumulator.jvp(ad.constant(1.0), unconnected_gradients="zero") == 0
    y = ad.sin(x) * x
    return float(y.tangent if isinstance(y, ad.Dual) else 0)


@ad.custom_gradient
def log1pexp(x: ad.Array) -> tuple[ad.Array, Any]:
    e = ad.exp(x)
    return ad.log(1 + e), lambda y_bar: y_bar * (1 - 1 / (1 + e))


def mistakes(x: ad.Array) -> None:
    """What the checker must refuse: an ignored line without an error is an error of its own."""
    ad.grad(3)  # type: ignore[arg-type]
    ad.jacobian(rosen, mode="backward")  # type: ignore[arg-type]
    ad.GradientTape(persistence=True)  # type: ignore[call-arg]
    ad.Variable(3.0).shape = ()  # type: ignore[misc]
    ad.sine(x)  # type: ignore[attr-defined]
    ad.sum(x, axes=0)  # type: ignore[call-arg]
    ad.compile(3.0)  # type: ignore[call-overload]
    compiled("x")  # type: ignore[arg-type]
    log1pexp("x")  # type: ignore[arg-type]
    ad.Array([1.0])  # type: ignore[arg-type]
    ad.optimizers.Adam(beta1=0.9)  # type: ignore[call-arg]
    ad.optimizers.SGD("fast")  # type: ignore[arg-type]
    ad.optimizers.Optimizer(rho=0.9)  # type: ignore[arg-type]
    ad.optimize.minimize(rosen, x, gtol=1e-3)  # type: ignore[call-arg]
    ad.optimize.least_squares(rosen, x, method="bfgs")  # type: ignore[arg-type]
