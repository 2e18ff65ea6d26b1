"""Programs: how they are printed, counted and run."""
import numpy as np
import pytest
from programs import Builder, values_of

import ad
from ad.compiler.ir.graph import Graph
from ad.compiler.program import Program


def test_text():
    b = Builder()
    x = b.input(np.ones((3, 4), np.float32))
    y = b.getitem(x, params=((slice(1, None), None, slice(None, None, -1)),), line="/home/me/rosen.py:3")
    z = b.add(b.multiply(2.0, y, line="/home/me/rosen.py:4"), np.float64(0.5))
    w = b.multiply(b.sum(z, params=(0, True)), np.arange(4.0))
    assert str(b.program(z, x, w)) == """\
inputs  %0: float32[3,4]
%7 = constant [0., 1., 2., 3.]    float64[4]
%1 = getitem %0 [1:, None, ::-1]  float32[2,1,4]  rosen.py:3
%3 = multiply 2.0 %1              float32[2,1,4]  rosen.py:4
%5 = add %3 float64(0.5)          float64[2,1,4]
%6 = sum %5 axis=0 keepdims=True  float64[1,1,4]
%8 = multiply %6 %7               float64[1,1,4]
outputs %5, %0, %8"""


def test_text_of_several_outputs_and_of_large_arrays():
    b = Builder()
    w, _ = b.eigh_parts(b.constant(np.eye(100)), params=("L",))
    lines = str(b.program(w)).splitlines()
    assert lines[0] == "inputs"
    assert lines[1].startswith("%0 = constant [[1., 0., ..., 0., 0.]")
    assert len(lines[1]) < 80
    assert lines[2].startswith("%1, %2 = eigh_parts %0 UPLO='L'")


def test_a_program_is_a_value():
    program = Program(Graph((), (), (), {}, ()))
    assert len(program) == 0
    assert program
    assert repr(program) == "<program of 0 instructions, 0 inputs, 0 outputs>"
    with pytest.raises(AttributeError):
        program.inputs = (1,)


@pytest.mark.parametrize(("build", "operations", "bytes"), [
    (lambda b, x: b.sin(x), 6, 96), (lambda b, x: b.multiply(x, 2.0), 6, 104),
    (lambda b, x: b.sum(x, params=(1, False)), 6, 64), (lambda b, x: b.transpose(x, params=(None,)), 0, 96),
    (lambda b, x: b.getitem(x, params=(0,)), 0, 48), (lambda b, x: b.cumsum(x, params=(0,)), 6, 96),
    (lambda b, x: b.contract(x, np.ones((3, 4)), params=("...ab,...bc->...ac",)), 48, 48 + 96 + 64),
    (lambda b, x: b.matmul(x, np.ones((3, 4))), 48, 48 + 96 + 64), (lambda b, x: b.inv(np.eye(4)), 64, 256),
    (lambda b, x: b.fft(np.ones((2, 4)), params=(None, -1, None)), 80, 64 + 128),
    (lambda b, x: b.rfft(np.ones((2, 4)), params=(None, -1, None)), 40, 64 + 96),
], ids=str)
def test_cost(build, operations, bytes):
    b = Builder()
    program = b.program(build(b, b.input(np.ones((2, 3)))))
    assert program.cost() == (operations, bytes)


def test_outputs_that_are_inputs_and_constants():
    b = Builder()
    x = b.input(3.0)
    assert values_of(b.program(x, b.constant(2.0), x), [3.0]) == [3.0, 2.0, 3.0]


# -- derivatives -----------------------------------------------------------------------------------


def mixed(x, parts):
    return np.sin(x) * parts["y"] + np.exp(parts["z"]), (x * x[::-1]).sum()


def energy(x, parts):
    y, z = mixed(x, parts)
    return (y ** 2).sum() * z


def sample(rng):
    return rng.normal(size=4), {"y": rng.normal(size=4), "z": float(rng.normal())}


def assert_alike(found, expected):
    (a, structure), (b, wanted) = ad.trees.flatten(found), ad.trees.flatten(expected)
    assert structure == wanted
    for x, y in zip(a, b):
        assert type(x) is type(y)
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_derivatives_of_a_program_are_those_of_the_function(rng):
    program, scalar = ad.record(mixed)(*sample(rng)), ad.record(energy)(*sample(rng))
    for _ in range(3):
        primals, direction = sample(rng), sample(rng)
        y_bar = rng.normal(size=4), 2.0
        assert_alike(program.jvp(primals, direction), ad.jvp(mixed, primals, direction))
        y, pull = ad.vjp(mixed, *primals)
        assert_alike(program.vjp(primals, y_bar), (y, pull(y_bar)))
        assert_alike(scalar.hvp(primals, direction), ad.hvp(energy, (0, 1))(*primals, direction))


def test_derivatives_of_a_program_are_recorded_once(rng, monkeypatch):
    program = ad.record(energy)(*sample(rng))
    program.hvp(sample(rng), sample(rng))
    monkeypatch.setattr(Program, "interpreted", None)  # which any further recording would need
    program.hvp(sample(rng), sample(rng))


def test_derivatives_of_a_program_hold_for_its_guards():
    program = ad.record(lambda x: x.sum() if x[0] > 0 else x[0])(np.ones(3))
    assert program.vjp([np.ones(3)], 2.0)[1][0].tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="Python would go another way here"):
        program.vjp([-np.ones(3)], 2.0)
    with pytest.raises(ValueError, match=r"input 0 of this program has shape \(3,\)"):
        program.jvp([np.ones(4)], [np.ones(4)])
    with pytest.raises(TypeError, match="the cotangent has a str in it"):
        program.vjp([np.ones(3)], "y")


def test_derivatives_of_a_program_differentiated(rng):
    x = rng.normal(size=4)
    program = ad.record(lambda x: np.sin(x) * x[::-1])(x)
    found = ad.jacobian(lambda x: program.vjp([x], np.ones(4))[1][0])(x)
    np.testing.assert_allclose(found, ad.hessian(lambda x: (np.sin(x) * x[::-1]).sum())(x), rtol=1e-12, atol=1e-14)
