"""Sparse Jacobians and Hessians against dense ones."""
import numpy as np
import pytest

import ad

sparse = pytest.importorskip("scipy.sparse")


def chained_rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def springs(x):
    p = x.reshape(-1, 2)
    i = np.arange(len(p) - 1)
    d = p[i] - p[i + 1]
    return 0.5 * np.sum((np.sqrt(np.sum(d * d, axis=1)) - 1.0) ** 2) + np.sum(p[:, 1])


def area(x):
    u = x.reshape(-1, 4)
    gx, gy = u[1:] - u[:-1], u[:, 1:] - u[:, :-1]
    return np.sum(np.sqrt(1 + gx[:, :-1] ** 2 + gy[:-1] ** 2))


def loop(x):
    s = 0.0
    for i in range(len(x) - 1):
        s = s + (x[i + 1] - x[i] ** 2) ** 2
    return s


def arrow(x):
    return np.sum(np.sin(x[0] * x[1:])) + np.exp(x[0])


def determinant(x):
    return np.log(np.linalg.det(np.outer(x, x) + np.eye(len(x)) * 3)) + np.sum(np.cumsum(x) ** 2)


def rows(x):
    z = x.reshape(-1, 4)
    return np.sum(np.log(np.sum(np.exp(z), axis=1)) + np.prod(z, axis=1) + np.max(z, axis=1) ** 2)


def written(x):
    y = np.zeros(len(x)) * x
    for i in range(2, len(x)):
        y[i] = x[i] * x[i - 2] + y[i - 1] * 0.5
    return np.sum(y ** 2)


def polynomial(x):
    return np.sum((x @ np.triu(np.ones((len(x), len(x))))) ** 3)


FUNCTIONS = [chained_rosenbrock, springs, area, loop, arrow, determinant, rows, written, polynomial]


