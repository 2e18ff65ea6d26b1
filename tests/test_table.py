"""Every entry of the op table, in every mode, against numerical derivatives.

Nothing here names an op that the table could name: the arguments come from each entry's `cases`
and `domain`, the reference from NumPy's values.
"""
import dis
import importlib.util
import inspect

import numpy as np
import pytest

import ad
from ad._core import Array
from ad.ops import TABLE, UFUNCS
from ad.ops.domains import SPD, SYMMETRIC
from ad.ops.forms import custom
from ad.testing import check_grads, forward, reverse

if importlib.util.find_spec("scipy"):
    importlib.import_module("ad.ops.special")

MODES = ("forward", "reverse", "forward-over-reverse", "reverse-over-reverse")
UNARY = [((3,),), ((),)]
BINARY = [((3,), (3,)), ((2, 3), (3,)), ((2, 1), (3,)), ((), (3,)), ((3,), ()), ((), ())]
ELEMENTWISE = [entry for entry in TABLE.values() if entry.form == "elementwise"]


# -- arguments: from the entries ---------------------------------------------------------------------


class Call:
    """One entry with one of its cases."""

    def __init__(self, entry, inputs, params, tag):
        self.entry, self.inputs, self.params, self.id = entry, inputs, params, f"{entry.name}-{tag}"

    def sample(self, rng, dtype=np.float64):
        """The positional arguments; a floating dtype is given to those that are sampled."""
        return self.entry.sample(rng, self.inputs, dtype)

    def __call__(self, *args):
        """The function of the table; on the Hermitian part of what must be Hermitian."""
        if self.entry.domain in (SPD, SYMMETRIC):
            args = [(x + np.conjugate(np.swapaxes(x, -1, -2))) / 2 for x in args]
        y = self.entry.function(*args, **self.params)
        if self.entry.name in FREE_PHASE and any(x.dtype.kind == "c" for x in arrays(args) or args):
            return [np.square(np.abs(part)) if part.dtype.kind == "c" else part for part in y]
        return y


# Complex eigenvectors and singular vectors are determined up to a phase: their moduli are compared.
FREE_PHASE = {"eigh", "eigh_parts", "svd", "svd_parts"}


def calls(entry):
    if entry.form == "elementwise":
        arity = len(entry.op.partials)
        shapes = UNARY if arity == 1 else [(*pair, *pair[:1] * (arity - 2)) for pair in BINARY]
        return [Call(entry, inputs, {}, "x".join(map(str, inputs)).replace(" ", "")) for inputs in shapes]
    return [Call(entry, inputs, params, k) for k, (inputs, params) in enumerate(entry.cases)]


CALLS = [call for entry in TABLE.values() for call in calls(entry)]
FIRST_CALLS = [calls(entry)[0] for entry in TABLE.values() if calls(entry)]


def of_calls(chosen):
    return pytest.mark.parametrize("call", chosen, ids=lambda call: call.id)


def of_entries(chosen):
    return pytest.mark.parametrize("entry", chosen, ids=lambda entry: entry.name)


def arrays(tree):
    """The floating arrays among nested arguments."""
    if isinstance(tree, (list, tuple)):
        return [x for part in tree for x in arrays(part)]
    return [tree] if isinstance(tree, np.ndarray) and tree.dtype.kind in "fc" else []


def replaced(tree, leaves):
    """The arguments with their floating arrays taken from an iterator."""
    if isinstance(tree, list):
        return [replaced(part, leaves) for part in tree]
    return next(leaves) if arrays(tree) else tree


def flat(call, args):
    """The call as a function of its floating arrays that returns a list of floating outputs."""

    def function(*xs):
        y = call(*replaced(args, iter(xs)))
        return [part for part in (y if isinstance(y, (list, tuple)) else [y]) if part.dtype.kind in "fc"]

    return function


def values(ys):
    return [y.numpy() if isinstance(y, Array) else np.asarray(y) for y in ys]


def assert_same(found, expected, **tolerances):
    assert len(found) == len(expected)
    for a, b in zip(values(found), values(expected)):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, **tolerances)


