"""Errors of values that would become constants: they quote the user's line, name the call, and say what to write."""
import cmath
import copy
import functools
import math
import pickle
import re
import time
import types
from math import lgamma

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.special
from scipy import stats

import ad
from ad.errors.remedies import LOG_DENSITIES, WRITTEN, remedy

X = np.array([1.0, 2.0, 3.0])
MATRIX = scipy.sparse.eye(3).tocsr()


def write_one(x):
    out = np.zeros(3)
    out[1] = x[0]


def write_row(x):
    out = np.zeros((3, 3))
    out[1, :] = x


CALLS = [  # what is written, the text that is quoted, the function, the remedy
    (lambda x: math.sin(x[0]) + 1, "math.sin(x[0])", "math.sin()", "Use np.sin"),
    (lambda x: lgamma(x[0]), "lgamma(x[0])", "math.lgamma()", "Use ad.special.gammaln"),
    (lambda x: math.pow(x[0], 2), "math.pow(x[0], 2)", "math.pow()", "Use np.power"),
    (lambda x: cmath.exp(x[0]), "cmath.exp(x[0])", "cmath.exp()", "Use np.exp"),
    (lambda x: math.floor(x[0]), "math.floor(x[0])", "math.floor()", "Use np.floor"),
    (lambda x: float(x[0]), "float(x[0])", "float()", "x.item()"),
    (lambda x: sum(map(float, x)), "sum(map(float, x))", "float()", "x.item()"),
    (lambda x: np.array([x[0], 1.0]), "np.array([x[0], 1.0])", "numpy.array()", "np.stack([x, y])"),
    (lambda x: np.fill_diagonal(np.eye(3), x), "np.fill_diagonal(np.eye(3), x)", "numpy.fill_diagonal()", "ad.numpy"),
    (lambda x: np.full(3, x[0]), "np.full(3, x[0])", "numpy.full()", "np.ones(shape) * x"),
    (lambda x: np.arange(3.0).dot(x), "np.arange(3.0).dot(x)", "ndarray.dot()", "a @ x"),
    (lambda x: copy.deepcopy(x), "copy.deepcopy(x)", "copy.deepcopy()", "Keep x itself"),
    (lambda x: pickle.dumps(x), "pickle.dumps(x)", "pickle.dumps()", "Keep x itself"),
    (lambda x: stats.norm.logpdf(x), "stats.norm.logpdf(x)", "scipy.stats.norm.logpdf()", "np.log(2 * np.pi)"),
    (lambda x: stats.norm(0, x[0]).pdf(1.0), "stats.norm(0, x[0]).pdf(1.0)", "scipy.stats.norm.pdf()", "np.exp"),
    (lambda x: stats.gamma.logpdf(x, 2.0), "stats.gamma.logpdf(x, 2.0)", "scipy.stats.gamma.logpdf()", "gammaln(a)"),
    (lambda x: stats.norm.cdf(x), "stats.norm.cdf(x)", "scipy.stats.norm.cdf()", "ad.special.ndtr(z)"),
    (lambda x: stats.multivariate_normal.logpdf(x, X, np.eye(3)), "stats.multivariate_normal.logpdf(x, X, np.eye(3))",
     "scipy.stats.multivariate_normal.logpdf()", "np.linalg.slogdet(cov)"),
    (lambda x: stats.wrapcauchy.pdf(x, 0.5), "stats.wrapcauchy.pdf(x, 0.5)", "scipy.stats.wrapcauchy.pdf()",
     "Write out the density"),
    (lambda x: scipy.linalg.solve(np.eye(3), x), "scipy.linalg.solve(np.eye(3), x)", "scipy.linalg.solve()",
     "Use np.linalg.solve"),
    (lambda x: scipy.linalg.expm(np.eye(3) * x), "scipy.linalg.expm(np.eye(3) * x)", "scipy.linalg.expm()",
     "ad.linalg.expmh"),
    (lambda x: scipy.special.logsumexp(x), "scipy.special.logsumexp(x)", "scipy.special.logsumexp()",
     "Use ad.special.logsumexp"),
    (lambda x: scipy.integrate.quad(lambda t: t * x[0], 0, 1), "scipy.integrate.quad(lambda t: t * x[0], 0, 1)",
     "scipy.integrate.quad()", "Simpson"),
    (lambda x: scipy.integrate.solve_ivp(lambda t, y: -y * x[0], (0, 1), [1.0]),
     "scipy.integrate.solve_ivp(lambda t, y: -y * x[0], (0, 1), [1.0])", "scipy.integrate.solve_ivp()", "Runge-Kutta"),
    (lambda x: scipy.optimize.nnls(np.eye(3), x), "scipy.optimize.nnls(np.eye(3), x)", "scipy.optimize.nnls()",
     "implicit function theorem"),
    (lambda x: scipy.interpolate.CubicSpline(np.arange(3.0), x), "scipy.interpolate.CubicSpline(np.arange(3.0), x)",
     "scipy.interpolate.CubicSpline()", "np.interp"),
    (lambda x: scipy.signal.lfilter([1.0], [1.0], x), "scipy.signal.lfilter([1.0], [1.0], x)",
     "scipy.signal.lfilter()", "np.convolve"),
    (lambda x: MATRIX.dot(x), "MATRIX.dot(x)", "scipy.sparse.", "A.toarray() @ x"),
    (lambda x: (lambda function: function(x))(np.vectorize(math.sin)), "function(x)", "numpy.vectorize",
     "Call the function on arrays"),
    (lambda x: stats.skew(x), "stats.skew(x)", "scipy.stats.skew()", "Write np.mean((x - np.mean(x))**3)"),
    (lambda x: stats.mode(x), "stats.mode(x)", "scipy.stats.mode()", "Write it in functions of NumPy"),
    (lambda x: scipy.integrate.trapezoid(x), "scipy.integrate.trapezoid(x)", "scipy.integrate.trapezoid()",
     "Write np.trapezoid"),
    (lambda x: scipy.linalg.solve_triangular(np.eye(3), x), "scipy.linalg.solve_triangular(np.eye(3), x)",
     "scipy.linalg.solve_triangular()", "Use np.linalg.solve"),
    (lambda x: scipy.fft.fft(x), "scipy.fft.fft(x)", "scipy.fft.fft()", "Use np.fft.fft"),
    (lambda x: scipy.fft.dct(x), "scipy.fft.dct(x)", "scipy.fft.dct()", "Write it in functions of np.fft"),
    (lambda x: np.float32(x[0]), "np.float32(x[0])", "numpy.float32()", "x.astype(np.float32)"),
    (lambda x: np.random.normal(x[0]), "np.random.normal(x[0])", "numpy.random.", "Draw plain numbers"),  # noqa: NPY002
    (lambda x: np.polynomial.chebyshev.chebval(2.0, x), "np.polynomial.chebyshev.chebval(2.0, x)",
     "numpy.polynomial.chebyshev.chebval()", "np.polyval"),
]


