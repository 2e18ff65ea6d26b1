"""More kinds of statements for the random programs of `writings`: they are functions of an array that change it."""
import numpy as np
import writings


def views(rng, shape):
    """A function that gives a view, or a copy where NumPy's does."""
    if rng.random() < 0.4:
        return writings.views(rng, shape)
    n = len(shape)
    axis = int(rng.integers(n))
    row = int(rng.integers(shape[axis])) if shape[axis] else 0
    offset = int(rng.integers(-1, 2))
    element = writings.element_index(rng, shape) if 0 not in shape else 0
    element = element if isinstance(element, tuple) else (element,)
    choices = [
        lambda a: a.swapaxes(0, -1), lambda a: np.moveaxis(a, axis, 0), lambda a: a.reshape(a.shape[::-1]).T,
        lambda a: a.T.reshape(-1), lambda a: a.T.ravel(), lambda a: np.reshape(a, -1, order="F"),
        lambda a: np.split(a, [1], axis=axis)[1], lambda a: np.hsplit(a, [1])[0], lambda a: a[..., None],
        lambda a: a[None], lambda a: a[::-1], lambda a: a[:0], lambda a: a[..., ::2],
        lambda a: np.broadcast_to(a, (2, *a.shape)), lambda a: np.broadcast_arrays(a, np.zeros(a.shape))[0],
        lambda a: np.atleast_3d(a), lambda a: a.squeeze(), lambda a: a.ravel(order="A"), lambda a: a[()],
        lambda a: np.expand_dims(a, (0, -1)), lambda a: np.copy(a, order="F"), lambda a: np.rollaxis(a, axis),
        lambda a: a.copy(), lambda a: np.squeeze(a[None], 0), lambda a: np.permute_dims(a, tuple(range(n))[::-1]),
    ]
    if 0 not in shape:
        choices += [lambda a: np.unstack(a, axis=axis)[row], lambda a: a[(*element, ...)], lambda a: list(a)[-1]]
    if n == 2:
        choices += [lambda a: np.diagonal(a, offset), lambda a: np.rot90(a), lambda a: np.fliplr(a)]
    if n > 1:
        choices += [lambda a: np.vsplit(a, [1])[1], lambda a: np.matrix_transpose(a)]
    return choices[rng.integers(len(choices))]


def writes(rng, world, name):
    """A function of a world that writes to the array of this name."""
    shape = np.shape(world[name])
    if rng.random() < 0.3:
        return writings.writes(rng, world, name)
    whole = writings.values(rng, world, shape)
    kinds = [*_of_wholes(rng, shape), *_of_indices(rng, shape)]
    if 0 not in shape:
        kinds += [*_of_elements(rng, shape), *_of_functions(rng, shape)]
    change = kinds[rng.integers(len(kinds))]
    return lambda w: change(w[name], lambda: whole(w))


def _of_wholes(rng, shape):
    matrix = rng.uniform(-0.5, 0.5, (shape[-1], shape[-1]))
    axis = int(rng.integers(len(shape)))

    def set_flat(a, whole):
        a.flat = 0.3

    def multiply_matrix(a, whole):
        a @= matrix

    def multiply(a, whole):
        a **= 2
        a /= 1.5

    def subtract_reversed(a, whole):
        a -= a[::-1] * 0.5

    def add_transposed(a, whole):
        a += np.reshape(a.T, a.shape) * 0.5

    return [
        set_flat, multiply_matrix, multiply, subtract_reversed, add_transposed,
        lambda a, whole: np.cumsum(a, axis=axis, out=a),
        lambda a, whole: np.multiply(a, 0.5, out=a, where=a.real > 0.3),
        lambda a, whole: np.add(a, whole(), out=a, where=a.real > 0.2),
        lambda a, whole: np.subtract(a, whole(), a), lambda a, whole: np.exp(a * 0.1, out=a),
        lambda a, whole: np.matmul(a, matrix, out=a), lambda a, whole: np.copyto(a, a[::-1]),
    ]


def _of_indices(rng, shape):
    mask = [bool(i % 2) for i in range(shape[0])]
    first = np.zeros(1, np.int8) if shape[0] else np.zeros(0, np.int8)

    def set_at(index, value):
        return lambda a, whole: a.__setitem__(index, value)

    def scale_at(index):
        return lambda a, whole: a.__setitem__(index, a[index] * 0.8)

    def shift(a, whole):
        later, earlier = a[1:], a[:-1]
        later[...] = earlier
        earlier *= 0.5

    return [
        set_at(..., np.float32(0.5)), set_at(slice(None), 1), set_at(slice(None), [0.1] * shape[-1]),
        set_at(mask, 0.15), set_at(first, 0.45), set_at([], 0.5), set_at(range(min(2, shape[0])), 0.2), scale_at(None),
        scale_at((None, ...)), scale_at(True), shift, lambda a, whole: a.__setitem__(a.real < 0.4, 0.1),
        lambda a, whole: a.__setitem__(np.isfinite(a), a.ravel() * 0.9),
        lambda a, whole: a.T.__setitem__(..., a.T * 0.9 + 0.1),
        lambda a, whole: a.reshape(-1).__setitem__(slice(None, None, 2), 0.4),
    ]


def _of_elements(rng, shape):
    size = int(np.prod(shape))
    flat = rng.integers(-size, size, 4)
    element = writings.element_index(rng, shape)
    element = element if isinstance(element, tuple) else (element,)
    origin = (0,) * len(shape)

    def swap(a, whole):
        a[element], a[origin] = a[origin], a[element]

    def by_number(a, whole):
        number = a[(*element, ...)]
        a[element] = 0.6
        number[...] = number * 2.0
        number *= 0.5

    def in_a_loop(a, whole):
        for i in range(shape[0]):
            a[i] = a[i - 1] * 0.5 + 0.1

    def add_sum(a, whole):
        a[element] += a.sum() * 0.1

    return [
        swap, by_number, in_a_loop, add_sum, lambda a, whole: a.flat.__setitem__(int(flat[0]), np.sum(a) * 0.1),
        lambda a, whole: a.flat.__setitem__(flat, a.flat[flat[::-1]]),
        lambda a, whole: np.put(a, flat, [0.1, 0.2, 0.3]),
        lambda a, whole: a.put(flat, a.ravel()[flat] * 0.5),
        lambda a, whole: a.__setitem__(np.argmax(a.real.ravel()) % shape[0], 0.25),
    ]


def _of_functions(rng, shape):
    axis = int(rng.integers(len(shape)))
    order = rng.permutation(shape[axis])
    rows = rng.integers(0, shape[0], 3)

    def put_lowest(a, whole):
        np.put_along_axis(a, np.argsort(a.real, axis=0, kind="stable")[:1], 0.7, 0)

    def scale_columns(a, whole):
        a[..., rows % shape[-1]] *= 0.7

    return [
        put_lowest, scale_columns, lambda a, whole: np.take(a, order, axis=axis, out=a, mode="wrap"),
        lambda a, whole: np.sum(a, axis=axis, out=np.moveaxis(a, axis, 0)[0, ...]),
        lambda a, whole: np.add.at(a, rows, a[rows] * 0.5),
        lambda a, whole: np.place(a, a.real > 0.4, [0.2, 0.3]) if np.any(a.real > 0.4) else None,
    ]
