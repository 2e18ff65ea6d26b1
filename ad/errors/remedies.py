"""Remedies: what to write instead of a function that needs plain numbers, or that has no derivative rule."""
import operator
import sys

import numpy as np

__all__ = ["WRITABLE", "instead_of", "remedy"]

# Functions of `math` and `cmath` whose counterparts have other names.
MATH = {
    "acos": "np.arccos", "acosh": "np.arccosh", "asin": "np.arcsin", "asinh": "np.arcsinh", "atan": "np.arctan",
    "atan2": "np.arctan2", "atanh": "np.arctanh", "dist": "np.linalg.norm(p - q)", "erf": "ad.special.erf",
    "erfc": "ad.special.erfc", "fsum": "np.sum", "gamma": "ad.special.gamma", "lgamma": "ad.special.gammaln",
    "ldexp": "x * 2.0**i", "modf": "np.trunc", "phase": "np.angle", "pow": "np.power",
    "frexp": "", "gcd": "", "lcm": "", "nextafter": "",  # NumPy's have no rule
}
_STANDARD = "with z = (x - loc) / scale"
# The logarithms of densities by the names of SciPy's distributions.
LOG_DENSITIES = {
    "norm": f"-z**2 / 2 - np.log(scale) - np.log(2 * np.pi) / 2 {_STANDARD}",
    "expon": f"-z - np.log(scale) {_STANDARD}",
    "laplace": f"-np.abs(z) - np.log(2 * scale) {_STANDARD}",
    "cauchy": f"-np.log1p(z**2) - np.log(np.pi * scale) {_STANDARD}",
    "logistic": f"-z - 2 * np.log1p(np.exp(-z)) - np.log(scale) {_STANDARD}",
    "uniform": "np.where((x >= loc) & (x <= loc + scale), -np.log(scale), -np.inf)",
    "t": "ad.special.gammaln((df + 1) / 2) - ad.special.gammaln(df / 2) - np.log(df * np.pi) / 2 "
         f"- (df + 1) / 2 * np.log1p(z**2 / df) - np.log(scale) {_STANDARD}",
    "gamma": f"(a - 1) * np.log(z) - z - ad.special.gammaln(a) - np.log(scale) {_STANDARD}",
    "beta": "(a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - ad.special.betaln(a, b)",
    "lognorm": f"-(np.log(z) / s)**2 / 2 - np.log(s * z * scale) - np.log(2 * np.pi) / 2 {_STANDARD}",
    "poisson": "k * np.log(mu) - mu - ad.special.gammaln(k + 1)",
    "binom": "ad.special.gammaln(n + 1) - ad.special.gammaln(k + 1) - ad.special.gammaln(n - k + 1) "
             "+ k * np.log(p) + (n - k) * np.log1p(-p)",
    "bernoulli": "k * np.log(p) + (1 - k) * np.log1p(-p)",
    "multivariate_normal": "-(r @ np.linalg.solve(cov, r) + np.linalg.slogdet(cov)[1] + len(r) * np.log(2 * np.pi)) "
                           "/ 2 with r = x - mean",
}
PROBABILITIES = {"norm.cdf": "ad.special.ndtr(z)", "norm.logcdf": "ad.special.log_ndtr(z)",
                 "norm.sf": "ad.special.ndtr(-z)", "norm.logsf": "ad.special.log_ndtr(-z)",
                 "norm.ppf": "loc + scale * ad.special.ndtri(q)"}