def gradients(function, xs):
    """The gradient of the sum of the outputs' real parts."""
    return values(reverse(function, xs, [np.ones(y.shape, y.dtype) for y in function(*xs)]))


# -- the table is complete ---------------------------------------------------------------------


@of_entries(TABLE.values())
def test_entry_has_both_modes(entry):
    assert callable(entry.function)
    if entry.op is None:
        assert entry.form == "composite"
    elif entry.form == "elementwise":
        assert all(callable(p) or isinstance(p, (int, float)) for p in entry.op.partials)
        assert entry.domain is not None
    else:
        assert callable(entry.op.jvp) and callable(entry.op.vjp)


@of_entries(TABLE.values())
def test_entry_has_cases(entry):
    assert calls(entry), f"{entry.name} has no cases, so nothing tests it"


NOT_DIFFERENTIABLE = {
    "nextafter": "no derivative", "spacing": "no derivative",
    "isfinite": "plain result", "isinf": "plain result", "isnan": "plain result", "signbit": "plain result",
    "equal": "plain result", "not_equal": "plain result", "less": "plain result", "less_equal": "plain result",
    "greater": "plain result", "greater_equal": "plain result", "logical_and": "plain result",
    "logical_or": "plain result", "logical_xor": "plain result", "logical_not": "plain result",
}


def numpy_float_ufuncs():
    """NumPy's public ufuncs that take float64."""
    found = {u for u in vars(np).values() if isinstance(u, np.ufunc)}
    return sorted((u for u in found if any("d" in t.split("->")[0] for t in u.types)), key=lambda u: u.__name__)


@pytest.mark.parametrize("ufunc", numpy_float_ufuncs(), ids=lambda ufunc: ufunc.__name__)
def test_every_float_ufunc_has_an_entry(ufunc):
    assert (ufunc in UFUNCS) != (ufunc.__name__ in NOT_DIFFERENTIABLE)


# Without a batching rule `vmap` and forward Jacobians run the op once for each lane, which may cost 100 times as much.
WITHOUT_BATCHING = {
    "convolve": "np.convolve takes vectors only", "least_squares": "np.linalg.lstsq takes one matrix only",
}
MATRICES = "it may raise, or it takes a matrix apart: nothing is gained by deferring it"
# Without a shape rule a recording evaluates the op, instead of leaving it to its program on large arrays.
WITHOUT_SHAPE_RULE = {
    **dict.fromkeys(["cholesky_cotangent", "cholesky_lower", "det", "eigh_parts", "inv", "least_squares", "pinv",
                     "qr_parts", "slogdet_parts", "solve_matrix", "spectral_sum", "svd_parts"], MATRICES),
    **dict.fromkeys(["gather", "scatter"], "an index that is out of bounds raises"),
    **dict.fromkeys(["contract", "convolve", "cross_of_vectors", "rearrange", "recurrence"],
                    "the memory order of the output is not known from the inputs"),
    **dict.fromkeys(["real", "imag", "angle"], "a view of a complex input, and a copy of a real one, or the reverse"),
    **dict.fromkeys(["psi_drop", "zeta"], "the dtype follows from Python code, or from the values of the order"),
    "either": "it returns its first input, and costs nothing",
}


def ops_without(present):
    return {entry.name for entry in TABLE.values() if entry.op is not None and not present(entry)}


def test_the_ops_without_a_batching_rule_are_known():
    assert ops_without(lambda entry: any(entry.traits.batching[:3])) == set(WITHOUT_BATCHING)


def test_the_ops_without_a_shape_rule_are_known():
    assert ops_without(lambda entry: entry.op.shape_rule) == set(WITHOUT_SHAPE_RULE)


def rules():
    """Every partial, and every cotangent rule that the forms look at, with the number of its inputs."""
    for entry in ELEMENTWISE:
        for i, partial in enumerate(entry.op.partials):
            if inspect.isfunction(partial):
                yield pytest.param(partial, id=f"{entry.name}-{i}")


