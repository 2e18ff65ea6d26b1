"""Errors and warnings: each function returns the error of one mistake, with a message that names cause and remedy."""
from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ad.errors.callers import Caller

__all__ = [
    "CALLS", "IndependentWarning", "MissingRule", "another_argument", "another_call", "another_input", "cannot_write",
    "conversion_error", "differences_instead", "is_untraceable", "kind", "lost_guard",
    "lost_in_integers", "lost_lanes", "lost_part", "lost_recording", "lost_rule", "missing_rule", "name_of",
    "needs_extra", "needs_scipy", "no_assignment", "no_change", "no_derivative", "no_place", "not_a_function",
    "not_an_output", "not_argnums", "shown", "unsupported_argument", "warn_independent",
]

# How to call the transforms that are not called like `ad.grad(f)(x)`.
CALLS = {
    "hvp": "ad.hvp(f)(x, v)", "jvp": "ad.jvp(f, (x,), (x_dot,))", "linearize": "ad.linearize(f, x)",
    "vjp": "ad.vjp(f, x)",
}
CUT = "cut it off on purpose with x.numpy() or ad.stop_gradient(x)"

def kind(value: Any) -> str:
    """Return the type of a value with its article: a float, an ndarray, an ad.Array, None."""
    name = type(value).__name__
    if type(value).__module__.partition(".")[0] == "ad":
        name = f"ad.{name}"
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"


def name_of(f: Any) -> str:
    """Return the name of a function, or of an object that is called like one."""
    name: str | None = getattr(f, "__name__", None)
    return name or name_of(getattr(f, "func", type(f)))


def shown(value: Any) -> str:
    """Return a short representation of a value on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text:.37}..."


def find_caller() -> Caller:
    """Return the `Caller` of the conversion under way."""
    from ad.errors import callers  # only once there is an error: most programs need neither this nor the remedies

    return callers.find_caller()


class MissingRule(NotImplementedError):
    """A NumPy function that has no derivative rule was called on an Array."""

    is_untraceable = True


class IndependentWarning(UserWarning):
    """A derivative is zero because the function's value does not depend on the argument."""


def warn_independent(transform: str, independent: bool, cut: str | None) -> None:
    """Warn if a function does not depend on its argument; `cut` names the call that cut off a value on the way."""
    if not independent:
        return
    reason = (f"A value that does was cut off by {cut}, and what is computed from the result is a constant." if cut else
              "It may come from a branch that is constant (return 0 * x there), or from another variable.")
    warnings.warn(f"ad.{transform}: what the function returned does not depend on the argument, and its derivative is "
                  f"zero. {reason}", IndependentWarning, stacklevel=_levels_outside())


