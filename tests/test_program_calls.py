"""Programs: called as the function was, differentiated, from many threads; what is refused, with which words."""
import dataclasses
import functools
import pickle

import numpy as np
import pytest
from programs import Builder
from recordings import Layer, Point, assert_close, assert_equal, in_threads, rosen

import ad
from ad.compiler.ir.guards import Guard
from ad.compiler.passes import pipeline
from ad.compiler.program import Program
from ad.ops.nondifferentiable import nondifferentiable_op


def affine(params, x, *, scale=2.0, how="sum"):
    y = params["w"] @ x + params["b"]
    return {"y": y * scale, "total": np.sum(y) if how == "sum" else np.prod(y), "how": how, "none": None}


@pytest.fixture
def program(rng):
    return ad.record(affine)({"w": rng.random((2, 3)), "b": rng.random(2)}, rng.random(3), scale=3.0)


@pytest.mark.parametrize("again", ["itself", "pickled", "loaded"])
def test_a_program_is_called_as_the_function(program, again, rng, tmp_path):
    if again == "pickled":
        program = pickle.loads(pickle.dumps(program))
    elif again == "loaded":
        program.save(tmp_path / "affine.ad")
        program = ad.load(tmp_path / "affine.ad")
    for _ in range(2):
        params, x, scale = {"b": rng.random(2), "w": rng.random((2, 3))}, rng.random(3), rng.random()
        assert_equal(program(params, x, scale=scale), affine(params, x, scale=scale))


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [
    (({"w": np.ones((2, 4)), "b": np.ones(2)}, np.ones(3)), {"scale": 1.0}, ValueError, r"shape \(2, 3\)"),
    (({"w": np.ones((2, 3)) + 1j, "b": np.ones(2)}, np.ones(3)), {"scale": 1.0}, ValueError, "complex128"),
    (({"w": np.ones((2, 3))}, np.ones(3)), {"scale": 1.0}, TypeError, r"parts \['w'\] where"),
    (({"w": np.ones((2, 3)), "b": np.ones(2)},), {"scale": 1.0}, TypeError, "called with 1 positional argument"),
    (({"w": np.ones((2, 3)), "b": np.ones(2)}, np.ones(3)), {}, TypeError, "scale"),
    (({"w": np.ones((2, 3)), "b": np.ones(2)}, "text"), {"scale": 1.0}, ValueError, "dtype"),
    (({"w": np.ones((2, 3)), "b": np.ones(2)}, None), {"scale": 1.0}, TypeError, "NoneType|None"),
], ids=range(7))
def test_a_program_called_wrongly(program, args, kwargs, error, message):
    with pytest.raises(error, match=message) as found:
        program(*args, **kwargs)
    assert "\n" not in str(found.value) and str(found.value).startswith("ad")


@pytest.mark.parametrize("call", [
    lambda p, x: p(x), lambda p, x: p(ad.constant(x)), lambda p, x: ad.jacobian(p)(x), lambda p, x: ad.compile(p)(x)])
def test_inputs_are_those_of_the_recording_in_every_way_of_a_call(call):
    program = ad.record(lambda x: x * 2)(np.ones(3, np.float32))
    for x in (np.ones(4, np.float32), np.ones(3), np.ones((1, 3), np.float32), np.ones(3, np.complex64)):
        with pytest.raises(ValueError, match="input 0 of this program has shape"):
            call(program, x)
    call(program, np.ones(3, np.float32))
    assert ad.record(lambda x: x * 2)(1.0)(3) == 6.0


def test_variables_among_the_arguments_are_inputs():
    w, unused, other = ad.Variable([1.0, 2.0]), ad.Variable(1.0), ad.Variable(3.0)
    program = ad.record(lambda unused, w, x: w * x * other)(unused, w, 2.0)
    other.assign(5.0)
    np.testing.assert_array_equal(program(unused, np.array([1.0, 10.0]), 3.0), [9.0, 90.0])
    np.testing.assert_array_equal(program(np.ones(()), w, 3.0).numpy(), [9.0, 18.0])


def test_a_fixed_argument_cannot_be_another():
    program = ad.record(affine)({"w": np.ones((1, 1)), "b": np.ones(1)}, np.ones(1), how="product")
    params = {"w": np.full((1, 1), 3.0), "b": np.ones(1)}
    assert program(params, np.ones(1), how="product")["total"] == 4.0
    with pytest.raises(ValueError, match="'product'.*'sum'"):
        program(params, np.ones(1), how="sum")
    small = np.ones(2, np.float32)
    for number, other in ((np.nan, 1.0), (0.0, -0.0), (complex(0.0, -0.0), 0j)):
        program = ad.record(lambda x, number: x * number)(small, number)
        np.testing.assert_array_equal(program(small, pickle.loads(pickle.dumps(number))), small * number)
        with pytest.raises(ValueError, match="recorded with the argument"):
            program(small, other)
    texts = np.array(["a", "b"])
    program = ad.record(lambda x, texts: x * len(texts))(1.0, texts)
    assert program(2.0, texts) == program(2.0, texts.copy()) == 4.0
    with pytest.raises(ValueError, match="recorded with the argument"):
        program(2.0, texts[:1])