@pytest.mark.parametrize("rule", list(rules()))
def test_a_partial_uses_the_values_it_asks_for(rule):
    """A parameter without an underscore makes the tape keep a value, one with it gets None."""
    code = rule.__code__
    used = {i.argval for i in dis.get_instructions(code) if i.opname.startswith("LOAD_FAST")}
    used |= set(code.co_cellvars)
    for i in dis.get_instructions(code):
        if isinstance(i.argval, tuple):
            used |= set(i.argval)
    for name in code.co_varnames[: code.co_argcount]:
        assert (name in used) != name.startswith("_"), f"{name} in {rule}"


# -- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@of_calls(CALLS)
def test_derivatives(call, mode, rng):
    args = call.sample(rng)
    if not arrays(args):
        pytest.skip("no floating input")
    check_grads(call, args, modes=(mode,))


@of_calls(CALLS)
def test_derivatives_in_single_precision(call, rng):
    args = call.sample(rng, np.float32)
    function, xs = flat(call, args), arrays(args)
    y = function(*xs)
    if not all(part.dtype in (np.float32, np.complex64) for part in y):
        pytest.skip("computes in double precision")
    check_grads(call, args, order=1)
    ours = function(*[ad.constant(x) for x in xs])
    assert [part.dtype for part in ours] == [part.dtype for part in y]
    assert all(x_bar.dtype == x.dtype for x_bar, x in zip(gradients(function, xs), xs))


REAL_ONLY = {
    "sign": "of a complex number it is not constant: a MissingRule says so (test_edges)",
    "psi": "trigamma is for real arguments (test_special)", "gamma": "as psi", "loggamma": "as psi",
    "polygamma": "as psi", "ive": "scaled by the real part",
}


def takes_complex(call, args):
    try:
        call(*args)
    except TypeError:
        return False
    return call.entry.name not in REAL_ONLY


@pytest.mark.parametrize("mode", MODES)
@of_calls(CALLS)
def test_derivatives_of_complex_arguments(call, mode, rng):
    args = call.sample(rng, np.complex128)
    if not takes_complex(call, args):
        pytest.skip("NumPy has it for real arguments only")
    check_grads(call, args, modes=(mode,))


@of_calls([call for call in CALLS if len(arrays(call.sample(np.random.default_rng(0)))) > 1])
def test_derivatives_of_real_and_complex_arguments_mixed(call, rng):
    args = call.sample(rng, np.complex128)
    if not takes_complex(call, args):
        pytest.skip("NumPy has it for real arguments only")
    xs = arrays(args)
    xs[0] = xs[0].real.copy()
    check_grads(call, replaced(args, iter(xs)))


@of_calls(CALLS)
def test_several_lanes_at_once(call, rng):
    """A Dual with k tangents is k Duals."""
    args = call.sample(rng)
    function, xs = flat(call, args), arrays(args)
    for i, x in enumerate(xs):
        lanes = rng.uniform(-1, 1, (3, *x.shape))
        together = forward(function, xs, [lanes if k == i else None for k in range(len(xs))])
        single = [forward(function, xs, [lane if k == i else None for k in range(len(xs))]) for lane in lanes]
        for k, found in enumerate(together):
            expected = np.stack([parts[k] for parts in single])
            assert_same([np.broadcast_to(found, expected.shape)], [expected], rtol=1e-12, atol=1e-12)


@of_calls([call for call in CALLS if len(arrays(call.sample(np.random.default_rng(0)))) > 1])
def test_lanes_in_every_argument(call, rng):
    args = call.sample(rng)
    function, xs = flat(call, args), arrays(args)
    lanes = [rng.uniform(-1, 1, (2, *x.shape)) for x in xs]
    together = forward(function, xs, lanes)
    single = [forward(function, xs, [lane[k] for lane in lanes]) for k in (0, 1)]
    for k, found in enumerate(together):
        assert_same([found], [np.stack([parts[k] for parts in single])], rtol=1e-12, atol=1e-12)


def several_operands(call):
    return call.entry.form in ("bilinear", "custom") and len(arrays(call.sample(np.random.default_rng(0)))) > 1


