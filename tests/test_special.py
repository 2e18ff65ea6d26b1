"""scipy.special: the edges of the rules, and what happens without SciPy. The table's tests do the rest."""
import subprocess
import sys

import numpy as np
import pytest

import ad
from ad.errors import MissingRule

scipy_special = pytest.importorskip("scipy.special")
special = pytest.importorskip("ad.ops.special")
inf, nan = np.inf, np.nan


def gradients(function, *xs):
    """The gradient of the sum of the results, with respect to each argument."""
    xs = [ad.constant(np.asarray(x)) for x in xs]
    with ad.GradientTape() as tape:
        tape.watch(xs)
        y = function(*xs)
    return [x_bar.numpy() for x_bar in tape.gradient(y, xs)]


def same(found, expected, rtol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=0)


EDGES = [  # erfcx and log_ndtr: from the continued fraction of erfcx in 60 digits
    ("expit", [-800.0, -40.0, 40.0, 800.0, inf, -inf], [0, np.exp(-40), np.exp(-40), 0, 0, 0]),
    ("log_expit", [-800.0, 40.0, 800.0], [1, np.exp(-40), 0]),
    ("logit", [0.0, 1.0, 1e-300], [inf, inf, 1e300]),
    ("entr", [0.0, 1.0], [inf, -1]),
    ("erfcx", [29.9, 30.1, 1e8], [-0.0006300215927275239, -0.000621690790042063, -1e-16 / np.sqrt(np.pi)]),
    ("log_ndtr", [-1e8, -40.0, 0.0, 40.0, inf], [1e8, 40.02496884720726, np.sqrt(2 / np.pi), 0, 0]),
    ("ndtri", [0.0, 0.5, 1.0], [inf, np.sqrt(2 * np.pi), inf]),
    ("exprel", [0.0, 1e-9, -1e4, 800.0], [0.5, 0.5 + 1e-9 / 3, 1e-8, inf]),
    ("j1", [0.0], [0.5]),
    ("i1", [0.0], [0.5]),
    ("i0e", [0.0], [0.0]),
]


@pytest.mark.parametrize("name, x, expected", EDGES, ids=[edge[0] for edge in EDGES])
def test_derivative_at_the_edges(name, x, expected):
    for function in getattr(scipy_special, name), getattr(special, name):
        same(gradients(function, x)[0], expected)


def test_second_derivative_of_log_ndtr_in_both_tails():
    """It tends to -1 on the left and to 0 on the right, in both modes."""
    slope = ad.grad(special.log_ndtr)
    for x, expected in (-1e6, -1 + 1e-12), (-10.0, -0.9905546221743438), (45.0, 0):
        same(ad.grad(slope)(x), expected)
        same(ad.jvp(slope, (x,), (1.0,))[1], expected)


@pytest.mark.parametrize("name, x1, x2, expected", [
    ("xlogy", 0.0, 3.0, (np.log(3), 0)),
    ("xlogy", 0.0, 0.0, (-inf, 0)),
    ("xlog1py", 0.0, -1.0, (-inf, 0)),
    ("rel_entr", 0.0, 2.0, (-inf, 0)),
    ("rel_entr", 0.0, 0.0, (0, 0)),
    ("kl_div", 0.0, 0.0, (-1, 1)),
    ("boxcox", 2.0, 0.0, (0.5, np.log(2) ** 2 / 2)),
    ("boxcox", 0.0, 0.5, (inf, 4)),
])
def test_derivatives_at_the_edges(name, x1, x2, expected):
    same(gradients(getattr(special, name), x1, x2), expected)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "jv", "kv", "zeta"])
def test_no_derivative_in_the_order(name):
    function = getattr(special, name)
    assert np.isfinite(gradients(lambda x: function(2.5, x), 1.5))
    with pytest.raises(MissingRule, match=f"scipy.special.{name} has no rule"):
        gradients(function, 2.5, 1.5)


def test_no_derivative_of_complex_psi():
    with pytest.raises(MissingRule, match="psi of complex"):
        gradients(special.psi, 1 + 1j)


