"""Random programs that read, view and write arrays: each statement runs on ndarrays and on Arrays."""
import numpy as np

SHAPES = [(4,), (6,), (2, 3), (3, 2), (3, 3), (2, 1, 3)]


# -- indices ----------------------------------------------------------------------------------------


def basic_index(rng, shape):
    """An index of slices, integers, None and an ellipsis."""
    parts = [_basic_part(rng, n) for n in shape]
    if rng.random() < 0.15:
        parts.insert(int(rng.integers(len(parts) + 1)), None)
    if rng.random() < 0.2:
        parts[int(rng.integers(len(parts))):] = [...]
    return tuple(parts) if len(parts) != 1 or rng.random() < 0.5 else parts[0]


def _basic_part(rng, n):
    kind = rng.random()
    if kind < 0.35 or not n:
        return slice(None)
    if kind < 0.6:
        return int(rng.integers(-n, n))
    start, stop = sorted(rng.integers(0, n + 1, 2).tolist())
    return slice(start, stop, int(rng.integers(1, 3))) if rng.random() < 0.7 else slice(stop, start or None, -1)


def fancy_index(rng, shape):
    """An index with arrays of integers, which may repeat, or a mask."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.random(shape) < 0.5
    if kind == 1:
        return rng.random(shape[0]) < 0.5
    rows = rng.integers(-shape[0], shape[0], int(rng.integers(1, 4)))
    if kind == 2 or len(shape) == 1:
        return rows if rng.random() < 0.5 else rows.tolist()
    columns = rng.integers(0, shape[1], len(rows))
    if kind == 3:
        return np.ix_(rows, columns)
    return (rows, columns) if rng.random() < 0.6 else (slice(None), columns)


def element_index(rng, shape):
    index = tuple(int(rng.integers(-n, n)) for n in shape)
    return index[0] if len(index) == 1 else index


def any_index(rng, shape):
    if 0 in shape:
        return basic_index(rng, shape)
    return (basic_index, basic_index, fancy_index, element_index, element_index)[rng.integers(5)](rng, shape)


# -- statements ---------------------------------------------------------------------------------------


def views(rng, shape):
    """A function that gives a view, or a copy where NumPy's does."""
    index = basic_index(rng, shape)
    axes = tuple(rng.permutation(len(shape)).tolist())
    size = int(np.prod(shape))
    return [
        lambda a: a[index], lambda a: a[index], lambda a: a.T, lambda a: a.transpose(axes), lambda a: a.reshape(-1),
        lambda a: a.reshape(size, 1) if size else a, lambda a: a.ravel(), lambda a: np.swapaxes(a, 0, -1),
        lambda a: np.expand_dims(a, 0), lambda a: np.squeeze(a), lambda a: np.flip(a, 0), lambda a: np.atleast_2d(a),
        lambda a: a.reshape(shape[::-1]), lambda a: a, lambda a: a[...], lambda a: np.moveaxis(a, 0, -1),
        lambda a: np.array_split(a, 2)[1], lambda a: np.ravel(a, order="F"),
    ][rng.integers(18)]


def copies(rng, shape):
    """A function that gives a new array."""
    index = any_index(rng, shape)
    return [
        lambda a: a.copy(), lambda a: np.copy(a), lambda a: a.flatten(), lambda a: a * 0.5 + 0.1, lambda a: np.sin(a),
        lambda a: +a, lambda a: a[index] * 1.0, lambda a: np.concatenate([a, a]),
        lambda a: np.where(a.real > 0.3, a, 0.2),
        lambda a: np.stack([a, a])[0], lambda a: np.tile(a, 1), lambda a: np.repeat(a, 1, axis=0).copy(),
    ][rng.integers(12)]


