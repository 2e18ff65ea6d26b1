"""Messages that name what was wrong and the remedy; each is built where all of it is known."""
import sys
import warnings

from ad.errors.callers import find_caller
from ad.errors.remedies import instead_of, remedy

__all__ = [
    "CALLS", "IndependentWarning", "MissingRule", "another_argument", "another_call", "another_input", "cannot_write",
    "changes_in_place", "conversion_error", "differences_instead", "is_untraceable", "kind", "lost_guard",
    "lost_lanes", "lost_part", "lost_recording", "lost_rule", "missing_rule", "needs_scipy", "no_assignment",
    "no_change", "no_derivative", "no_item_assignment", "no_place", "not_a_function", "not_an_output", "not_argnums",
    "shown", "unsupported_argument", "warn_independent",
]

# How the transforms are called that are not called as `ad.grad(f)(x)` is.
CALLS = {
    "hvp": "ad.hvp(f)(x, v)", "jvp": "ad.jvp(f, (x,), (x_dot,))", "linearize": "ad.linearize(f, x)",
    "vjp": "ad.vjp(f, x)",
}
CUT = "cut it off on purpose with x.numpy() or ad.stop_gradient(x)"

def kind(value):
    """What a value is, with its article: a float, an ndarray, an ad.Array, None."""
    name = type(value).__name__
    if type(value).__module__.partition(".")[0] == "ad":
        name = f"ad.{name}"
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"


def shown(value):
    """A value on one line, and not much of that."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text:.37}..."


class MissingRule(NotImplementedError):
    """A NumPy function was called on a value of ours, and the table has no rule for it."""

    is_untraceable = True


class IndependentWarning(UserWarning):
    """A derivative is zero because what the function returned does not depend on the argument."""


def warn_independent(transform, independent, cut):
    """Warn, if so, that a function does not depend on its argument; `cut` is how a value was cut off on the way."""
    if not independent:
        return
    reason = (f"A value that does was cut off by {cut}, and what is computed from the result is a constant." if cut else
              "It may come from a branch that is constant (return 0 * x there), or from another variable.")
    warnings.warn(f"ad.{transform}: what the function returned does not depend on the argument, and its derivative is "
                  f"zero. {reason}", IndependentWarning, stacklevel=_levels_outside())


def _levels_outside():
    """The `stacklevel` of the innermost frame that is not the library's, for the caller."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "ad":
        frame, level = frame.f_back, level + 1
    return level


def no_derivative(transform, dtype):
    """For a function to be differentiated that returns integers or truths."""
    what = "truths" if dtype.kind == "b" else "integers"
    return TypeError(
        f"ad.{transform}: the function returned {what} ({dtype}), which have no derivative: they come from functions "
        "like np.argmax, from comparisons, or from int(). Return floating numbers; what is only to be passed on goes "
        "beside them, with has_aux=True."
    )


def missing_rule(what, instead=""):
    """For a NumPy callable, `what` it is called, that no mode can differentiate."""
    caller = find_caller()
    if caller.function.startswith("numpy.") and caller.function.replace("numpy", "np", 1) != what:
        instead = instead or f"{remedy(caller.function)}; or"  # NumPy itself made the call
    return MissingRule(
        f"ad: {what} has no rule, in reverse or in forward mode, and was called on a value that is being "
        f"differentiated{_at(caller)}. {instead or instead_of(what)} cut the value "
        "off on purpose with x.numpy() or ad.stop_gradient(x). To add the rule: one entry in ad/ops (CONTRIBUTING.md "
        "shows how)."
    )


def unsupported_argument(function, argument, value, instead=""):
    """For an argument of a function of ours that its rule does not know."""
    return MissingRule(
        f"ad.{function} has no rule, in reverse or in forward mode, for the argument {argument}={shown(value)}"
        f"{_at(find_caller())}. "
        f"{instead or 'Leave it out, or write the call in functions that have one.'} "
        "To add the rule: one entry in ad/ops (CONTRIBUTING.md shows how)."
    )


def not_a_function(transform, f):
    """For anything else where a transform takes a function."""
    return TypeError(f"ad.{transform} takes a function, not {kind(f)}: write {_call(transform)}")


def not_argnums(transform, argnums):
    """For what is no int or tuple of ints."""
    return TypeError(
        f"ad.{transform}: argnums is an int or a tuple of ints, not {shown(argnums)}; what the function is called with "
        f"comes in a second call: write {_call(transform)}"
    )


def _call(transform):
    return CALLS.get(transform, f"ad.{transform}(f)(x)")


def conversion_error(how):
    """For a conversion that would silently cut a value off from its derivative; says who asks, and what to do."""
    caller = find_caller()
    if caller.writes:
        return _untraceable(
            f"ad: {caller.text}: an element of a plain ndarray is a constant, and the value is being differentiated or "
            f"recorded{_at(caller)}. Collect the pieces in a list and use np.stack(pieces); or {CUT}."
        )
    asked = caller.function if how in ("float", "complex", "np.asarray") else how
    who = f"{asked or how}()" if caller.is_call or not asked else f"an operation with {asked}"
    return _untraceable(
        f"ad: {who} would make a constant of a value that is being differentiated or recorded{_at(caller)}. "
        f"{remedy(asked or how) or 'Keep x itself'}; or {CUT}."
    )


def _at(caller):
    """The line of the user's, in brackets."""
    return f" ({caller.place}: {caller.text})" if caller.text else ""


def _untraceable(message):
    """An error of a function that `ad` cannot follow, which differences could."""
    error = TypeError(message)
    error.is_untraceable = True
    return error


def is_untraceable(error):
    """Whether an error, or what caused it, says that `ad` cannot follow a function."""
    return getattr(error, "is_untraceable", False) or getattr(error.__cause__, "is_untraceable", False)


