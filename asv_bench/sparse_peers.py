#!/usr/bin/env python3
"""Sparse Hessians of `ad` beside those of its peers: set-up, later calls, colours, and whole solves by Ipopt.

    python asv_bench/sparse_peers.py                             all problems, n = 1e3, 1e4, 1e5
    python asv_bench/sparse_peers.py --sizes 1e4 --problems rosenbrock springs --peers ad "casadi SX" --no-solve

Needs `ad` and takes each peer that it finds (pip install casadi jax asdex sparsediffpy cyipopt-wheels). Each peer has
a process of its own for each problem and size. Times are the best of several repeats, after a small problem has loaded
and warmed what a first call would load; ratios are those of `ad` to the peer, below 1 where `ad` is faster.
"""
import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path

import numpy as np
from benchmarks.sparse_problems import PROBLEMS
from scipy.sparse import coo_array

REPEAT_SECONDS = 2.0  # set-ups are repeated, up to 20 times, until they have taken this long
SOLVED = ("ad", "casadi SX", "casadi MX")
NEEDS = {"ad": "ad", "casadi SX": "casadi", "casadi MX": "casadi", "asdex": "asdex", "sparsediffpy": "sparsediffpy"}
GOALS = {"later": {"casadi": 0.25, "asdex": 0.6}, "setup": {"casadi": 0.5}, "callbacks": {"casadi": 0.5}}


# -- in the process of a peer ------------------------------------------------------------------------


def best_call(call, points):
    """The best time of a call, in seconds; the point changes from call to call, so that nothing can be kept."""

    def both():
        call(*points[0])
        call(*points[1])

    both()
    timer = timeit.Timer(both)
    number = max(1, timer.autorange()[0] // 20)
    return min(timer.repeat(30, number)) / number / 2


def set_up(make, problem, point):
    """The fastest of some set-ups: the backend and the seconds of its stages."""
    fastest, seconds, spent = None, None, 0.0
    for _ in range(20):
        backend = make(problem, *point)
        total = sum(backend.stages.seconds.values())
        if seconds is None or total < sum(seconds.values()):
            seconds = backend.stages.seconds
        fastest, spent = backend, spent + total
        if spent > REPEAT_SECONDS:
            break
    return fastest, seconds


def lower_triangle(backend, values, n):
    """The matrix as sorted coordinates without zeros."""
    rows, columns = (np.asarray(part, np.int64) for part in backend.places())
    matrix = coo_array((np.array(values), (rows, columns)), shape=(n, n))
    matrix.sum_duplicates()
    kept = (matrix.row >= matrix.col) & (matrix.data != 0)
    keys = matrix.row[kept].astype(np.int64) * n + matrix.col[kept]
    order = np.argsort(keys)
    return keys[order], matrix.data[kept][order]


def work(peer, name, n, path, solving):
    """Measure one peer on one problem, print a line of JSON, and save the Hessian."""
    from sparse_backends import BACKENDS

    make = BACKENDS[peer]
    small = PROBLEMS[name](64)
    warm = make(small, *small.point())
    warm.hessian(*small.point(1))
    problem = PROBLEMS[name](n)
    points = [problem.point(0), problem.point(1)]
    backend, stages = set_up(make, problem, points[0])
    keys, values = lower_triangle(backend, backend.hessian(*points[1]), problem.x0.size)
    np.savez(path, keys=keys, values=values)
    given = [tuple(map(backend.to_device, point)) for point in points] if peer == "asdex" else points
    found = {"n": problem.x0.size, "nnz": len(values), "stages": stages, "setup": sum(stages.values()),
             "later": best_call(backend.hessian, given), "colors": backend.colors}
    if solving and peer in SOLVED:
        found["solve"] = best_solve(backend, problem)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(found))


def best_solve(backend, problem):
    """The solve, of some, whose callbacks took less."""
    from sparse_ipopt import solve

    with contextlib.suppress(ImportError):
        solves = [solve(backend, problem)]
        while len(solves) < 5 and sum(found["seconds"] for found in solves) < REPEAT_SECONDS:
            solves.append(solve(backend, problem))
        return {**min(solves, key=lambda s: s["callbacks"]), "prepare": solves[0]["prepare"]}
    return None


# -- in the process that compares --------------------------------------------------------------------


