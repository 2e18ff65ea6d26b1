"""GradientTape: Jacobians of whole arrays and row by row."""

import numpy as np
import pytest

import ad


@pytest.fixture
def x():
    return ad.Variable(3.0)


def test_jacobian_has_the_shape_of_target_and_source():
    v, w = ad.Variable([1.0, 2.0, 3.0]), ad.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    with ad.GradientTape(persistent=True) as tape:
        y = v * w
    found = tape.jacobian(y, {"v": v, "w": [w]})
    expected = np.zeros((2, 3, 3))
    expected[:, range(3), range(3)] = w.numpy()
    np.testing.assert_array_equal(found["v"].numpy(), expected)
    np.testing.assert_array_equal(
        found["w"][0].numpy(), np.einsum("ik,jl,j->ijkl", np.eye(2), np.eye(3), v.numpy())
    )


def test_jacobian_of_numbers_and_from_numbers(x):
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape(persistent=True) as tape:
        y = x * v
        z = x * x
    np.testing.assert_array_equal(tape.jacobian(y, x).numpy(), [1.0, 2.0])
    assert tape.jacobian(z, x).numpy() == 6.0
    assert tape.jacobian(z, x).shape == ()


def test_jacobian_of_what_is_not_connected(x):
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
    assert tape.jacobian(y, x) is None
    assert tape.jacobian(y, [v, x])[1] is None
    np.testing.assert_array_equal(
        tape.jacobian(x, v, unconnected_gradients="zero", parallel_iterations=2, experimental_use_pfor=False).numpy(),
        [0.0, 0.0],
    )
    assert tape.jacobian(y, x, unconnected_gradients="zero").shape == (2,)


def test_jacobian_of_an_empty_target():
    v = ad.Variable(np.ones((0, 2)))
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
    assert tape.jacobian(y, v).shape == (0, 2, 0, 2)
    assert tape.batch_jacobian(y, v).shape == (0, 2, 2)


def test_jacobian_inside_its_own_block(x):
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = x * v
        np.testing.assert_array_equal(tape.jacobian(y, v).numpy(), [[3.0, 0.0], [0.0, 3.0]])
        assert (x * x).is_constant


def test_hessian_as_the_jacobian_of_a_gradient():
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = v * v * v
        g = inner.gradient(y, v)
    np.testing.assert_array_equal(outer.jacobian(g, v).numpy(), [[6.0, 0.0], [0.0, 12.0]])


def test_gradient_of_a_jacobian():
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = v * v * v
        j = inner.jacobian(y, v)
    np.testing.assert_array_equal(outer.gradient(j, v).numpy(), [6.0, 12.0])


def test_batch_jacobian():
    v = ad.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
        z = v[:, :2] * v[:, 1:]
    expected = np.zeros((2, 3, 3))
    expected[:, range(3), range(3)] = 2 * v.numpy()
    np.testing.assert_array_equal(tape.batch_jacobian(y, v).numpy(), expected)
    rows = tape.jacobian(z, v).numpy()[range(2), :, range(2)]
    np.testing.assert_array_equal(tape.batch_jacobian(z, v).numpy(), rows)


@pytest.mark.parametrize("transform", ["jacobian", "batch_jacobian"])
def test_recorded_jacobian_of_a_tape_is_one_sweep_whatever_its_rows(transform):
    def derivative(x):
        with ad.GradientTape() as tape:
            tape.watch(x)
            y = np.sin(x) * x[:, :1]
        return getattr(tape, transform)(y, x)

    short, long = np.random.default_rng(1).random((2, 3)), np.random.default_rng(2).random((2, 7))
    programs = [ad.record(derivative)(ad.constant(x)) for x in (short, long)]
    assert len({len(program.instructions) for program in programs}) == 1
    np.testing.assert_allclose(programs[1](long), derivative(ad.constant(long)).numpy(), rtol=1e-15)


@pytest.mark.parametrize("room", [1, 1 << 16])
def test_rows_without_a_connection_are_zeros_among_others(room, monkeypatch):
    monkeypatch.setattr("ad.transforms.jacobians.MAX_LANE_ELEMENTS", room)

    @ad.custom_gradient
    def last_only(x):
        return x * 1.0, lambda y_bar: y_bar * 2.0 if y_bar[1] else None

    expected = [[0.0, 0.0], [0.0, 2.0]]
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = last_only(v)
    np.testing.assert_array_equal(tape.jacobian(y, v).numpy(), expected)
    np.testing.assert_array_equal(ad.jacobian(last_only, mode="reverse")(v.numpy()), expected)


def test_batch_jacobian_errors_and_zeros(x):
    v, w, flat = ad.Variable(np.ones((2, 3))), ad.Variable(np.ones((4, 3))), ad.Variable(np.ones(2))
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
        f = flat * flat
    with pytest.raises(ValueError, match="must have rank at least 2"):
        tape.batch_jacobian(f, v)
    with pytest.raises(ValueError, match="must have rank at least 2"):
        tape.batch_jacobian(y, flat)
    with pytest.raises(ValueError, match="first dimension"):
        tape.batch_jacobian(y, w)
    other = ad.Variable(np.ones((2, 4)))
    np.testing.assert_array_equal(tape.batch_jacobian(y, other).numpy(), np.zeros((2, 3, 4)))
    with ad.GradientTape() as once:
        y = v * v
    once.batch_jacobian(y, v)
    with pytest.raises(RuntimeError, match="persistent=True"):
        once.batch_jacobian(y, v)
