"""`compile`: a function that keeps the recordings of its calls and replays them.

The function is run once for each signature (the structure of its arguments, the shapes and dtypes of arrays among
them, and whatever else they hold), and every op is traced. Where Python saw a value, the recording has a guard. The
recordings of one signature make a tree, in which a replay follows the branch that the answers to its guards select.
"""
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

import numpy as np

from ad import transforms, trees
from ad._core import Array, constant
from ad.compiler.fast_path import CacheEntry, FastPath, cache_key
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.recording import Recording, is_output, visible_value
from ad.compiler.tracing.trace_tree import RAISED, TraceNode, TraceTree
from ad.compiler.tracing.tracer import is_strict, is_watching
from ad.engine import boundary
from ad.engine.variable import Variable
from ad.errors import kind

__all__ = ["Compiled", "compile", "derivative"]

P = ParamSpec("P")
R = TypeVar("R")

MAX_VARIANTS = 64  # recordings of one signature
MAX_SIGNATURES = 256


@overload
def compile(f: Callable[P, R], *, check: bool = False) -> "Compiled[P, R]": ...
@overload
def compile(f: None = None, *, check: bool = False) -> "Callable[[Callable[P, R]], Compiled[P, R]]": ...
def compile(f: Any = None, *, check: bool = False) -> Any:
    """Return a function that records `f`, and replays the recording without Python.

    Parameters
    ----------
    f : callable
        A function of arrays, numbers and containers of them; also what a transform returned (`ad.grad(f)`). Without
        it, as in `@ad.compile(check=True)`, `compile` returns a decorator.
    check : bool
        For debugging: run `f` at every call too, and raise if a replay gives another result.

    Returns
    -------
    Compiled
        A function with the arguments and results of `f`. It returns Arrays if an argument is an Array, and ndarrays
        otherwise. A call whose arguments are being differentiated, or inside a tape, a transform or another compiled
        function, is a call of `f` itself.

    Notes
    -----
    `f` is called again for every new signature, and where Python takes a branch that is not recorded. A replay runs
    nothing of `f` but its ops: random numbers that it drew, arrays that it captured and what it printed are those of
    the recording. Variables are read anew at each call, and must not be assigned to; nor must arguments be changed
    while `f` runs. Python floats are inputs, unless an argument has a lower precision, to which they would adapt;
    other numbers, strings and objects belong to the signature.
    """
    if f is None:
        return functools.partial(compile, check=check)
    if not callable(f):
        raise TypeError(f"ad.compile takes a function, not {kind(f)}; it returns one: ad.compile(f)(x)")
    if inspect.isgeneratorfunction(f) or inspect.iscoroutinefunction(f):
        raise TypeError(f"ad.compile takes a function that returns its result, not a generator or coroutine: {f!r}")
    return Compiled(f, check)


def derivative(program: Callable[..., Any], name: str) -> "Compiled[..., Any]":
    """Return the compiled function of primals and of tangents or cotangents that `Program.jvp` and the like call."""

    def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        return transforms.jvp(program, primals, tangents)

    def vjp(primals: tuple[Any, ...], y_bar: Any) -> Any:
        y, pull = transforms.vjp(program, *primals)
        return y, pull(y_bar)

    def hvp(primals: tuple[Any, ...], v: tuple[Any, ...]) -> Any:
        return transforms.hvp(program, tuple(range(len(primals))))(*primals, v)

    return Compiled({"jvp": jvp, "vjp": vjp, "hvp": hvp}[name], False)