def test_polygamma_takes_an_order():
    same(special.polygamma(2, np.array([0.5, 2.0])), scipy_special.polygamma(2, [0.5, 2.0]))
    with pytest.raises(ValueError, match="order must be 0 or more, not -1"):
        special.polygamma(-1, 1.0)
    with pytest.raises(TypeError):
        special.polygamma(1.5, 1.0)


# -- sums of exponentials --------------------------------------------------------------------------

ROWS = np.array([[800.0, 799.0, -inf], [-800.0, -801.0, -802.0], [0.0, 1.0, 2.0]])


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_values_are_scipys(name):
    for axis in 0, 1, None, (0, 1):
        expected = getattr(scipy_special, name)(ROWS, axis=axis)
        for x in ROWS, ROWS.tolist(), ad.constant(ROWS):
            found = getattr(special, name)(x, axis=axis)
            assert isinstance(found, ad._core.Array) == isinstance(x, ad._core.Array)
            same(found.numpy() if isinstance(x, ad._core.Array) else found, expected)
    assert getattr(special, name)(ROWS.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("x, value, gradient", [
    ([-inf, -inf], -inf, [0.5, 0.5]),
    ([inf, 1.0], inf, [1, 0]),
    ([inf, inf, -inf], inf, [0.5, 0.5, 0]),
    ([-inf, 1.0], 1, [0, 1]),
    ([nan, 1.0], nan, [nan, nan]),
])
def test_infinities(x, value, gradient):
    same(special.logsumexp(x), value)
    same(gradients(special.logsumexp, x)[0], gradient)
    same(special.softmax(x), gradient)
    same(special.log_softmax(x), np.log(gradient))


def test_factors_of_logsumexp():
    a, b = [1.0, 2.0, 3.0], [0.5, 0.0, 2.0]
    same(special.logsumexp(a, b=b), scipy_special.logsumexp(a, b=b))
    same(gradients(lambda a, b: special.logsumexp(a, b=b), a, b)[1], np.exp(a) / np.dot(b, np.exp(a)))
    same(gradients(lambda a: special.logsumexp(a, b=[0.0, 1.0]), [inf, 2.0])[0], [0, 1])
    same(gradients(lambda a: special.logsumexp(a, b=[0.0, 1.0]), [5000.0, 2.0])[0], [0, 1])


def test_names_are_public():
    assert [name for name in special.__all__ if not hasattr(special, name)] == []
    assert sorted(special.__all__) == special.__all__


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_without_scipy():
    done = run("import sys; sys.modules['scipy'] = None; import ad; import ad.ops.special")
    assert done.stderr.splitlines()[-1] == 'ImportError: ad.special needs SciPy: pip install "dualtape[scipy]"'


def test_loaded_on_demand():
    code = (
        "import sys, ad; assert 'scipy' not in sys.modules; import scipy.special as s; "
        "assert 'ad.ops.special' not in sys.modules; print(s.erf(ad.constant(0.0)).numpy())"
    )
    done = run(code)
    assert done.stdout.strip() == "0.0", done.stderr


@pytest.mark.parametrize(("x", "shares"), [
    ([-np.inf, -np.inf], [0.5, 0.5]), ([np.inf, 0.0, np.inf], [0.5, 0.0, 0.5]), ([-np.inf, 0.0], [0.0, 1.0]),
])
def test_a_reduction_by_logaddexp_shares_infinities_as_logsumexp_does(x, shares):
    x, mask = np.array(x), np.array([True, True, False])[:len(x)]
    for f in np.logaddexp.reduce, ad.special.logsumexp:
        np.testing.assert_array_equal(ad.grad(f)(x), shares)
    masked = ad.grad(lambda x: np.logaddexp.reduce(x, where=mask))(x)
    np.testing.assert_array_equal(masked, ad.grad(np.logaddexp.reduce)(x[:2]).tolist() + [0.0] * (len(x) - 2))
