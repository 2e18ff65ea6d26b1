"""`minimize`: scipy.optimize.minimize, Ipopt and Uno with the exact derivatives that the method uses."""
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import optimize as scipy_optimize

from ad.optimize.constraints import listed, own_derivative
from ad.optimize.functions import Outputs, Scalar
from ad.optimize.ipopt import minimize_ipopt
from ad.optimize.packing import Packing
from ad.optimize.problem import Problem
from ad.optimize.trust_constr import MAX_DENSE, minimize_trust_constr
from ad.optimize.uno import minimize_uno
from ad.transforms.differentiated_call import Function

__all__ = ["minimize"]

# The derivatives that each method can use.
FIRST, SECOND, PRODUCTS = ("jac",), ("jac", "hess"), ("jac", "hess", "hessp")
METHODS = {
    "Nelder-Mead": (), "Powell": (), "CG": FIRST, "BFGS": FIRST, "Newton-CG": PRODUCTS, "L-BFGS-B": FIRST, "TNC": FIRST,
    "COBYLA": (), "COBYQA": (), "SLSQP": FIRST, "trust-constr": PRODUCTS, "dogleg": SECOND, "trust-ncg": PRODUCTS,
    "trust-exact": SECOND, "trust-krylov": PRODUCTS,
}
# Solvers other than SciPy's, which take sparse derivatives and nothing else.
SOLVERS = {"ipopt": minimize_ipopt, "uno": minimize_uno}
TAKES = {name.lower(): takes for name, takes in METHODS.items()} | dict.fromkeys(SOLVERS, SECOND)


