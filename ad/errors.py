"""Messages that name what was wrong and the remedy; each is built where all of it is known."""

__all__ = [
    "MissingRule", "cannot_write", "conversion_error", "missing_rule", "no_item_assignment", "not_an_output",
    "unsupported_argument",
]


class MissingRule(NotImplementedError):
    """A NumPy function was called on a value of ours, and the table has no rule for it."""


def missing_rule(what, instead=""):
    """For a NumPy callable, `what` it is called, that no mode can differentiate."""
    return MissingRule(
        f"ad: {what} has no rule, in reverse or in forward mode, and was called on a value that is being "
        f"differentiated. {instead or 'Write it in functions that have one, or'} cut the value off on purpose with "
        "x.numpy() or ad.stop_gradient(x). To add the rule: one entry in ad/ops (CONTRIBUTING.md shows how)."
    )


def unsupported_argument(function, argument, value, instead=""):
    """For an argument of a function of ours that its rule does not know."""
    shown = " ".join(repr(value).split())
    return MissingRule(
        f"ad.{function} has no rule, in reverse or in forward mode, for the argument {argument}={shown:.40}. "
        f"{instead or 'Leave it out, or write the call in functions that have one.'} "
        "To add the rule: one entry in ad/ops (CONTRIBUTING.md shows how)."
    )


def conversion_error(how):
    """For a conversion that would silently cut a value off from its derivative."""
    return TypeError(
        f"ad: {how}() of a value that is being differentiated would make a constant of it. "
        "Use NumPy functions or ad's own on it, or cut it off on purpose with x.numpy() or ad.stop_gradient(x). "
        "For a list of such values: np.stack or ad.asarray; for a[i] = x: collect the pieces and stack them; "
        "for a.dot(x): a @ x; for scipy.special.logsumexp: ad.special.logsumexp."
    )


def no_item_assignment():
    """For `x[i] = v`."""
    return TypeError(
        "ad: arrays are not changed in place. Build the result with np.where, np.concatenate or np.stack, "
        "or collect the pieces in a list."
    )


def cannot_write(what):
    """For a plain ndarray as `out=` of a call whose result is being differentiated."""
    return TypeError(
        f"ad: {what} cannot write a value that is being differentiated into a plain ndarray, which would cut it off. "
        "Use the result instead (y = np.add(x, a), not np.add(x, a, out=y); a = a + x, not a += x), "
        "or give out= an array of ours (ad.constant)."
    )


def not_an_output(target):
    """For an `out=` that cannot be rebound."""
    remedy = "use x.assign(...)" if hasattr(target, "assign") else "use the result"
    return TypeError(f"ad: a {type(target).__name__} cannot be the out= of a NumPy function; {remedy}.")