@pytest.mark.parametrize("f, text, function, remedy", CALLS, ids=[row[1] for row in CALLS])
@pytest.mark.parametrize("transform", [ad.grad, lambda f: ad.compile(ad.grad(f)), lambda f: ad.hessian(f)],
                         ids=["grad", "compile", "hessian"])
def test_a_call_that_needs_plain_numbers(transform, f, text, function, remedy):
    with pytest.raises(TypeError) as raised:
        transform(lambda x: np.sum(f(x)))(X)
    message = str(raised.value)
    assert message.startswith(f"ad: {function}") and remedy in message and "x.numpy()" in message
    assert f"{__file__}, line {f.__code__.co_firstlineno}: {text})" in message


@pytest.mark.parametrize("f, line", [(write_one, "out[1] = x[0]"), (write_row, "out[1, :] = x")])
def test_an_assignment_to_an_element_is_named_first(f, line):
    with pytest.raises((TypeError, ValueError)) as raised:
        ad.grad(f)(X)
    error = raised.value if isinstance(raised.value, TypeError) else raised.value.__cause__
    assert str(error).startswith(f"ad: {line}: ") and "ad.numpy" in str(error)


def test_tables_of_pandas():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(X)
    with pytest.raises(TypeError, match=r"pandas\.Series.*to_numpy\(\)"):
        ad.grad(lambda x: np.sum(series * x))(X)


@pytest.mark.parametrize("write", [
    lambda pandas, x: pandas.Series(x), lambda pandas, x: pandas.DataFrame({"a": x})], ids=["Series", "DataFrame"])