def _levels_outside() -> int:
    """Return the `stacklevel`, for the caller, of the innermost frame outside of the library."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "ad":
        frame, level = frame.f_back, level + 1
    return level


def no_derivative(transform: str, dtype: Any) -> TypeError:
    """Error for a function that returns integers or truths and is to be differentiated."""
    what = "truths" if dtype.kind == "b" else "integers"
    return TypeError(
        f"ad.{transform}: the function returned {what} ({dtype}), which have no derivative: they come from functions "
        "like np.argmax, from comparisons, or from int(). Return floating numbers; what is only to be passed on goes "
        "beside them, with has_aux=True."
    )


def missing_rule(what: str, instead: str = "") -> MissingRule:
    """Error for a NumPy callable (named by `what`) that has no derivative rule."""
    from ad.errors.remedies import instead_of, remedy

    caller = find_caller()
    if caller.function.startswith("numpy.") and caller.function.replace("numpy", "np", 1) != what:
        instead = instead or f"{remedy(caller.function)}; or"  # NumPy itself made the call
    return MissingRule(
        f"ad: {what} has no rule, in reverse or in forward mode, and was called on a value that is being "
        f"differentiated{_at(caller)}. {instead or instead_of(what)} cut the value "
        "off on purpose with x.numpy() or ad.stop_gradient(x). To give it a rule, make an op of it by ad.ops.custom."
    )


def unsupported_argument(function: str, argument: str, value: Any, instead: str = "") -> MissingRule:
    """Error for an argument of a NumPy function that its derivative rule does not support."""
    return MissingRule(
        f"ad.{function} has no rule, in reverse or in forward mode, for the argument {argument}={shown(value)}"
        f"{_at(find_caller())}. "
        f"{instead or 'Leave it out, or write the call in functions that have one.'} "
        "To add the rule: one entry in ad/ops (CONTRIBUTING.md shows how)."
    )


def not_a_function(transform: str, f: Any) -> TypeError:
    """Error for a transform whose first argument is not callable."""
    return TypeError(f"ad.{transform} takes a function, not {kind(f)}: write {_call(transform)}")


def not_argnums(transform: str, argnums: Any) -> TypeError:
    """Error for `argnums` that are not an int or a tuple of ints."""
    return TypeError(
        f"ad.{transform}: argnums is an int or a tuple of ints, not {shown(argnums)}; what the function is called with "
        f"comes in a second call: write {_call(transform)}"
    )


def _call(transform: str) -> str:
    return CALLS.get(transform, f"ad.{transform}(f)(x)")


def conversion_error(how: str) -> TypeError:
    """Error for a conversion that would silently cut a value off from its derivative; names the call that asks."""
    from ad.errors.remedies import WRITABLE, remedy

    caller = find_caller()
    if caller.writes:
        return _untraceable(
            f"ad: {caller.text}: an element of a plain ndarray is a constant, and the value is being differentiated or "
            f"recorded{_at(caller)}. {WRITABLE}; or {CUT}."
        )
    asked = caller.function if how in ("float", "complex", "np.asarray") else how
    who = f"{asked or how}()" if caller.is_call or not asked else f"an operation with {asked}"
    return _untraceable(
        f"ad: {who} would make a constant of a value that is being differentiated or recorded{_at(caller)}. "
        f"{remedy(asked or how) or 'Keep x itself'}; or {CUT}."
    )


def _at(caller: Caller) -> str:
    """Return the line of the user's code in brackets."""
    return f" ({caller.place}: {caller.text})" if caller.text else ""


def _untraceable(message: str) -> TypeError:
    """Make the error of a function that `ad` cannot differentiate, but finite differences can."""
    error = TypeError(message)
    error.is_untraceable = True  # type: ignore[attr-defined]
    return error


def is_untraceable(error: BaseException) -> bool:
    """Whether an error, or its cause, says that `ad` cannot differentiate a function."""
    return getattr(error, "is_untraceable", False) or getattr(error.__cause__, "is_untraceable", False)


def differences_instead(caller: str, error: BaseException, name: str = "f", instead: str | None = None) -> Any:
    """Error, of the same type, for a function given to `ad.optimize` that cannot be differentiated.

    `instead` says how to get finite differences; by default as the caller has it. It is empty where there are none.
    """
    what: Any = error if getattr(error, "is_untraceable", False) else error.__cause__
    if instead is None:
        instead = {"root": "give jac=False", "curve_fit": "call scipy.optimize.curve_fit"}.get(
            caller.rpartition(".")[2], 'give jac="2-point"')
    remedy = f" Or {instead}, for finite differences by SciPy." if instead else ""
    return type(what)(f"{caller}: {name} cannot be differentiated. {what}{remedy}")


def lost_in_integers(dtype: Any) -> TypeError:
    """Error for writing a value that is being differentiated to an array of integers or booleans."""
    return TypeError(
        f"ad: an array of dtype {dtype} cannot hold a value that is being differentiated{_at(find_caller())}. "
        "Make the array with dtype=float."
    )


def cannot_write(what: str) -> TypeError:
    """Error for a call that writes a value that is being differentiated, or recorded, into an ndarray."""
    from ad.errors.remedies import WRITABLE

    return _untraceable(
        f"ad: {what} cannot write a value that is being differentiated into a plain ndarray, which would cut it off"
        f"{_at(find_caller())}. {WRITABLE}; or use the result, if there is one (a = a + x, not a += x)."
    )


def not_an_output(target: Any) -> TypeError:
    """Error for an `out=` that is no ndarray and no Array that can be rebound."""
    remedy = "use x.assign(...)" if hasattr(target, "assign") else "use the result"
    return TypeError(f"ad: {kind(target)} cannot be the out= of a NumPy function; {remedy}.")


def needs_scipy(module: str) -> ImportError:
    """Error for a module that needs SciPy, where SciPy is not installed."""
    return needs_extra(module, "SciPy", "scipy")


def needs_extra(user: str, package: str, extra: str) -> ImportError:
    """Error for what needs a package that is not installed, but would be with an extra of this distribution."""
    return ImportError(f'{user} needs {package}: pip install "dualtape[{extra}]"')