def point(n=12):
    return np.random.default_rng(1).uniform(0.2, 1.2, n)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_hessian_is_that_of_dense_derivatives(f):
    x = point()
    h = ad.sparse.hessian(f)(x)
    dense = ad.hessian(f)(x)
    np.testing.assert_allclose(h.toarray(), dense, rtol=1e-12, atol=1e-12)
    assert np.array_equal(ad.sparse.hessian_pattern(f, x).todense(), dense != 0)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_jacobian_of_the_gradient_is_the_hessian(f):
    x = point()
    found = ad.sparse.jacobian(ad.grad(f))(x)
    np.testing.assert_allclose(found.toarray(), ad.hessian(f)(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
def test_formats_containers_and_out(format):
    def f(d, scale):
        return {"a": scale * d["u"] * d["v"], "b": np.sin(d["u"]).sum()}

    d = {"u": point(3), "v": point(3) + 1}
    jacobian = ad.sparse.jacobian(f, format=format)
    found = jacobian(d, 2.0)
    assert found.format == format and found.shape == (4, 6)
    flat = ad.jacobian(lambda x: np.concatenate([2 * x[:3] * x[3:], np.sin(x[:3]).sum()[None]]))
    np.testing.assert_allclose(found.toarray(), flat(np.concatenate([d["u"], d["v"]])))
    d["u"] = d["u"] + 1
    again = jacobian(d, 3.0, out=found)
    assert again is found
    np.testing.assert_allclose(found.toarray()[0, 3], 3 * d["u"][0])


@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_triangles(triangle):
    x = point()
    part = np.tril if triangle == "lower" else np.triu
    found = ad.sparse.hessian(area, triangle=triangle)(x).toarray()
    np.testing.assert_allclose(found, part(ad.hessian(area)(x)), atol=1e-14)


def test_each_path_has_its_own_structure():
    def f(x, a):
        return np.sum(x ** 2 * a) if a.sum() > 0 else np.sum(x[1:] * x[:-1])

    h = ad.sparse.hessian(f)
    for a in (np.ones(3), -np.ones(3), 2 * np.ones(3)):
        np.testing.assert_allclose(h(np.arange(3.0), a).toarray(), ad.hessian(f)(np.arange(3.0), a))


def test_variables_are_read_at_each_call():
    v = ad.Variable(np.ones(3))
    h = ad.sparse.hessian(lambda x: np.sum(v * x ** 2))
    assert h(np.ones(3)).toarray()[1, 1] == 2
    v.assign(np.full(3, 5.0))
    assert h(np.ones(3)).toarray()[1, 1] == 10


def test_value_and_hessian():
    x = point()
    (value, gradient), h = ad.sparse.value_and_hessian(area)(x)
    assert value == pytest.approx(area(x))
    np.testing.assert_allclose(gradient, ad.grad(area)(x))
    np.testing.assert_allclose(h.toarray(), ad.hessian(area)(x), atol=1e-14)


def test_lagrangian():
    x, multipliers = point(6), point(5)

    def constraints(x):
        return x[1:] * np.exp(x[:-1]) - 1

    problem = ad.sparse.lagrangian(chained_rosenbrock, constraints)
    dense = 0.5 * ad.hessian(chained_rosenbrock)(x) + ad.hessian(lambda x: multipliers @ constraints(x))(x)
    np.testing.assert_allclose(problem.hessian(x, multipliers, 0.5).toarray(), np.tril(dense), atol=1e-12)
    np.testing.assert_allclose(problem.jacobian(x).toarray(), ad.jacobian(constraints)(x))
    np.testing.assert_allclose(problem.constraints(x), constraints(x))
    np.testing.assert_allclose(problem.gradient(x), ad.grad(chained_rosenbrock)(x))
    assert problem.value(x) == pytest.approx(chained_rosenbrock(x))


def test_lagrangian_without_constraints():
    problem = ad.sparse.lagrangian(lambda x: np.sum(x ** 3))
    assert problem.jacobian(np.ones(3)).shape == (0, 3)
    np.testing.assert_allclose(problem.hessian(np.ones(3), []).toarray(), 6 * np.eye(3))


@pytest.mark.parametrize("x, shape", [
    (np.ones(0), (0, 0)), (np.ones(()), (1, 1)), (2.0, (1, 1)), (np.arange(3), (3, 3)),
])
def test_sizes(x, shape):
    found = ad.sparse.hessian(lambda x: (x ** 3).sum())(x)
    assert found.shape == shape
    np.testing.assert_allclose(found.toarray(), np.diag(6.0 * np.ravel(x)))


def test_dtype_of_float32():
    assert ad.sparse.hessian(lambda x: (x ** 3).sum())(np.float32([1, 2])).dtype == np.float32


def test_a_pattern_may_have_more_entries():
    x = point(4)
    found = ad.sparse.hessian(chained_rosenbrock, pattern=np.ones((4, 4)))(x)
    assert found.nnz == 16
    np.testing.assert_allclose(found.toarray(), ad.hessian(chained_rosenbrock)(x))


@pytest.mark.filterwarnings("ignore::ad.IndependentWarning")
def test_what_is_constant_has_no_entries():
    assert ad.sparse.hessian(lambda x: 3.0 * x.sum())(np.ones(3)).nnz == 0
    assert ad.sparse.jacobian(lambda x: np.ones(2))(np.ones(3)).shape == (2, 3)


def test_refusals():
    with pytest.raises(MemoryError, match="120 GB"):
        ad.sparse.hessian(lambda x: x.sum() ** 2)(np.ones(100_000))
    with pytest.raises(ValueError, match=r"lacks entry \(0, 1\)"):
        ad.sparse.hessian(chained_rosenbrock, pattern=np.eye(3))(np.ones(3))
    with pytest.raises(ValueError, match="shape"):
        ad.sparse.hessian(chained_rosenbrock, pattern=np.eye(2))(np.ones(3))
    with pytest.raises(TypeError, match="complex128"):
        ad.sparse.hessian(chained_rosenbrock)(np.ones(3) * 1j)
    with pytest.raises(TypeError, match="has no derivative"):
        ad.grad(lambda x: ad.sparse.jacobian(np.sin)(x).sum())(np.ones(2))
    with pytest.raises(ValueError, match="earlier call"):
        ad.sparse.jacobian(np.sin)(np.ones(3), out=sparse.csr_array(np.ones((3, 3))))
    with pytest.raises(TypeError, match="out is"):
        ad.sparse.jacobian(np.sin)(np.ones(3), out=np.ones((3, 3)))
    with pytest.raises(ValueError, match="format"):
        ad.sparse.jacobian(np.sin, format="dia")


def test_patterns_are_sets():
    a, b = ad.sparse.pattern(np.eye(3)), ad.sparse.pattern(sparse.csr_array(np.tri(3)))
    assert a <= b and not b <= a and (a | b) == b and (a & b) == a and (1, 0) in b and b.T.lower() == a
    assert str(a) == "<pattern of shape (3, 3) with 3 entries>\n* . .\n. * .\n. . *"


def test_branches_that_are_not_selected_leave_no_nan():
    def f(x):
        return np.sum(x[:-1] ** x[1:])  # its derivatives are selected, for bases that are zero

    x = point()
    np.testing.assert_allclose(ad.sparse.hessian(f)(x).toarray(), ad.hessian(f)(x), rtol=1e-12)


@pytest.mark.parametrize("f", [
    lambda x: np.sum(np.abs(np.exp(1j * x) * x[::-1] + 1) ** 2), lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 3),
])
def test_complex_values_inside(f):
    np.testing.assert_allclose(ad.sparse.hessian(f)(point()).toarray(), ad.hessian(f)(point()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_hessian_by_colors(f):
    x = point()
    found = ad.sparse.hessian(f, method="colors")(x)
    np.testing.assert_allclose(found.toarray(), ad.hessian(f)(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ["terms", "colors"])
def test_dense_rows_and_columns(method):
    def f(x):
        return np.concatenate([[x.sum()], x**2 * x[0]])

    x = point(20)
    jacobian = ad.sparse.jacobian(f, method=method)
    np.testing.assert_allclose(jacobian(x).toarray(), ad.jacobian(f)(x))
    if method == "colors":
        assert "2 of columns and 1 of rows" in jacobian.explain(x)
    assert f"by {method}" in jacobian.explain(x)


def test_colors_of_the_user():
    x = point(6)
    found = ad.sparse.jacobian(np.sin, coloring=np.ones(6, int))(x)
    np.testing.assert_allclose(found.toarray(), np.diag(np.cos(x)))
    with pytest.raises(ValueError, match="columns 0 and 1"):
        ad.sparse.jacobian(lambda x: x[1:] * x[:-1], coloring=np.ones(6, int))(x)


def test_recordings_are_kept_within_bounds():
    h = ad.sparse.hessian(lambda x, a: np.sum(x ** 2) * float(a))
    with pytest.warns(UserWarning, match="another branch"):
        for a in np.linspace(1, 2, 70):
            assert h(np.ones(2), a).toarray()[0, 0] == 2 * a
    assert repr(h).endswith("64 recordings>")


def test_out_of_one_branch_among_others():
    def f(x, a):
        return np.sum(x ** 2 * a) if a.sum() > 0 else np.sum(x[1:] * x[:-1])

    h, x = ad.sparse.hessian(f), np.arange(3.0)
    first, second = h(x, np.ones(3)), h(x, -np.ones(3))
    assert h(x, 2 * np.ones(3), out=first) is first and h(x, -np.ones(3), out=second) is second
    np.testing.assert_allclose(first.toarray(), 4 * np.eye(3))
    with pytest.raises(ValueError, match="earlier call"):
        h(x, np.ones(3), out=second)


@pytest.mark.parametrize("call, message", [
    (lambda x: ad.sparse.hessian(lambda x: x**2)(x),
     r"ad\.sparse\.hessian: .* shape \(3,\).* use ad\.sparse\.jacobian"),
    (lambda x: ad.sparse.lagrangian(np.sum, lambda x: x[1:]).hessian(x, 1.0),
     r"multipliers of shape \(\).* shape \(2,\)"),
    (lambda x: ad.sparse.lagrangian(np.sum, lambda x: x[1:]).hessian(x),
     r"shape \(0,\).*one number for each constraint"),
    (lambda x: ad.sparse.lagrangian(3.0), "f has to be a function, not 3.0"),
    (lambda x: ad.sparse.lagrangian(np.sum, [np.sum]), "constraints has to be a function"),
    (lambda x: ad.sparse.jacobian(lambda x: x, coloring=[0, 1, 2])(x), "column 0 has no color, .* from 1 on"),
])
def test_what_does_not_fit_together_is_told(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(np.ones(3))


def test_a_lagrangian_without_constraints_needs_no_multipliers():
    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(ad.sparse.lagrangian(lambda x: np.sum(x**3)).hessian(x).toarray(), np.diag(6 * x))


@pytest.mark.parametrize("fraction", [1.0, 0.01])
def test_a_picture_of_a_large_matrix_shows_its_entries(fraction):
    figure = pytest.importorskip("matplotlib.figure")
    backend = pytest.importorskip("matplotlib.backends.backend_agg")
    canvas = backend.FigureCanvasAgg(figure.Figure(figsize=(4, 4)))
    matrix = np.random.default_rng(0).random((400, 400)) < fraction
    ad.sparse.spy(matrix, ax=canvas.figure.add_axes((0, 0, 1, 1)))
    canvas.draw()
    dark = np.mean(np.asarray(canvas.buffer_rgba())[..., 0] < 128)
    assert 0.5 * fraction < dark < min(5 * fraction, 1.0) + 0.01