def test_tables_of_pandas_that_are_half_made(write):
    """They run code of their own, which fails, when they are asked for an attribute."""
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"pandas\.(Series|DataFrame)\(\).*test_callers.py, line.*to_numpy\(\)"):
        ad.grad(lambda x: write(pandas, x).sum())(X)


@pytest.mark.parametrize("build, twin", [
    (lambda x: np.r_[x, 1.0], "np.concatenate"), (lambda x: np.c_[x, x], "np.column_stack")], ids=["r_", "c_"])
def test_builders_that_are_called_by_an_index(build, twin):
    with pytest.raises(TypeError, match=rf"numpy\.[rc]_ would make.*Use {twin}"):
        ad.grad(lambda x: np.sum(build(x)))(X)


SAMPLE, OTHER = np.array([1.0, 2.5, 0.5, 4.0, 3.0]), np.array([2.0, 1.0, 0.5, 3.0, 5.0])


@pytest.mark.parametrize("name", ["zscore", "gmean", "hmean", "sem", "skew", "kurtosis", "pearsonr"])
def test_what_is_written_out_is_scipys(name):
    expected = getattr(stats, name)(*(SAMPLE, OTHER)[: 1 + (name == "pearsonr")])
    found = eval(WRITTEN[f"scipy.stats.{name}"], {"np": np, "x": SAMPLE, "y": OTHER})
    np.testing.assert_allclose(found, expected[0] if name == "pearsonr" else expected, rtol=1e-12)


@pytest.mark.parametrize("f, advice", [
    (lambda x: np.choose([0, 1, 0], [x, 2 * x]), "Use np.select, or"),
    (lambda x: np.meshgrid(x, x), "Use np.broadcast_arrays"), (lambda x: np.linalg.cond(np.diag(x)), "s[0] / s[-1]"),
])
def test_functions_without_a_rule_that_have_a_twin(f, advice):
    with pytest.raises(ad.MissingRule) as raised:
        ad.grad(f)(X)
    assert advice in str(raised.value)


def test_a_model_that_cannot_be_followed():
    with pytest.raises(TypeError, match=r"^ad\.optimize\.curve_fit: f cannot.*Or call scipy\.optimize\.curve_fit, for"):
        ad.optimize.curve_fit(lambda t, a: np.array([math.exp(a) * s for s in t]), X, 2 * X)


def test_types_have_their_public_names():
    """In Python's own messages too, which ask the type itself."""
    for x, name in ((ad.constant(1.0), "ad.Array"), (ad.Variable(1.0), "ad.Variable"), (ad.Dual(1.0, 1.0), "ad.Dual")):
        assert repr(type(x)) == f"<class '{name}'>"
        with pytest.raises(AttributeError, match=f"^'{name}' object has no attribute"):
            x.nothing_of_this_name  # noqa: B018
    assert pickle.loads(pickle.dumps(ad.Variable(2.0))).numpy() == 2.0


def test_code_without_source():
    f = eval("lambda x: math.sin(x)", {"math": math})
    with pytest.raises(TypeError, match=r"^ad: float\(\) would make"):
        ad.grad(f)(1.0)


def in_odd_frame(code):
    return types.FunctionType(code, {"math": math, "__name__": None, "np": np})


@pytest.mark.parametrize("f", (
    in_odd_frame((lambda x: math.sin(x)).__code__.replace(co_linetable=b"")),
    in_odd_frame((lambda x: math.sin(x)).__code__.replace(co_filename="\0")),
    in_odd_frame((lambda x: math.sin(x)).__code__.replace(co_firstlineno=10**6)),
    math.sin, float, functools.partial(math.pow, 2.0), lambda x: list(map(math.sin, [x]))[0],
))
def test_odd_frames_raise_no_other_error(f):
    with pytest.raises(TypeError, match=r"^ad: float\(\) would make a constant.*x\.numpy\(\)"):
        ad.grad(f)(1.0)