@of_calls([call for call in CALLS if several_operands(call) or call.entry.name in ("cumprod", "qr_parts")])
def test_lanes_within_lanes(call, rng):
    """Nested Jacobians, whose lanes meet in operands that differ in their leading axes, against one row at a time."""
    args = call.sample(rng)
    function, xs = flat(call, args), arrays(args)
    ends = np.cumsum([x.size for x in xs])

    def f(v):
        parts = [np.reshape(v[end - x.size : end], x.shape) for x, end in zip(xs, ends)]
        return sum(np.sum(y * y) for y in function(*parts) if y.dtype.kind == "f")

    v = np.concatenate([x.ravel() for x in xs])
    expected = ad.jacobian(ad.jacobian(f, mode="reverse"), mode="reverse")(v)
    for inner in ("forward", "reverse"):
        nested = ad.jacobian(ad.jacobian(f, mode=inner), mode="forward")
        assert_same([nested(v), ad.compile(nested)(v)], [expected, expected], rtol=1e-8, atol=1e-9)


# -- values ------------------------------------------------------------------------------------


def reference(call):
    """NumPy's own function, if it takes the same arguments."""
    entry = call.entry
    if entry.form == "elementwise":
        return entry.op.fn
    return entry.numpy[0] if entry.numpy else None


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@of_calls(CALLS)
def test_values_are_numpys(call, dtype, rng):
    args = call.sample(rng, dtype)
    numpys = reference(call)
    if numpys is None or not takes_complex(call, args):
        pytest.skip("nothing to compare with")
    expected = numpys(*args, **call.params)
    ours = call.entry.function(*replaced(args, iter([ad.constant(x) for x in arrays(args)])), **call.params)
    plain = call.entry.function(*args, **call.params)
    both = [expected, ours, plain]
    if not isinstance(expected, (list, tuple)):
        both = [[part] for part in both]
    for e, o, p in zip(*both):
        assert isinstance(o, Array) == (np.asarray(e).dtype.kind in "fc") and not isinstance(p, Array)
        assert o.shape == np.shape(e) == np.shape(p)
        assert o.dtype == np.asarray(e).dtype == np.asarray(p).dtype
        np.testing.assert_allclose(values([o])[0], e, rtol=1e-5 if dtype == np.float32 else 1e-13)
        np.testing.assert_array_equal(p, e)


@of_calls(CALLS)
def test_numpys_function_on_our_values(call, rng):
    """`np.f(x)` reaches the entry of each NumPy callable it stands for."""
    args = call.sample(rng)
    ours = replaced(args, iter([ad.constant(x) for x in arrays(args)]))
    expected = call.entry.function(*ours, **call.params)
    for numpys in call.entry.numpy:
        found = numpys(*ours, **call.params)
        pairs = zip(found, expected) if isinstance(expected, (list, tuple)) else [(found, expected)]
        for a, b in pairs:
            assert isinstance(a, Array) == isinstance(b, Array)
            assert_same([a], [b])


# -- layouts -----------------------------------------------------------------------------------


def strided(x):
    out = np.empty(tuple(2 * n for n in x.shape), x.dtype)
    out[tuple(slice(None, None, 2) for _ in x.shape)] = x
    return out[tuple(slice(None, None, 2) for _ in x.shape)]