def values(rng, world, shape):
    """A function of a world that gives something that broadcasts to the shape."""
    c = float(rng.uniform(-1, 1))
    fitting = [name for name, value in world.items() if _broadcasts(np.shape(value), shape)]
    if not fitting or rng.random() < 0.25:
        return lambda w: c
    a, b = (fitting[rng.integers(len(fitting))] for _ in range(2))
    return [
        lambda w: w[a], lambda w: np.sin(w[a]) + c, lambda w: w[a] * w[b] * 0.5, lambda w: c * w[a],
        lambda w: w[a][...],
    ][rng.integers(5)]


def _broadcasts(shape, to):
    try:
        return np.broadcast_shapes(shape, to) == tuple(to)
    except ValueError:
        return False


def writes(rng, world, name):
    """A function of a world that writes to the array of this name."""
    shape = np.shape(world[name])
    index = any_index(rng, shape)
    part, whole = values(rng, world, np.shape(world[name][index])), values(rng, world, shape)
    flat = rng.integers(0, max(world[name].size, 1), 3)
    rows = rng.permutation(shape[0])

    def set_part(w):
        w[name][index] = part(w)

    def add_part(w):
        w[name][index] += part(w)

    def scale_part(w):
        w[name][index] *= part(w)

    def add_whole(w):
        w[name] += whole(w)

    def subtract_shifted(w):
        w[name][1:] -= w[name][:-1]

    def copy_shifted(w):
        w[name][:-1] = w[name][1:]

    def swap(w):
        w[name][rows] = w[name][rows[::-1]]

    def by_rows(w):
        for row in w[name]:
            row *= 0.5

    def by_out(w):
        np.multiply(w[name], 0.5, out=w[name])

    def into_view(w):
        if np.ndim(w[name][index]):
            np.add(w[name][index], part(w), out=w[name][index])

    return [
        set_part, set_part, set_part, set_part, add_part, add_part, scale_part, add_whole, subtract_shifted,
        copy_shifted, swap, by_rows if len(shape) > 1 else set_part, by_out, into_view, lambda w: w[name].fill(0.3),
        lambda w: np.copyto(w[name], whole(w)), lambda w: np.add.at(w[name], index, part(w) * 1.0),
        lambda w: np.multiply.at(w[name], index, 0.7), lambda w: np.put(w[name], flat, [0.1, 0.2]),
        lambda w: np.fill_diagonal(w[name], 0.4) if len(shape) == 2 else None,
        lambda w: np.copyto(w[name], whole(w), where=w[name].real > 0.2),
        lambda w: np.putmask(w[name], w[name].real > 0.5, [0.3, 0.1]),
    ][rng.integers(22)]


# -- programs -----------------------------------------------------------------------------------------


def run(rng, worlds, n, views=views, writes=writes):
    """Run n random statements on each of the worlds, which are dicts name -> array.

    A statement that raises in the first world must raise the same kind of error in the others.
    """
    for k in range(n):
        names = [name for name, value in worlds[0].items() if np.ndim(value)]
        name = names[rng.integers(len(names))]
        shape = np.shape(worlds[0][name])
        kind = rng.random()
        if kind < 0.3 and len(names) < 12:
            make, made = views(rng, shape), f"v{k}"
            statement = lambda w, make=make, made=made, name=name: w.__setitem__(made, make(w[name]))
        elif kind < 0.45 and len(names) < 12:
            make, made = copies(rng, shape), f"c{k}"
            statement = lambda w, make=make, made=made, name=name: w.__setitem__(made, make(w[name]))
        elif not worlds[0][name].flags.writeable:  # to which NumPy's ufunc.at may write all the same
            statement = lambda w, name=name: w[name].__setitem__(..., 0.5)
        else:
            statement = writes(rng, worlds[0], name)
        run_one(statement, worlds)


def run_one(statement, worlds):
    raised = []
    for world in worlds:
        try:
            statement(world)
            raised.append(None)
        except (ValueError, IndexError, TypeError) as error:
            raised.append(error)
    kinds = {type(error) for error in raised}
    if len(kinds) > 1:
        raise AssertionError(f"{raised!r}")


def total(world):
    """A number that depends on every element of every array."""
    return sum(np.sum(value * value * 0.5 + value) for value in world.values())