def minimize(fun: Callable[..., Any], x0: Any, args: Any = (), method: str | Callable[..., Any] | None = None,
             jac: Callable[..., Any] | str | bool | None = None, hess: Any = None,
             hessp: Callable[..., Any] | None = None, bounds: Any = None, constraints: Any = (),
             tol: float | None = None, callback: Callable[..., Any] | None = None,
             options: Mapping[str, Any] | None = None) -> Any:
    """Minimise a scalar function by scipy.optimize.minimize, Ipopt or Uno, with exact derivatives.

    Value and gradient come from one evaluation of `fun`. Methods that take second derivatives get the exact Hessian
    (dogleg, trust-exact), or (Newton-CG, trust-krylov, trust-ncg) the Hessian up to 100 variables and Hessian-vector
    products beyond. Nelder-Mead, Powell, COBYLA and COBYQA get none.

    trust-constr, ipopt and uno are for constraints and for many variables: they get sparse Jacobians of the
    constraints, and the sparse Hessian of the Lagrangian. The functions are recorded (`ad.compile`) and replayed. Where
    a function or a constraint has no finite value, or raises an ArithmeticError or a LinAlgError, they step back.

    Parameters
    ----------
    fun : callable
        `fun(x, *args)` returns one real number; `x` is like `x0`.
    x0 : array_like or container of arrays
        Where to start; a number is an array with one element, as in SciPy. Every leaf is searched over in float64,
        integers too.
    args : tuple
        Further arguments of `fun` (and of `jac`, `hess`, `hessp`), which are not differentiated.
    method : str or callable, optional
        As in SciPy; by default BFGS, with bounds L-BFGS-B, with constraints SLSQP. Also "ipopt" (needs cyipopt:
        `pip install "dualtape[ipopt]"`) and "uno" (needs unopy: `pip install "dualtape[uno]"`).
    jac, hess, hessp : optional
        By default exact. A function of your own is used instead: `jac(x, *args)` returns a container like `x0` or a
        flat array, `hess(x, *args)` the (n, n) matrix over the flat vector, `hessp(x, p, *args)` takes and returns
        flat vectors. SciPy's keywords ("2-point", ...; `jac=True` where `fun` returns value and gradient) and its
        quasi-Newton updates (for `hess`) are passed on to it. Not for ipopt and uno.
    bounds : scipy.optimize.Bounds, sequence or container, optional
        A (low, high) pair for each element of the flat vector, or a container like `x0` with such a pair, of numbers
        or of arrays, for each leaf; None is no bound.
    constraints : dict, NonlinearConstraint, LinearConstraint, or sequence of them
        As in SciPy; their functions take `x` like `x0`. Jacobians, and for trust-constr the Hessians of weighted
        sums of the constraints, are exact where SciPy would use its defaults ("2-point" and BFGS()); others that
        you give are used (not for ipopt and uno). The matrix of a LinearConstraint, dense or sparse, is over the flat
        vector.
    tol : float, optional
    callback : callable, optional
        `callback(x)` or `callback(intermediate_result)`, by SciPy's rules; `x` (or `intermediate_result.x`) is
        like `x0`. For trust-constr, ipopt and uno also `callback(x, state)`; it stops the search by returning True or
        raising StopIteration.
    options : dict, optional
        Options of the method. For trust-constr, ipopt and uno: `maxiter`; `max_time`, seconds after which to stop;
        `disp`, to show a progress line (by tqdm where it is installed); and the solver's own, by its own names.

    Returns
    -------
    scipy.optimize.OptimizeResult
        SciPy's, with `x` like `x0`. That of trust-constr (unless it was given derivatives), ipopt and uno has besides

        - `multipliers`, one vector for each constraint, and `bound_multipliers`: the gradient of f plus their products
          with the gradients of the constraints and the variables is zero, so they are positive at upper bounds
        - `constr`, the values of each constraint, `constr_violation`, `optimality` (the largest element of the
          gradient of the Lagrangian) and `grad` (which is also `jac`, except for trust-constr: SciPy's result has the
          constraints' Jacobians there, and in `constr` and `jac` an item for the bounds)
        - `setup_time` (recording, finding the sparse structures), `evaluation_time` and `solver_time`, in seconds;
          `execution_time`, all of it; `evaluations`, a dict of counts; `failed_evaluations`
        - `info`, what the solver itself says

        After Ctrl-C, `x` is the best point so far, and `message` says so.

    Raises
    ------
    ValueError
        For an unknown method, an empty `x0`, a `fun` that returns an array, or that is not finite at `x0`; bounds or
        constraints that do not fit.
    TypeError
        For an `x0` that is not of real numbers, or a `fun` that does not return a number or does not depend on `x`.
    ImportError
        For a solver that is not installed.

    Examples
    --------
    >>> fit = ad.optimize.minimize(lambda p: np.sum((p["w"] - 1) ** 2) + p["b"] ** 2, {"w": np.zeros(2), "b": 3.0})
    >>> fit.x["w"].round(6)
    array([1., 1.])
    """
    packing = Packing("minimize", fun, x0)
    args = args if isinstance(args, tuple) else (args,)
    takes = _taken_by(method)
    given = {name: how for name, how in (("jac", jac), ("hess", hess), ("hessp", hessp)) if how is not None}
    solver = _sparse_solver(packing, method, given, constraints)
    if solver is not None:
        make = lambda kind=Problem: kind(fun, x0, bounds, constraints, args=args, caller="minimize")
        return solver(make, callback, tol, options)
    return packing.unpacked_result(scipy_optimize.minimize(
        **_functions(packing, fun, args, takes, given), x0=packing.flat, method=method, bounds=packing.bounds(bounds),
        constraints=_constraints(packing, constraints, takes, str(method).lower() == "trust-constr"), tol=tol,
        callback=packing.callback(callback), options=options,
    ))


def _taken_by(method: Any) -> tuple[str, ...]:
    """Return the names of the derivatives that a method can use."""
    if method is None or callable(method):
        return SECOND if callable(method) else FIRST
    if not isinstance(method, str) or method.lower() not in TAKES:
        known = ", ".join([*METHODS, *SOLVERS])
        raise ValueError(f"ad.optimize.minimize: unknown method {method!r}; choose one of {known}")
    return TAKES[method.lower()]


def _sparse_solver(packing: Packing, method: Any, given: dict[str, Any], constraints: Any) -> Any:
    """Return what runs a method that takes sparse derivatives; None if SciPy gets dense ones or the user's."""
    name = method.lower() if isinstance(method, str) else None
    if name in SOLVERS:
        if given:
            raise ValueError(f"{packing.caller}: {name} takes no {' and no '.join(given)}: its derivatives are exact "
                             "and sparse; leave it out, or make f an op with rules of your own (ad.ops.custom)")
        return SOLVERS[name]
    if name != "trust-constr" or given or any(map(own_derivative, listed(packing, constraints))):
        return None
    return minimize_trust_constr