# Functions of SciPy that have a counterpart, or that one expression replaces.
WRITTEN = {
    "scipy.integrate.trapezoid": "np.trapezoid", "scipy.integrate.cumulative_trapezoid":
    "np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x))", "scipy.integrate.simpson":
    "np.sum(h / 3 * (y[:-2:2] + 4 * y[1:-1:2] + y[2::2])) with steps h, of an odd number of points",
    "scipy.sparse.linalg.spsolve": "np.linalg.solve(A.toarray(), b)",
    "scipy.spatial.distance.euclidean": "np.linalg.norm(u - v)",
    "scipy.spatial.distance.sqeuclidean": "np.sum((u - v)**2)",
    "scipy.spatial.distance.cityblock": "np.sum(np.abs(u - v))",
    "scipy.spatial.distance.cosine": "1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v)",
    "scipy.spatial.distance.cdist": "np.sum((a[:, None] - b)**2, axis=-1), and its root beside np.where",
    "scipy.spatial.distance.pdist": "x[i] - x[j] with i, j = np.triu_indices(len(x), 1)",
    "scipy.special.factorial": "ad.special.gamma(n + 1)",
    "scipy.special.comb": "np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) with gammaln of ad.special",
    "scipy.stats.zscore": "(x - np.mean(x)) / np.std(x)", "scipy.stats.gmean": "np.exp(np.mean(np.log(x)))",
    "scipy.stats.hmean": "1 / np.mean(1 / x)", "scipy.stats.sem": "np.std(x, ddof=1) / np.sqrt(len(x))",
    "scipy.stats.skew": "np.mean((x - np.mean(x))**3) / np.std(x)**3",
    "scipy.stats.kurtosis": "np.mean((x - np.mean(x))**4) / np.var(x)**2 - 3",
    "scipy.stats.moment": "np.mean((x - np.mean(x))**order)",
    "scipy.stats.entropy": "np.sum(ad.special.entr(p)) of probabilities",
    "scipy.stats.pearsonr": "np.mean((x - np.mean(x)) * (y - np.mean(y))) / np.std(x) / np.std(y)",
}
SOLVING = ("cho_solve", "lu_solve", "solve_banded", "solve_toeplitz", "solve_triangular", "solveh_banded")
HERMITIAN = {"expm": "expmh", "funm": "funmh", "logm": "logmh", "sqrtm": "sqrtmh"}
SPECIAL = ("log_softmax", "logsumexp", "softmax")
OWN_RULE = "make an op of the call by ad.ops.custom, with its derivative"
MODULES = {  # the longest name that fits decides
    "scipy.integrate": "Integrate by steps that are written in NumPy (Runge-Kutta, Simpson's rule), or " + OWN_RULE,
    "scipy.optimize": "Solve on plain numbers: " + OWN_RULE + ", that of the implicit function theorem",
    "scipy.interpolate": "Use np.interp, or " + OWN_RULE,
    "scipy.sparse": "Multiply by a dense array (A.toarray() @ x), or by the entries of A.tocoo() "
                    "(np.bincount(A.row, A.data * x[A.col], A.shape[0])), or " + OWN_RULE,
    "scipy.fft": "Write it in functions of np.fft, or " + OWN_RULE,
    "scipy.signal": "Use np.convolve or np.correlate, or " + OWN_RULE,
    "scipy": "Write it in functions of NumPy or ad.special, or " + OWN_RULE,
    "numpy.polynomial": "Give ndarrays as coefficients and Arrays as points, or use np.polyval and np.prod(x - roots)",
    "numpy.random": "Draw plain numbers, and shift and scale them: loc + scale * rng.standard_normal(shape)",
    "pandas": "Take the numbers out of the table first: series.to_numpy() * x",
}
# What to use instead of NumPy's functions that have no rule.
WITHOUT_RULE = {
    "choose": "Use np.select",
    "correlate": "Use np.convolve(a, np.conj(v[::-1]), mode)", "resize": "Use np.tile or np.concatenate",
    "cov": "Write it out: d @ np.conj(d.T) / (n - 1) with d = x - np.mean(x, axis=1, keepdims=True)",
    "corrcoef": "Write it out with np.mean and np.std",
    "meshgrid": "Use np.broadcast_arrays(x[None, :], y[:, None])",
    "polyfit": "Use np.linalg.lstsq(np.vander(x, deg + 1), y)[0]",
    "trim_zeros": "Use np.polyval for np.poly1d, and x[i:j] for np.trim_zeros",
    "linalg.cond": "Use s[0] / s[-1] with s = np.linalg.svd(a)[1]",
    "linalg.eig": "Use np.linalg.eigh of a Hermitian matrix",
    "linalg.eigvals": "Use np.linalg.eigvalsh of a Hermitian matrix",
}
STACK = "Use np.stack([x, y]) or ad.asarray([x, y]), or import ad.numpy as np"
WRITABLE = "Make an array of floats with ad.numpy (import ad.numpy as np) or by ad.constant(array)"
DISPATCHING = ("numpy", "numpy.fft", "numpy.linalg", "numpy.ufunc")
BUILTINS = {
    "float": "Keep x itself, or use x.item(), which keeps the derivative",
    "complex": "Keep x itself, or write x + 0j", "np.asarray": "Keep x itself, or use ad.asarray(x)",
    "numpy.array": STACK, "numpy.asarray": "Use ad.asarray(x), or " + STACK[4:], "numpy.asanyarray": STACK,
    "numpy.full": "Use np.ones(shape) * x", "numpy.linspace": "Use a + (b - a) * np.linspace(0, 1, n)",
    "numpy.r_": "Use np.concatenate([x, [1.0]])", "numpy.c_": "Use np.column_stack([x, y])",
    "numpy.arange": "Use a + step * np.arange(n)", "numpy.fromiter": STACK,
    "numpy.vectorize": "Call the function on arrays, or use ad.numpy.vectorize",
    "numpy.ndenumerate": "Use ad.numpy.ndenumerate, or zip(np.ndindex(x.shape), x.flat)",
    "numpy.broadcast": "Use np.broadcast_arrays",
    "numpy.lib.stride_tricks.as_strided": "Use np.lib.stride_tricks.sliding_window_view, or as_strided of ad.numpy",
    **{f"numpy.{name}": f"Keep x itself, or use x.astype(np.{name})" for name in (
        "complex64", "complex128", "float16", "float32", "float64", "longdouble")},
    **dict.fromkeys(("numpy.fill_diagonal", "numpy.ndarray.fill", "numpy.ndarray.put"), WRITABLE),
    "ndarray.dot": "Use a @ x", "copy.copy": "Keep x itself", "copy.deepcopy": "Keep x itself",
    "pickle.dumps": "Keep x itself",
}