def reversed_(x):
    backwards = tuple(slice(None, None, -1) for _ in x.shape)
    return x[backwards].copy()[backwards]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "fortran": lambda x: np.array(x, order="F"), "strided": strided, "reversed": reversed_, "read-only": read_only,
    "broadcast": lambda x: np.broadcast_to(x, x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@of_calls([call for call in CALLS if any(x.ndim for x in arrays(call.sample(np.random.default_rng(0))))])
def test_layouts(call, layout, rng):
    args = call.sample(rng)
    function, xs = flat(call, args), arrays(args)
    moved = [layout(x) for x in xs]
    assert_same(function(*map(kept, moved)), function(*xs), rtol=1e-12, atol=1e-14)
    assert_same(gradients(function, moved), gradients(function, xs), rtol=1e-12, atol=1e-14)
    assert_same(gradients(function, [kept(x) for x in moved]), gradients(function, xs), rtol=1e-12, atol=1e-14)


def kept(x):
    """An Array that keeps the layout of x: what `ad.constant` copies, an op's result does not."""
    return TABLE["broadcast_to"].function(ad.constant(x), x.shape) if x.ndim else ad.constant(x)


@of_entries(ELEMENTWISE)
def test_empty(entry, rng):
    call = Call(entry, ((0,),) * len(entry.op.partials), {}, "empty")
    args = call.sample(rng)
    function, xs = flat(call, args), arrays(args)
    assert function(*[ad.constant(x) for x in xs])[0].shape == (0,)
    assert all(x_bar.shape == (0,) for x_bar in gradients(function, xs))


@of_entries([entry for entry in ELEMENTWISE if len(entry.op.partials) == 2])
def test_a_number_beside_an_array(entry, rng):
    call = calls(entry)[0]
    a, b = call.sample(rng)
    for x in (a, b.item(0)), (a.item(0), b), (a, b[0]), (a[0], b):
        check_grads(call, x)
        single = [v.astype(np.float32) if getattr(v, "dtype", None) == np.float64 and v.ndim else v for v in x]
        assert_dtype_like_numpy(entry, single)


def assert_dtype_like_numpy(entry, args):
    ours = entry.function(*[ad.constant(x) if isinstance(x, np.ndarray) else x for x in args])
    assert ours.dtype == np.asarray(entry.op.fn(*args)).dtype


# -- native derivatives ----------------------------------------------------------------------------

NATIVE = "add subtract multiply divide power negative square sqrt exp log sin cos tanh absolute".split()
HARD = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 1e-300, 800.0]


def by_rule(function, xs, y_bars):
    """The gradient by the declared rules: an outer recorder makes the sweep take the general path."""
    found = []

    def outer(*xs):
        found.extend(x_bar.numpy() for x_bar in reverse(function, list(xs), y_bars))
        return xs[0]

    ad.engine.sweep.run_recorded(outer, [ad.constant(x) for x in xs])
    return found


@pytest.mark.parametrize("seed", [1.0, 0.0, -2.0])
@pytest.mark.parametrize("name", NATIVE)
def test_native_derivative_is_the_declared_rule(name, seed):
    entry = TABLE[name]
    grids = np.meshgrid(*[HARD] * len(entry.op.partials))
    xs = [grid.ravel() for grid in grids]
    lists = [xs] + [[x[k] for x in xs] for k in range(xs[0].size)]
    if len(xs) == 2:
        lists += [[xs[0], v] for v in HARD] + [[v, xs[0]] for v in HARD]
    for args in lists:
        args = [np.asarray(x) for x in args]

        def function(*xs):
            return [entry.function(*xs)]

        y_bars = [np.full(np.broadcast_shapes(*[x.shape for x in args]), seed)]
        native = values(reverse(function, args, y_bars))
        for i, (a, b) in enumerate(zip(native, by_rule(function, args, y_bars))):
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=f"input {i} of {name} at {args}")


@pytest.mark.parametrize("name", NATIVE)
def test_native_value_is_numpys(name):
    entry = TABLE[name]
    for args in zip(*[grid.ravel() for grid in np.meshgrid(*[HARD] * len(entry.op.partials))]):
        if args == (-np.inf, 0.5):
            continue  # NumPy takes the square root, and C's pow does not
        np.testing.assert_allclose(entry.function(*map(ad.constant, args)).numpy(), entry.op.fn(*args), rtol=1e-15)


# -- entries of users --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_a_custom_rule_for_real_numbers_is_right_for_complex_ones(own_entries, dtype, rng):
    @custom(inputs=2, jvp=(lambda a_dot, a, b, _y: 2 * a * b * a_dot, lambda b_dot, a, _b, _y: a * a * b_dot),
            vjp=(lambda y_bar, a, b, _y: 2 * a * b * y_bar, lambda y_bar, a, _b, _y: a * a * y_bar))
    def squared_times(a, b):
        return a * a * b

    xs = [rng.uniform(-1, 1, 3) + (1j * rng.uniform(-1, 1, 3) if dtype == np.complex128 else 0) for _ in range(2)]
    check_grads(squared_times, xs, modes=MODES)
