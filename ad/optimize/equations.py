"""`least_squares`, `root` and `curve_fit` of scipy.optimize, with exact Jacobians."""
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize as scipy_optimize

from ad import trees
from ad.optimize.functions import RecordedFunction, Residuals, Vector, differentiable_call
from ad.optimize.krylov import with_exact_products
from ad.optimize.packing import Packing
from ad.sparse import jacobian as sparse_jacobian
from ad.transforms.differentiated_call import Function

__all__ = ["curve_fit", "least_squares", "root"]

WITH_JACOBIAN = ("hybr", "lm")
WITHOUT = ("broyden1", "broyden2", "anderson", "linearmixing", "diagbroyden", "excitingmixing", "krylov", "df-sane")


def least_squares(fun: Callable[..., Any], x0: Any, jac: Callable[..., Any] | str | None = None,
                  bounds: Any = (-np.inf, np.inf), method: Literal['trf', 'dogbox', 'lm'] = "trf", *,
                  args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
                  callback: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Minimise a sum of squares by scipy.optimize.least_squares, with the exact Jacobian.

    Parameters
    ----------
    fun : callable
        `fun(x, *args, **kwargs)` returns the residuals: an array, a list of numbers, or a container of arrays.
    x0 : array_like or container of arrays
        Where to start.
    jac : callable or str, optional
        By default exact. `jac(x, *args, **kwargs)` returns an (m, n) matrix over the flat vectors; SciPy's keywords
        ("2-point", ...) ask for finite differences by SciPy.
    bounds : pair, scipy.optimize.Bounds or container, optional
        Lower and upper bounds, each a number or like `x0`; or a container like `x0` with a (low, high) pair for each
        leaf.
    method : {"trf", "dogbox", "lm"}
    args : tuple
    kwargs : dict, optional
    callback : callable, optional
    **options
        The other arguments of scipy.optimize.least_squares: `loss`, `ftol`, `x_scale`, ... With `tr_solver="lsmr"`
        (for trf and dogbox) the exact Jacobian is sparse, a `scipy.sparse.csr_array`.

    Returns
    -------
    scipy.optimize.OptimizeResult
        SciPy's, with `x` like `x0`; `fun`, `jac`, `grad` and `active_mask` are flat.

    Raises
    ------
    ValueError, TypeError
        As in `minimize`.

    Examples
    --------
    >>> t = np.arange(5.0)
    >>> fit = ad.optimize.least_squares(lambda p: p[0] * np.exp(p[1] * t) - 2 * np.exp(-t), [1.0, -0.5])
    >>> fit.x.round(6)
    array([ 2., -1.])
    """
    packing = Packing("least_squares", fun, x0)
    kwargs = {} if kwargs is None else kwargs
    is_sparse = options.get("tr_solver") == "lsmr" and method != "lm"
    y = Residuals(packing, lambda x: fun(x, *args, **kwargs), records=not is_sparse)
    if callback is not None:
        options["callback"] = packing.callback(callback)
    jac_of_flat: Any = jac
    if callable(jac):
        jac_of_flat = lambda flat: jac(packing.unpack(flat), *args, **kwargs)
    elif jac is None:
        jac_of_flat = sparse_jacobian(y.call) if is_sparse else y.jacobian
    result = scipy_optimize.least_squares(y.value if jac is None else y.value_only, packing.flat, jac_of_flat,
                                          packing.limits(bounds), method, **options)
    return packing.unpacked_result(result)


def root(fun: Callable[..., Any], x0: Any, args: Any = (), method: str = "hybr",
         jac: Callable[..., Any] | bool | None = None, tol: float | None = None,
         callback: Callable[..., Any] | None = None, options: Mapping[str, Any] | None = None) -> Any:
    """Solve f(x) = 0 by scipy.optimize.root, with the exact Jacobian for the methods that use one (hybr, lm).

    The method krylov, for large systems, gets exact products of the Jacobian with vectors instead of differences.

    Parameters
    ----------
    fun : callable
        `fun(x, *args)` returns as many numbers as `x` has: an array, a list of numbers, or a container of arrays.
    x0 : array_like or container of arrays
        Where to start.
    args : tuple
    method : str
        As in SciPy.
    jac : callable or bool, optional
        By default exact; `jac(x, *args)` returns an (n, n) matrix over the flat vectors. True says that `fun` returns
        a pair of the value and this matrix; False asks SciPy for finite differences, as does an `rdiff` in the
        `jac_options` of krylov.
    tol : float, optional
    callback : callable, optional
        `callback(x, f)`; not for hybr and lm.
    options : dict, optional

    Returns
    -------
    scipy.optimize.OptimizeResult
        SciPy's, with `x` like `x0`; the rest of it is flat.

    Raises
    ------
    ValueError, TypeError
        As in `minimize`; also where `fun` does not return as many numbers as there are unknowns.

    Examples
    --------
    >>> ad.optimize.root(lambda x: [x[0] + x[1] - 3, x[0] * x[1] - 2], [0.5, 3.0]).x.round(6)
    array([1., 2.])
    """
    packing = Packing("root", fun, x0)
    _check_method(method)
    args = args if isinstance(args, tuple) else (args,)
    is_lm = method.lower() == "lm"  # hybr updates its Jacobian, and asks for it at a few points
    paired, uses_jac = jac is True, method.lower() in WITH_JACOBIAN
    f = (lambda x: packing.pair(fun(x, *args), "Jacobian")[0]) if paired else (lambda x: fun(x, *args))
    y = Residuals(packing, f, None if is_lm else packing.n, records=is_lm)
    exact = jac is None and uses_jac
    if jac is None and method.lower() == "krylov":
        exact, options = True, with_exact_products(y.call, options)
    value: Function
    jac_of_flat: Any
    if paired and not uses_jac:
        value, jac = y.value_only, None
    elif paired:
        y.value_only(packing.flat)  # to check it
        value = lambda flat: _pair(packing, fun(packing.unpack(flat), *args))
    else:
        value = y.value if exact else y.value_only
    if exact:
        jac_of_flat = y.jacobian if uses_jac else None
    else:
        jac_of_flat = (lambda flat: jac(packing.unpack(flat), *args)) if callable(jac) else jac if uses_jac else None
    result = scipy_optimize.root(value, packing.flat, method=method, jac=jac_of_flat, tol=tol,
                                 callback=packing.callback(callback), options=options)
    return packing.unpacked_result(result)


def _pair(packing: Packing, returned: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a value as a flat vector, and its Jacobian."""
    value, jacobian = packing.pair(returned, "Jacobian")
    return np.concatenate([np.ravel(leaf) for leaf in trees.flatten(value)[0]]), np.asarray(jacobian)


def _check_method(method: Any) -> None:
    if not isinstance(method, str) or method.lower() not in WITH_JACOBIAN + WITHOUT:
        known = ", ".join(WITH_JACOBIAN + WITHOUT)
        raise ValueError(f"ad.optimize.root: unknown method {method!r}; choose one of {known}")


def curve_fit(f: Callable[..., Any], xdata: ArrayLike, ydata: ArrayLike, p0: ArrayLike | None = None,
              sigma: ArrayLike | None = None, absolute_sigma: bool = False, check_finite: bool | None = None,
              bounds: Any = (-np.inf, np.inf), method: Literal['lm', 'trf', 'dogbox'] | None = None,
              jac: Callable[..., Any] | str | None = None, **options: Any) -> Any:
    """Fit the parameters of a function to data by scipy.optimize.curve_fit, with the exact Jacobian.

    Parameters
    ----------
    f : callable
        `f(xdata, *params)` returns the model's ydata; the parameters are numbers. With a container as `p0` it is
        `f(xdata, params)`.
    xdata, ydata : array_like
    p0 : array_like or container of arrays, optional
        The first values of the parameters; by default ones, as many as `f` has arguments.
    sigma : array_like, optional
        Standard deviations of ydata, or their covariance matrix.
    absolute_sigma : bool
    check_finite, bounds, method : optional
        As in SciPy.
    jac : callable or str, optional
        By default exact.
    **options
        The other arguments of scipy.optimize.curve_fit: `full_output`, `nan_policy`, ...

    Returns
    -------
    popt, pcov : ndarray
        The parameters and their covariance matrix; with `full_output` also infodict, mesg and ier. They are as
        SciPy's, except that the parameters of a container are like `p0`; the covariance is that of the flat vector.

    Examples
    --------
    >>> t = np.arange(5.0)
    >>> popt, pcov = ad.optimize.curve_fit(lambda t, a, b: a * np.exp(b * t), t, 2 * np.exp(-t), p0=[1.0, -0.5])
    >>> popt.round(6)
    array([ 2., -1.])
    """
    packing = None if p0 is None else Packing("curve_fit", f, p0)
    options |= {"bounds": bounds, "method": method} | ({} if check_finite is None else {"check_finite": check_finite})
    if packing is None or packing.is_leaf:
        value, exact = (f, jac) if jac else _model(f, lambda xdata, x: f(xdata, *[x[i] for i in range(x.size)]))
        return scipy_optimize.curve_fit(value, xdata, ydata, p0, sigma, absolute_sigma, jac=exact, **options)
    value, exact = _model(None, lambda xdata, x: f(xdata, packing.unpack(x)))
    if jac:
        value = lambda xdata, *params: f(xdata, packing.unpack(np.array(params)))
    popt, *rest = scipy_optimize.curve_fit(value, xdata, ydata, packing.flat, sigma, absolute_sigma, jac=jac or exact,
                                           **options)
    return packing.unpacked_copy(popt), *rest


def _model(like: Function | None, f: Callable[[Any, Any], Any]) -> tuple[Function, Function]:
    """Return `f(xdata, x)` and its Jacobian as functions of xdata and x's elements, with the signature of `like`."""
    data = None
    recorded = RecordedFunction(lambda x: differentiable_call("ad.optimize.curve_fit", lambda x: f(data, x), x))

    def called(function: Callable[[Vector], Any]) -> Function:
        def with_data(xdata: Any, *params: Any) -> Any:
            nonlocal data
            data = xdata
            return function(np.array(params, np.float64))

        return with_data

    value = called(recorded.value)
    return functools.wraps(like)(value) if like else value, called(recorded.jacobian)