def remedy(function: str) -> str:
    """Return what to write instead of the function that was called.

    Parameters
    ----------
    function : str
        Its module and name, as of `ad.errors.callers.Caller`.

    Returns
    -------
    str
        A sentence without its full stop; empty if only the general advice applies.
    """
    module, _, name = function.rpartition(".")
    if module in ("math", "cmath"):
        twin = MATH.get(name, f"np.{name}" if hasattr(np, name) else "")
        return f"Use {twin} for {function}" if twin else f"Write {function} in functions of NumPy"
    if function in WRITTEN:
        return f"Write {WRITTEN[function]}"
    if module == "scipy.stats":
        return "Write it in functions of NumPy (np.mean, np.std, ...), or " + OWN_RULE
    if function.startswith("scipy.stats"):
        return _of_distribution(function)
    if function.startswith("scipy.linalg"):
        return _of_linear_algebra(name)
    if module == "scipy.special" and name in SPECIAL:
        return f"Use ad.special.{name}"
    if function in BUILTINS:
        return BUILTINS[function]
    if module in DISPATCHING:
        return _of_numpy(module, name)
    if module == "scipy.fft" and hasattr(np.fft, name):
        return f"Use np.fft.{name}"
    fitting = [prefix for prefix in MODULES if f"{function}.".startswith(f"{prefix}.")]
    if fitting:
        return MODULES[max(fitting, key=len)]
    if module in ("", "ndarray"):
        return ""
    return f"{function} asks for plain numbers: write it in functions of NumPy, or {OWN_RULE}"


def _of_numpy(module: str, name: str) -> str:
    """Return the remedy for functions that dispatch, but not on elements of lists or on parameters like initial=."""
    twin = operator.attrgetter(f"{module.replace('numpy', 'ad', 1)}.{name}".partition(".")[2])
    try:
        twin(sys.modules["ad"])
    except AttributeError:
        instead = ""
    else:
        instead = f", or call {module.replace('numpy', 'ad', 1)}.{name}, which does"
    return (f"{module.replace('numpy', 'np', 1)}.{name} does not look for Arrays in lists, or in parameters beside "
            f"ndarrays. Make Arrays of those (ad.asarray([x, y]), ad.constant(a)){instead}")


def instead_of(what: str) -> str:
    """Return what to write instead of a NumPy function that has no rule, up to the word "or".

    Parameters
    ----------
    what : str
        Its name, as "np.choose".

    Returns
    -------
    str
    """
    return f"{WITHOUT_RULE.get(what.removeprefix('np.'), 'Write it in functions that have one')}, or"


def _of_distribution(function: str) -> str:
    *_, distribution, method = function.split(".")
    if f"{distribution}.{method}" in PROBABILITIES:
        return f"Write it out: {PROBABILITIES[f'{distribution}.{method}']} {_STANDARD}"
    density = LOG_DENSITIES.get(distribution)
    if density is None or method not in ("pdf", "logpdf", "pmf", "logpmf"):
        return "Write out the density, with ad.special for its special functions"
    return f"Write out its logarithm: {density}" + ("" if method.startswith("log") else "; and take np.exp of that")


def _of_linear_algebra(name: str) -> str:
    if name in HERMITIAN:
        return f"Use ad.linalg.{HERMITIAN[name]} of a Hermitian matrix, or {OWN_RULE}"
    if name in ("eig", "eigvals"):
        return f"Use np.linalg.{name}h of a Hermitian matrix, or {OWN_RULE}"
    if hasattr(np.linalg, name):
        return f"Use np.linalg.{name}"
    if name in SOLVING:
        return "Use np.linalg.solve of the matrix itself"
    return "Use the functions of np.linalg and ad.linalg, or " + OWN_RULE