def measure(peer, name, n, folder, options):
    """What a peer's process printed, or a dict with the reason why it has nothing."""
    path = Path(folder) / f"{peer}.npz".replace(" ", "_")
    command = [sys.executable, __file__, "--worker", peer, name, str(n), str(path), str(int(options.solve))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {options.timeout} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    with np.load(path) as saved:
        return {**json.loads(done.stdout.splitlines()[-1]), "keys": saved["keys"], "values": saved["values"]}


def disagreement(one, other):
    """The largest difference of two Hessians, relative to the larger of 1e-3 of the largest element and the element."""
    keys = np.union1d(one["keys"], other["keys"])
    a, b = np.zeros(len(keys)), np.zeros(len(keys))
    a[np.searchsorted(keys, one["keys"])], b[np.searchsorted(keys, other["keys"])] = one["values"], other["values"]
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-3 * np.max(np.abs(b)))))


def seconds(value):
    """A time in its unit."""
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1 or unit == "us":
            return f"{value * scale:.3g} {unit}"


def ratios(found, quantity):
    """Of `ad` to each peer, marked where a goal is missed; CasADi counts with the better of its kinds."""
    times = {}
    for peer, result in found.items():
        source = result.get("solve") if quantity == "callbacks" else result
        if source and quantity in source:
            name = peer.split()[0]
            times[name] = min(times.get(name, np.inf), source[quantity])
    if "ad" not in times:
        return "-"
    cells = []
    for name, value in times.items():
        if name != "ad":
            ratio, goal = times["ad"] / value, GOALS[quantity].get(name, np.inf)
            cells.append(f"{name} {ratio:.2f}{'!' if ratio > goal else ''}")
    return ", ".join(cells)


def report(name, found):
    """Print the rows of one problem and size."""
    for peer, result in found.items():
        if "failed" in result:
            print(f"    {peer:<13} {result['failed'][:100]}")
            continue
        stages = ", ".join(f"{stage} {seconds(value)}" for stage, value in result["stages"].items())
        print(f"    {peer:<13} set-up {seconds(result['setup']):>8}   later {seconds(result['later']):>8}   "
              f"colours {result['colors'] or '-'!s:>4}   peak {result['peak']:.2f} GB   ({stages})")
        if result.get("solve"):
            solve = result["solve"]
            print(f"    {'':<13} Ipopt: {solve['iterations']} iterations, {seconds(solve['callbacks'])} in "
                  f"{solve['calls']} callbacks of {seconds(solve['seconds'])}; preparing {seconds(solve['prepare'])}; "
                  f"objective {solve['objective']:.10g}, status {solve['status']}")
    for title, quantity in (("later", "later"), ("set-up", "setup"), ("callbacks", "callbacks")):
        print(f"    ad/peer {title}: {ratios(found, quantity)}")
    sys.stdout.flush()


def check(name, found, tolerance=1e-8):
    """Whether all peers found the same Hessian."""
    there = {peer: result for peer, result in found.items() if "values" in result}
    reference = next(iter(there), None)
    agree = True
    for peer, result in there.items():
        difference = disagreement(result, there[reference])
        if not difference <= tolerance:
            print(f"    DISAGREES: {peer} with {reference} by {difference:.3g}")
            agree = False
    return agree


def compare(options):
    """All problems and sizes; 1 if some Hessian differs from another."""
    agree, rows = True, []
    for name in options.problems:
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as folder:
                found = {peer: measure(peer, name, int(size), folder, options) for peer in options.peers}
            print(f"{name}, n = {max(result.get('n', 0) for result in found.values())}")
            agree &= check(name, found)
            report(name, found)
            kept = {p: {k: v for k, v in r.items() if k not in ("keys", "values")} for p, r in found.items()}
            rows.append({"problem": name, "size": int(size), **kept})
            if options.json:
                Path(options.json).write_text(json.dumps(rows), encoding="utf-8")
    summary(rows)
    return 0 if agree else 1


def summary(rows):
    """One line for each problem and size, with the ratios alone."""
    print(f"\n{'ratios of ad to':<16} {'n':>7}   {'later':<46} {'set-up':<46} callbacks of Ipopt")
    for row in rows:
        found = {peer: result for peer, result in row.items() if isinstance(result, dict)}
        print(f"{row['problem']:<16} {row['size']:>7}   {ratios(found, 'later'):<46} {ratios(found, 'setup'):<46} "
              f"{ratios(found, 'callbacks')}")


def main():
    if sys.argv[1:2] == ["--worker"]:
        _, _, peer, name, n, path, solving = sys.argv
        return work(peer, name, int(n), path, solving == "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e3, 1e4, 1e5])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--peers", nargs="+", choices=NEEDS, default=list(NEEDS))
    parser.add_argument("--no-solve", dest="solve", action="store_false", help="leave Ipopt out")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one peer, problem and size")
    parser.add_argument("--json", help="a file for all numbers")
    start = time.perf_counter()
    code = compare(parser.parse_args())
    print(f"{time.perf_counter() - start:.0f} s in all; ! marks what misses its goal")
    return code


if __name__ == "__main__":
    sys.exit(main())