def _functions(packing: Packing, f: Function, args: tuple[Any, ...], takes: tuple[str, ...],
               given: dict[str, Any]) -> dict[str, Any]:
    """Return `fun` and its derivatives for SciPy: those that the user gives, else exact ones."""
    paired = given.get("jac") is True
    y = Scalar(packing, (lambda x: packing.pair(f(x, *args), "gradient")[0]) if paired else (lambda x: f(x, *args)))
    functions = {name: _given(packing, name, how, args) for name, how in given.items()}
    if paired:
        functions["fun"] = lambda flat: _pair(packing, f(packing.unpack(flat), *args))
    elif "jac" in given or "jac" not in takes:
        functions["fun"] = y.value_only
    else:
        functions |= {"fun": y.value, "jac": y.gradient}
    if "hess" in takes and not {"hess", "hessp"} & set(given):
        dense = "hessp" not in takes or packing.n <= MAX_DENSE
        functions |= {"hess": y.hessian} if dense else {"hessp": y.product}
    return functions


def _given(packing: Packing, name: str, how: Any, args: tuple[Any, ...]) -> Any:
    """Return a derivative that the user gives as a function of the flat vector; keywords are left to SciPy."""
    if not callable(how):
        return how
    if name == "hessp":
        return lambda flat, v: how(packing.unpack(flat), v, *args)
    if name == "hess":
        return lambda flat: how(packing.unpack(flat), *args)
    return lambda flat: packing.pack(how(packing.unpack(flat), *args), "the gradient by jac")


def _pair(packing: Packing, returned: Any) -> tuple[Any, Any]:
    value, gradient = packing.pair(returned, "gradient")
    return value, packing.pack(gradient, "the gradient returned by f")


# -- constraints -----------------------------------------------------------------------------


def _constraints(packing: Packing, constraints: Any, takes: tuple[str, ...], second: bool) -> Any:
    """Return constraints on the flat vector, with the derivatives that the method takes; `second`: also Hessians."""
    return [_constraint(packing, c, "jac" in takes, second) for c in listed(packing, constraints)]


def _constraint(packing: Packing, c: Any, first: bool, second: bool) -> Any:
    if isinstance(c, dict):
        return _from_dict(packing, c, first, second)
    if isinstance(c, scipy_optimize.NonlinearConstraint):
        return _nonlinear(packing, c, first, second)
    return c


def _from_dict(packing: Packing, c: Any, first: bool, second: bool) -> Any:
    """Convert a constraint {"type", "fun", "jac", "args"}, which has no Hessian: to a NonlinearConstraint if needed."""
    fun, jac, args = c["fun"], c.get("jac"), c.get("args", ())
    own = (lambda x: jac(x, *args)) if callable(jac) else jac or "2-point"
    if second:
        high = 0 if c["type"] == "eq" else np.inf
        c = scipy_optimize.NonlinearConstraint(lambda x: fun(x, *args), 0, high, own)
        return _nonlinear(packing, c, first, second)
    y = Outputs(packing, lambda x: fun(x, *args))
    value, jac_of_flat = _with_jacobian(packing, own, y, bool(first or jac))
    return {"type": c["type"], "fun": value} | ({"jac": jac_of_flat} if first or jac else {})


def _nonlinear(packing: Packing, c: Any, first: bool, second: bool) -> Any:
    y, hess = Outputs(packing, c.fun), c.hess
    if callable(hess):
        hess = lambda flat, v: c.hess(packing.unpack(flat), v)
    elif second and type(hess) is scipy_optimize.BFGS and (callable(c.jac) or c.jac == "2-point"):
        hess = y.hessian  # with differences on request there are none of second derivatives, and no exact ones
    value, jac = _with_jacobian(packing, c.jac, y, first or callable(c.jac))
    return scipy_optimize.NonlinearConstraint(
        value, c.lb, c.ub, jac, hess, c.keep_feasible, c.finite_diff_rel_step, c.finite_diff_jac_sparsity)


def _with_jacobian(packing: Packing, jac: Any, y: Outputs, wanted: bool) -> tuple[Function, Any]:
    """Return the value and the Jacobian that the user gives; the exact one instead of SciPy's default."""
    if callable(jac):
        return y.call, lambda flat: jac(packing.unpack(flat))
    return (y.value, y.jacobian) if wanted and jac == "2-point" else (y.call, jac)