def test_names_of_what_is_not_looked_up():
    for f, name, instead in (
        (lambda x: np.random.default_rng(0).normal(x), "np.random.default_rng(0).normal()", "ad.ops.custom"),
        (lambda x: np.vectorize(math.sin)(x), "numpy.vectorize()", "Call the function on arrays"),
        (lambda x: scipy.interpolate.interp1d([0, 5], [0, 5])(x), "scipy.interpolate.interp1d()", "np.interp"),
    ):
        with pytest.raises(TypeError) as raised:
            ad.grad(f)(1.0)
        assert str(raised.value).startswith(f"ad: {name} would") and instead in str(raised.value)


def test_a_line_of_text_that_is_not_ascii():
    with pytest.raises(TypeError, match=r"^ad: math\.sin\(\).*: math\.sin\(x\)\)"):
        ad.grad(lambda x: ("äöü€🙂", math.sin(x))[1])(1.0)


def test_a_conversion_late_in_a_long_function_is_no_slower():
    names = {}
    exec("def f(x):\n" + "    a = 1\n" * 20_000 + "    n = 0\n    for _ in range(50):\n        try:\n"
         "            float(x)\n        except TypeError:\n            n += 1\n    return n * x\n", names)
    start = time.perf_counter()
    assert ad.grad(names["f"])(1.0) == 50
    assert time.perf_counter() - start < 0.25  # 1.2 s where the positions before are all read


@pytest.mark.parametrize("module", (math, cmath))
def test_the_twins_of_functions_of_math_have_rules(module):
    for name in dir(module):
        twin = re.match(r"Use (np\.\w+) for", remedy(f"{module.__name__}.{name}"))
        if twin and callable(getattr(module, name)):
            function = getattr(np, twin[1][3:])
            n = 2 if name == "isclose" else getattr(function, "nin", 1)
            ad.value_and_grad(lambda *args, f=function: np.sum(f(*args)) + 0 * args[0])(*[0.5] * n)


def evaluated(name, *parameters):
    """A density as its remedy writes it, on plain numbers."""
    formula, _, given = LOG_DENSITIES[name].partition(" with ")
    names = {"np": np, "ad": ad, **dict(zip(*parameters))}
    for part in filter(None, [given]):
        variable, _, expression = part.partition(" = ")
        names[variable] = eval(expression, names)
    return eval(formula, names)


@pytest.mark.parametrize("name, point, parameters", [
    *[(name, {"x": 1.3}, {"loc": 0.4, "scale": 1.7})
      for name in ("norm", "expon", "laplace", "cauchy", "logistic", "uniform")],
    ("t", {"x": 1.3}, {"df": 3.5, "loc": 0.4, "scale": 1.7}),
    ("gamma", {"x": 1.3}, {"a": 2.5, "loc": 0.4, "scale": 1.7}),
    ("beta", {"x": 0.3}, {"a": 2.5, "b": 1.5}), ("lognorm", {"x": 1.3}, {"s": 0.7, "loc": 0.4, "scale": 1.7}),
    ("poisson", {"k": 3}, {"mu": 2.5}), ("binom", {"k": 3}, {"n": 7, "p": 0.3}), ("bernoulli", {"k": 1}, {"p": 0.3}),
    ("multivariate_normal", {"x": X}, {"mean": np.ones(3), "cov": np.diag([1.0, 2.0, 3.0])}),
])
def test_the_densities_to_write_are_scipys(name, point, parameters):
    distribution = getattr(stats, name)
    method = getattr(distribution, "logpdf", None) or distribution.logpmf
    wanted = method(*point.values(), **parameters)
    assert np.allclose(evaluated(name, [*point, *parameters], [*point.values(), *parameters.values()]), wanted)


@pytest.mark.parametrize("solve, remedy", [
    (lambda f: ad.optimize.minimize(f, X), 'jac="2-point"'),
    (lambda f: ad.optimize.least_squares(f, X), 'jac="2-point"'),
    (lambda f: ad.optimize.root(f, X), "jac=False"),
])
@pytest.mark.parametrize("f", [
    lambda x: math.sin(x[0]), lambda x: write_one(x), lambda x: np.sum(np.unwrap(x)), lambda x: np.array([x[0]]),
])
def test_optimizers_say_how_to_go_on_without_derivatives(solve, remedy, f):
    with pytest.raises((TypeError, NotImplementedError)) as raised:
        solve(f)
    message = str(raised.value)
    assert message.startswith("ad.optimize.") and "cannot be differentiated" in message and remedy in message
