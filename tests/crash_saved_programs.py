"""Load files with a right digest and wrong content, and run the programs that load: no read may be out of bounds.

`python crash_saved_programs.py COUNT SEED`; AddressSanitizer finds reads that go unnoticed without it.
"""
import copy
import hashlib
import io
import json
import random
import sys
import warnings

import numpy as np
import own_ops_samples as samples

import ad
from ad.compiler import serialization
from ad.compiler.program import Program, from_bytes, to_bytes

NUMBERS = (0, 1, 2, 3, -1, -2, 5, 7, 8, 40, 300)
MOST = 1 << 22  # elements of all slots of a program that is run


def model(x, a):
    """A function of many kinds of native instruction: views, parts, sums, products, elements by index."""
    row = a[1] * np.sin(x[:3]) + a[:, 0][:3]
    y = np.concatenate([x[2:], row, a.reshape(-1)[::2]])
    z = np.where(y > 0.3, y, y ** 2).cumsum()
    return np.sum(z[[0, 3, 3, 1]] * 2.0) + np.sum(a.T @ a) + np.max(np.transpose(a)[0] + np.ones((2, 1)))


def programs():
    x, a = np.linspace(0.1, 1, 8), np.linspace(0.2, 2, 12).reshape(4, 3)
    yield ad.record(ad.grad(lambda x: np.sum(x[2:] ** 3)))(x)
    yield ad.record(model)(x, a)
    yield ad.record(ad.grad(model, argnums=(0, 1)))(x, a)
    yield ad.record(ad.hvp(lambda x: np.sum(np.exp(x[1:] * x[:-1]))))(x, x)
    yield ad.record(lambda a: np.linalg.inv(a @ a.T + np.eye(4)).sum(axis=0))(a)
    yield ad.record(ad.grad(lambda x: np.sum(samples.erf(x[:3]) * samples.power_sum(x[2:5] + 1, x[0], k=2))))(x)
    yield ad.record(ad.vmap(lambda x: np.stack([x, x[::-1]]).sum(axis=0)))(a)


def places(tree, found):
    """Return every place of a value in a JSON document, as (container, key)."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        found.append((tree, key))
        if isinstance(value, (dict, list)):
            places(value, found)
    return found


def mutated(document, arrays, choice):
    document, arrays = copy.deepcopy(document), [array.copy() for array in arrays]
    for _ in range(choice.randint(1, 2)):
        part = choice.choice(["avals", "instructions", "instructions", "instructions", "constants", "inputs"])
        found = places(document[part], []) or places(document["instructions"], [])
        container, key = choice.choice(found)
        value, (other, at) = container[key], choice.choice(found)
        if type(value) is int and choice.random() < 0.7:
            container[key] = choice.choice([value + 1, value - 1, *NUMBERS])
        elif isinstance(container, list) and choice.random() < 0.3:
            container.insert(key, copy.deepcopy(value)) if choice.random() < 0.5 else container.pop(key)
        elif type(other[at]) is type(value):
            container[key] = copy.deepcopy(other[at])
    if arrays and choice.random() < 0.2:
        array = choice.choice(arrays)
        if array.size and array.dtype.kind in "iu":
            array.flat[choice.randrange(array.size)] = choice.choice(NUMBERS)
    return document, arrays


def parts(content):
    stream = io.BytesIO(content[serialization.HEAD.size:])
    document, arrays = json.loads(np.lib.format.read_array(stream).tobytes()), []
    while stream.tell() < len(content) - serialization.HEAD.size:
        arrays.append(np.lib.format.read_array(stream))
    return document, arrays


def assembled(document, arrays):
    stream = io.BytesIO()
    for array in (np.frombuffer(json.dumps(document).encode(), np.uint8), *arrays):
        np.lib.format.write_array(stream, array, allow_pickle=False)
    body = stream.getvalue()
    head = (serialization.MARK, serialization.VERSION, len(body), hashlib.sha256(body).digest())
    return serialization.HEAD.pack(*head) + body


def run(program):
    if sum(aval.size for aval in program.avals) > MOST:
        return
    values = [np.ones(aval.shape, aval.dtype) for aval in (program.avals[slot] for slot in program.inputs)]
    for _ in range(2):
        program.machine.run(values)
    program.interpreted(values)


def main(count, seed):
    warnings.simplefilter("ignore")
    choice, loaded, ran = random.Random(seed), 0, 0
    bases = [parts(to_bytes(program)) for program in programs()]
    for document, arrays in bases:
        run(from_bytes(assembled(document, arrays)))
    for _ in range(count):
        content = assembled(*mutated(*choice.choice(bases), choice))
        try:
            program = Program(*serialization.from_bytes(content, "a file"))  # as `ad.load`, which imports nothing
        except ValueError:
            continue
        loaded += 1
        try:
            run(program)
            ran += 1
        except Exception:
            pass
    print(f"ok: {count} files, {loaded} loaded, {ran} ran")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