def no_assignment(name: str) -> TypeError:
    """Error for `variable.assign` while a program is being recorded."""
    return TypeError(
        f"ad: variable {name!r} was assigned to in a function that ad.compile records (or ad.vmap), and a replay "
        "would not assign again. Return the new value, and assign it outside."
    )


def no_place(name: str, argument: str) -> TypeError:
    """Error for a keyword-only argument of a function under `custom_gradient` that is being differentiated."""
    return TypeError(
        f"ad: {name}, under custom_gradient, has no gradient for its keyword {argument!r}, which is being "
        "differentiated. Make it a positional parameter, of which grad_fn returns a cotangent too; or cut it off on "
        f"purpose: {argument}=ad.stop_gradient(x)."
    )


def lost_part(name: str, dtype: Any, found: Any) -> TypeError:
    """Error for `variable.assign` of a value whose fraction or imaginary part the variable cannot hold."""
    return TypeError(
        f"ad: variable {name!r} has the dtype {dtype}, which cannot hold values of dtype {found}. Make it with that "
        f"(ad.Variable(value, dtype={str(found)!r})), or cast the value on purpose: "
        f"np.asarray(value).astype({str(dtype)!r})."
    )


def no_change(name: str, how: str) -> TypeError:
    """Error for `variable *= x` where that would lose a derivative."""
    return TypeError(
        f"ad: variable {name!r} was changed by {how} in the block of a tape, or by a value that is being "
        "differentiated: the derivative of the change would be lost. Give the result another name (y = w * x), change "
        "the variable after the block, or cut the change off on purpose: w.assign(...)."
    )


def another_argument(fixed: Any, found: Any) -> ValueError:
    """Error for a program that was recorded with another int, string or object than it is called with."""
    return ValueError(
        f"ad: a program was recorded with the argument {shown(fixed)}, which is part of it, and called with "
        f"{shown(found)}. Record it again with that, or use ad.compile."
    )


def another_call(positional: Any, names: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TypeError:
    """Error for a program that was recorded with other numbers of arguments, or keywords, than it is called with."""
    def counted(args: Any, names: Any) -> str:
        return f"{len(args)} positional argument{'' if len(args) == 1 else 's'} and {_keywords(names)}"

    return TypeError(f"ad: this program was recorded with {counted(positional, names)}; it was called with "
                     f"{counted(args, kwargs)}")


def _keywords(names: Any) -> str:
    return f"the keyword{'' if len(names) == 1 else 's'} {', '.join(names)}" if names else "no keywords"


def another_input(i: int, aval: Any, shape: tuple[int, ...], dtype: Any) -> ValueError:
    """Error for a program that was recorded with another shape or dtype of an array than it is called with."""
    return ValueError(
        f"ad: input {i} of this program has shape {aval.shape} and dtype {aval.dtype}, not {shape} and {dtype}"
    )


def lost_guard(guard: Any, value: Any) -> ValueError:
    """Error for a program called with values for which Python would have taken another branch."""
    return ValueError(
        f"ad: {guard.line}: Python would go another way here than when the program was recorded ({guard.kind} was "
        f"{shown(guard.answer)}, is of {shown(value)} now). Use ad.compile, which records that way too."
    )


def lost_lanes(what: str, line: str) -> TypeError:
    """Error for a conversion of a value that differs from lane to lane."""
    return TypeError(
        f"ad.vmap: {line}: {what} would be the value of one lane, and be taken for that of all. Use functions of NumPy "
        "on the value itself, ad.stop_gradient(x) to cut off its derivative; or call the function for each lane: "
        "np.stack([f(row) for row in x])."
    )


def lost_recording() -> MissingRule:
    """Error for a sweep over an op of `custom_gradient` whose rule was dropped with the recorder that held it."""
    return MissingRule(
        "ad: the rule of a function under custom_gradient is gone with the tape (or transform) that recorded it. Keep "
        "the tape for as long as you take gradients of its values, also in another thread."
    )


def lost_rule() -> MissingRule:
    """Error for the derivative of a program that was recorded from a function under `custom_gradient`."""
    return MissingRule(
        "ad: this program was recorded from a function under custom_gradient, and has its ops but not its rule: its "
        "derivative would be another. Record the derivative, ad.record(ad.grad(f))(x), or use ad.compile(ad.grad(f))."
    )