class Compiled(FastPath, Generic[P, R]):
    """A function with the recordings of its calls: the result of `ad.compile`.

    Parameters
    ----------
    f : callable
    check : bool
        As for `compile`.
    escape : callable, optional
        As for `Recording`.
    """

    def __init__(self, f: Callable[P, R], check: bool, escape: Callable[[str, str], None] | None = None) -> None:
        functools.update_wrapper(self, f, ("__module__", "__name__", "__qualname__", "__doc__"), ())
        self.f, self.check, self._escape = f, check, escape
        self._trees: dict[Any, TraceTree] = {}             # key of a signature -> its tree
        self._aliases: dict[Any, tuple[TraceTree, bool]] = {}  # `cache_key` -> the tree, and whether to return Arrays

    if TYPE_CHECKING:
        __qualname__: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __get__(self, instance: None, owner: Any = None, /) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: Any = None, /) -> Callable[..., R]: ...
        def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...

    def general(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replay the call by the tree of its signature, or record it."""
        if is_watching() or is_strict():
            return self.f(*args, **kwargs)
        key, values = cache_key(args, kwargs)
        tree, wrapped = self._aliases.get(key, (None, False))
        found = tree and tree.replay(values)
        if found:
            return self._result(found, wrapped, args, kwargs)
        signature = CallSignature(args, kwargs)
        if signature.is_live:
            return self.f(*args, **kwargs)
        tree = self._trees.get(signature.key) or self._new_tree(signature.key)
        found = tree.replay(signature.values)
        if found is None:
            return self._record(tree, signature, args, kwargs)
        if key:
            self._aliases[key] = tree, signature.wrapped
        return self._result(found, signature.wrapped, args, kwargs)

    def __reduce__(self) -> Any:
        """Pickle by name, if the name leads to this object; otherwise by the function, without its recordings."""
        named: Any
        try:
            named = functools.reduce(getattr, self.__qualname__.split("."), sys.modules[self.__module__])
        except (AttributeError, KeyError):
            named = None
        return self.__qualname__ if named is self else (type(self), (self.f, self.check))

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.f, '__qualname__', self.f)!r}, {len(self._trees)} signatures>"

    def _new_tree(self, key: Any) -> TraceTree:
        if len(self._trees) >= MAX_SIGNATURES:
            self._trees.pop([*self._trees][0], None)
            self._aliases = {}
        return self._trees.setdefault(key, TraceTree())

    def _record(self, tree: TraceTree, signature: CallSignature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function and keep the recording; return the result."""
        if tree.variants >= MAX_VARIANTS:
            return self._call_untraced(args, kwargs, signature.wrapped)
        recording = Recording(self.f, signature, keep=True, escape=self._escape)
        try:
            if self._keep(tree, recording, signature, args, kwargs) and recording.is_pending:
                found = tree.replay(signature.values)
                if found and found is not RAISED:  # a replay may round otherwise, and then not meet its own guards
                    return self._result(found, signature.wrapped, args, kwargs)
            return trees.map(functools.partial(_own_copy, wrapped=signature.wrapped), recording.evaluated_result())
        finally:
            recording.drop()

    def _keep(self, tree: TraceTree, recording: Recording, signature: CallSignature, args: tuple[Any, ...],
              kwargs: dict[str, Any]) -> bool:
        """Insert a recording into a tree, if it can be replayed; return whether it can."""
        if recording.captures:
            return False
        if recording.failed:
            self._count_untraced(tree, recording.failed)
            return False
        if not tree.insert(recording):
            tree.variants = MAX_VARIANTS
            warnings.warn(f"ad.compile: {self!r} does something else each time it is called with the same values; "
                          "calls with this signature will run without a recording", stacklevel=4)
            return False
        if tree.variants == MAX_VARIANTS:
            warnings.warn(f"ad.compile: {tree.hottest_branch()}: the value that Python sees here leads to a new branch "
                          f"each time; {MAX_VARIANTS} branches are recorded, and any other will run without a "
                          "recording", stacklevel=4)
        elif tree.root and not (recording.guards or kwargs or signature.wrapped or self.check):
            self._add_cache_entry(args, tree.root)
        return True

    def _call_untraced(self, args: tuple[Any, ...], kwargs: dict[str, Any], wrapped: bool) -> Any:
        """Call the function itself, where no recording can be followed."""
        f: Callable[..., Any] = self.f
        return trees.map(functools.partial(_own_copy, wrapped=wrapped), f(*args, **kwargs))

    def _count_untraced(self, tree: TraceTree, line: str) -> None:
        """Count a call in which an op raised and the function went on: no guard tells when to replay it."""
        tree.count_untraced()
        if tree.variants == MAX_VARIANTS:
            warnings.warn(f"ad.compile: {line}: an op raised here time and again, and the function handled the "
                          "exception, which no recording can follow; a call that takes another branch than those "
                          "recorded will run without a recording", stacklevel=5)

    def _add_cache_entry(self, args: tuple[Any, ...], node: TraceNode) -> None:
        """Add an entry for calls like this one, whose recording is the one segment of this node."""
        recording, variables = node.segment.recording, [variable for variable, _ in node.segment.variables]
        if CacheEntry.accepts(args, variables):
            slots = [*recording.inputs, *[slot for _, slot in node.segment.variables]]
            single = recording.results.structure is trees.LEAF and not recording.results.fixed
            self.remember(CacheEntry(args, node.machine, [slots.index(slot) for slot in node.inputs], variables,
                                     recording.results, single))

    def _result(self, found: tuple[Recording | None, Sequence[Any]], wrapped: bool, args: tuple[Any, ...],
                kwargs: dict[str, Any]) -> Any:
        """Return the result of a replay; with `check`, compare it to that of the function."""
        recording, values = found
        if recording is None:
            return self._call_untraced(args, kwargs, wrapped)
        result = recording.results(recording.wrapped_outputs(values) if wrapped else values)
        if self.check:
            self._compare(result, args, kwargs)
        return result

    def _compare(self, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise if the result of a replay is not that of the function."""
        f: Callable[..., Any] = self.f
        found, structure = trees.flatten(result)
        wanted = trees.flatten_like(structure, f(*args, **kwargs), "what the function returns now")
        for i, (a, b) in enumerate(zip(found, wanted)):
            tolerance = 1e-4 if getattr(b, "dtype", None) in (np.float32, np.complex64) else 1e-8
            if not (np.allclose(visible_value(a), visible_value(b), rtol=tolerance, equal_nan=True) if is_output(a)
                    else a == b):
                raise RuntimeError(
                    f"ad.compile: output {i} of {self!r} is {a!r:.60} by replay and {b!r:.60} by the function itself: "
                    "it depends on something that is neither an argument nor a Variable, or draws random numbers")


def _own_copy(y: Any, wrapped: bool) -> Any:
    """Return an output of the function as a replay would: with memory of its own."""
    if isinstance(y, Variable):
        y = constant(y.numpy())
    if isinstance(y, Array):
        return boundary.hand_over(y, wrapped)
    return np.array(y) if isinstance(y, np.ndarray) else y