def differences_instead(caller, error):
    """For a function given to `ad.optimize` that cannot be followed: an error of the same type."""
    what = error if getattr(error, "is_untraceable", False) else error.__cause__
    instead = {"root": "give jac=False", "curve_fit": "call scipy.optimize.curve_fit"}.get(
        caller.rpartition(".")[2], 'give jac="2-point"')
    return type(what)(f"{caller}: f cannot be differentiated. {what} Or {instead}, for finite differences by SciPy.")


def no_item_assignment():
    """For `x[i] = v`."""
    caller = find_caller()
    return TypeError(
        f"ad: {caller.text or 'x[i] = v'}: arrays are not changed in place{_at(caller)}. Build the result with "
        "np.where, np.concatenate or np.stack, or collect the pieces in a list."
    )


def changes_in_place(name, instead):
    """For a method of ndarray's that changes it, as `x.sort()`."""
    return TypeError(
        f"ad: x.{name}(): arrays are not changed in place{_at(find_caller())}. Write y = {instead}."
    )


def cannot_write(what):
    """For a plain ndarray as `out=` of a call whose result is being differentiated."""
    return TypeError(
        f"ad: {what} cannot write a value that is being differentiated into a plain ndarray, which would cut it off"
        f"{_at(find_caller())}. "
        "Use the result instead (y = np.add(x, a), not np.add(x, a, out=y); a = a + x, not a += x), "
        "or give out= an array of ours (ad.constant)."
    )


def not_an_output(target):
    """For an `out=` that cannot be rebound."""
    remedy = "use x.assign(...)" if hasattr(target, "assign") else "use the result"
    return TypeError(f"ad: {kind(target)} cannot be the out= of a NumPy function; {remedy}.")


def needs_scipy(module):
    """For a module of ours that calls SciPy, where there is none."""
    return ImportError(f'{module} needs SciPy: pip install "dualtape[scipy]"')


def no_assignment(name):
    """For `variable.assign` while a program is recorded."""
    return TypeError(
        f"ad: variable {name!r} was assigned to in a function that ad.compile records (or ad.vmap), and a replay "
        "would not assign again. Return the new value, and assign it outside."
    )


def no_place(name, argument):
    """For a keyword of a function under `custom_gradient` that has no place among its positional arguments."""
    return TypeError(
        f"ad: {name}, under custom_gradient, has no gradient for its keyword {argument!r}, which is being "
        "differentiated. Make it a positional parameter, of which grad_fn returns a cotangent too; or cut it off on "
        f"purpose: {argument}=ad.stop_gradient(x)."
    )


def lost_part(name, dtype, found):
    """For `variable.assign` of a value whose fraction, or imaginary part, the variable cannot hold."""
    return TypeError(
        f"ad: variable {name!r} has the dtype {dtype}, which cannot hold values of dtype {found}. Make it with that "
        f"(ad.Variable(value, dtype={str(found)!r})), or cast the value on purpose: "
        f"np.asarray(value).astype({str(dtype)!r})."
    )


def no_change(name, how):
    """For `variable *= x` where that loses a derivative."""
    return TypeError(
        f"ad: variable {name!r} was changed by {how} in the block of a tape, or by a value that is being "
        "differentiated: the derivative of the change would be lost. Give the result another name (y = w * x), change "
        "the variable after the block, or cut the change off on purpose: w.assign(...)."
    )


def another_argument(fixed, found):
    """For a program called with another int, string or object than it was recorded with."""
    return ValueError(
        f"ad: a program was recorded with the argument {shown(fixed)}, which is part of it, and called with "
        f"{shown(found)}. Record it again with that, or use ad.compile."
    )


def another_call(positional, names, args, kwargs):
    """For a program called with another number of arguments, or other keywords, than the function was."""
    def counted(args, names):
        return f"{len(args)} positional argument{'' if len(args) == 1 else 's'} and {_keywords(names)}"

    return TypeError(f"ad: this program was recorded with {counted(positional, names)}; it was called with "
                     f"{counted(args, kwargs)}")


def _keywords(names):
    return f"the keyword{'' if len(names) == 1 else 's'} {', '.join(names)}" if names else "no keywords"


def another_input(i, aval, shape, dtype):
    """For a program called with another array than it was recorded with."""
    return ValueError(
        f"ad: input {i} of this program has shape {aval.shape} and dtype {aval.dtype}, not {shape} and {dtype}"
    )


def lost_guard(guard, value):
    """For a program called with values that would have taken Python another way."""
    return ValueError(
        f"ad: {guard.line}: Python would go another way here than when the program was recorded ({guard.kind} was "
        f"{shown(guard.answer)}, is of {shown(value)} now). Use ad.compile, which records that way too."
    )


def lost_lanes(what, line):
    """For a plain value of what has a value in each lane."""
    return TypeError(
        f"ad.vmap: {line}: {what} would be the value of one lane, and be taken for that of all. Use functions of NumPy "
        "on the value itself, ad.stop_gradient(x) to cut off its derivative; or call the function for each lane: "
        "np.stack([f(row) for row in x])."
    )


def lost_recording():
    """For a sweep over the op of a `custom_gradient` function that no recorder of its own thread keeps any more."""
    return MissingRule(
        "ad: the rule of a function under custom_gradient is gone with the tape (or transform) that recorded it. Keep "
        "the tape for as long as you take gradients of its values, also in another thread."
    )


def lost_rule():
    """For a program of a function under `custom_gradient` that is to be differentiated."""
    return MissingRule(
        "ad: this program was recorded from a function under custom_gradient, and has its ops but not its rule: its "
        "derivative would be another. Record the derivative, ad.record(ad.grad(f))(x), or use ad.compile(ad.grad(f))."
    )