def test_out(rng):
    program = ad.record(lambda x, y: (x * y, [np.sum(x), np.sin(y)]))(rng.random(3), rng.random(3))
    x, y = rng.random(3), rng.random(3)
    a, b, c = np.empty(3), np.empty(()), np.empty((3, 2))[:, 0]
    found = program(x, y, out=(a, [b, c]))
    assert found[0] is a and found[1][1] is c
    for got, wanted in zip((a, b, c), (x * y, np.sum(x), np.sin(y))):
        np.testing.assert_allclose(got, wanted)
    for wrong in (np.empty(2), [a, [b]], (a, [b, np.empty(4)]), 3.0):
        with pytest.raises((TypeError, ValueError), match="out"):
            program(x, y, out=wrong)
    one = ad.record(np.sin)(x)
    np.testing.assert_allclose(one(x, out=x), np.sin(y * 0 + x) * 0 + x)


@pytest.mark.parametrize("wrap", [ad.constant, ad.Variable])
def test_out_beside_arrays_of_ours(wrap):
    program, out = ad.record(lambda x, y: (y, x * 2))(np.ones(3), np.ones(3)), (np.zeros(3), np.zeros(3))
    x = np.array([1.0, 2.0, 3.0])
    found = program(wrap(x), ad.constant(-x), out=out)
    assert found[0] is out[0] and found[1] is out[1]
    np.testing.assert_array_equal(out, [-x, 2 * x])
    program(ad.constant(out[0]), out[1], out=out)  # each is another's input
    np.testing.assert_array_equal(out, [2 * x, -2 * x])


@pytest.mark.parametrize("call", [
    lambda p, x, out: ad.grad(lambda x: np.sum(p(x, out=out)))(x), lambda p, x, out: p(ad.Dual(x, x), out=out),
    lambda p, x, out: ad.compile(lambda x: p(x, out=out))(x)])
def test_out_is_refused_where_it_would_cut_off(call):
    program, out = ad.record(lambda x: x * 2)(np.ones(3)), np.zeros(3)
    with pytest.raises(TypeError, match="ad: a program cannot write .* into a plain ndarray"):
        call(program, np.ones(3), out)
    assert not out.any()


def test_what_is_refused_writes_nothing():
    x, out = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    program = ad.record(lambda x: x * 2 if x[0] > 0 else x)(x)
    assert program(x, out=out) is out and out.tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(ValueError, match="Python would go another way"):
        program(-x, out=out)
    assert out.tolist() == [2.0, 4.0, 6.0]
    pair, small = ad.record(lambda x: (x * 2, x * 3))(x), np.zeros(3, np.float32)
    with pytest.raises(TypeError, match=r"ad: out\[1\] has dtype int64, to which a result of dtype float64 cannot be"):
        pair(x, out=(out, np.zeros(3, np.int64)))
    assert out.tolist() == [2.0, 4.0, 6.0]
    assert pair(x, out=(small, out))[0].dtype == np.float32 and small.tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("again", [lambda p: p, lambda p: pickle.loads(pickle.dumps(p))])
def test_guards_of_a_program(again):
    def f(x, n):
        y = x * 2 if np.sum(x) > 0 else x
        return y * int(x[0]) + float(np.rint(x[1])) + n

    program = again(ad.record(f)(np.array([2.5, 1.0]), 3))
    np.testing.assert_allclose(program(np.array([2.75, 1.25]), 3), f(np.array([2.75, 1.25]), 3))
    line = f.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"test_program_calls.py:{line}: Python would go another way .*bool was True"):
        program(np.array([-2.5, 1.0]), 3)
    with pytest.raises(ValueError, match="int was 2, is of .*3.5. now"):
        program(np.array([3.5, 1.0]), 3)
    with pytest.raises(ValueError, match="float was 1.0"):
        program(np.array([2.5, 2.0]), 3)


def test_programs_are_differentiated(rng):
    program = ad.record(rosen)(np.ones(4))
    x = rng.random(4)
    assert_close(ad.grad(program)(x), ad.grad(rosen)(x))
    assert_close(ad.hessian(program)(x), ad.hessian(rosen)(x))
    assert_close(ad.compile(ad.grad(program))(x), ad.grad(rosen)(x))
    assert_close(ad.record(ad.grad(program))(x)(x), ad.grad(rosen)(x))
    w = ad.Variable(x)
    with ad.GradientTape() as tape:
        y = program(w)
    assert_close(tape.gradient(y, w), ad.grad(rosen)(x))


