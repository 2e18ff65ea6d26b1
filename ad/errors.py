"""Messages that name what was wrong and the remedy; each is built where all of it is known."""

__all__ = ["MissingRule", "conversion_error", "no_item_assignment"]


class MissingRule(NotImplementedError):
    """A NumPy function was called on a value of ours, and the table has no rule for it."""


def conversion_error(how):
    """For a conversion that would silently cut a value off from its derivative."""
    return TypeError(
        f"ad: {how}() of a value that is being differentiated would make a constant of it. "
        "Use NumPy functions or ad's own on it, or cut it off on purpose with x.numpy() or ad.stop_gradient(x)."
    )


def no_item_assignment():
    """For `x[i] = v`."""
    return TypeError(
        "ad: arrays are not changed in place. Build the result with np.where, np.concatenate or np.stack, "
        "or collect the pieces in a list."
    )