def test_products_with_derivatives_of_a_program(rng):
    def f(x, p):
        return np.sum(np.sin(x) * p["w"] ** 2 * (2 if p["b"] > 0 else 1)) * p["b"]

    def args():
        return rng.random(3), {"w": rng.random(3), "b": rng.random()}

    program = ad.record(f)(*args())
    for _ in range(3):
        xs, dots = args(), args()
        assert_close(program.jvp(xs, dots), ad.jvp(f, xs, dots))
        y, pull = ad.vjp(f, *xs)
        assert_close(program.vjp(xs, 2.0), (y, pull(2.0)))
        product = ad.jvp(ad.grad(f, argnums=(0, 1)), xs, dots)[1]
        assert_close(program.hvp(xs, dots), product)
    with pytest.raises(ValueError, match="Python would go another way"):
        program.jvp((xs[0], {"w": xs[1]["w"], "b": -1.0}), dots)


@pytest.mark.parametrize("f", [
    lambda x: x * (2 if x[0] > 0 else 3), lambda x: x * float(np.rint(x[1])), lambda x: x * int(x[1]),
    lambda x: x[x > 0] * x[x > 0], lambda x: np.sum(x)[np.newaxis] * complex(np.rint(x[1])).real])
def test_programs_with_guards_are_differentiated(f):
    x = np.array([0.25, 1.25, -1.0])
    program = ad.record(f)(x)
    numerical = np.stack([(program(x + dx) - program(x - dx)) / 2e-6 for dx in 1e-6 * np.eye(3)], 1)
    np.testing.assert_allclose(ad.jacobian(program)(x), numerical, atol=1e-6)
    with pytest.raises(ValueError, match="Python would go another way"):
        ad.jacobian(program)(np.array([-0.25, 3.25, 1.0]))


def test_a_program_shows_the_lines_of_the_function():
    text = str(ad.record(rosen)(np.ones(4)))
    line = rosen.__code__.co_firstlineno + 1
    assert text.count(f"recordings.py:{line}") == len(text.splitlines()) - 2
    assert text.startswith("inputs  %0: float64[4]")


def test_a_program_in_eight_threads(rng):
    program = ad.record(ad.hessian(rosen))(rng.random(6))

    def work(i):
        rng = np.random.default_rng(i)
        for _ in range(50):
            x = rng.random(6)
            np.testing.assert_allclose(program(x), ad.hessian(rosen)(x), rtol=1e-11, atol=1e-11)

    in_threads(work)


def test_a_program_of_classes_is_called_but_not_saved(tmp_path):
    program = ad.record(lambda layer: Point(layer.weight * 2, layer.bias))(Layer(1.0, 2.0))
    assert program(Layer(3.0, 4.0)) == Point(6.0, 4.0)
    with pytest.raises(TypeError, match="cannot be saved"):
        program.save(tmp_path / "p.ad")
    assert not list(tmp_path.iterdir())


def test_another_number_of_arguments():
    program = ad.record(lambda x, *, scale: scale * x)(np.ones(3), scale=2.0)
    recorded = "ad: this program was recorded with 1 positional argument and the keyword scale; it was called with "
    for call, found in ((lambda: program(), "0 positional arguments and no keywords"),
                        (lambda: program(np.ones(3), 2.0), "2 positional arguments and no keywords"),
                        (lambda: program(np.ones(3), factor=2.0), "1 positional argument and the keyword factor")):
        with pytest.raises(TypeError) as error:
            call()
        assert str(error.value) == recorded + found


# -- guards and passes ------------------------------------------------------------------------------


def guarded(x):
    """A program of which every pass changes something, and which holds where the sum of its argument is positive."""
    b = Builder()
    x = b.input(x)
    b.cos(x)
    y = b.multiply(b.add(b.sin(x), b.sin(x)), b.exp(b.constant(2.0)))
    products = [b.multiply(b.getitem(b.add(y, i), params=((slice(None), None),)), y) for i in range(4)]
    z = b.multiply(functools.reduce(b.add, products), 1.0)
    is_positive = b.run(nondifferentiable_op(np.greater), (b.sum(x, params=(None, False)), 0.0))
    return Program(b.graph(z, is_positive), guards=(Guard("bool", True),))


@pytest.mark.parametrize("name", [*pipeline.__all__])
def test_a_pass_keeps_guards(name):
    x = np.linspace(0.5, 1.5, 20)
    program = guarded(x)
    found = dataclasses.replace(program, graph=getattr(pipeline, name)(program.graph))
    assert found.graph is not program.graph
    np.testing.assert_allclose(found(x), program(x), rtol=1e-12)
    for other in (program, found):
        with pytest.raises(ValueError, match="Python would go another way here"):
            other(-x)
