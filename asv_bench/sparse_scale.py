#!/usr/bin/env python3
"""How sparse Hessians of `ad` grow with n: set-up, memory, and later calls in units of gradients.

    python asv_bench/sparse_scale.py                             all problems, n = 1e3 to 1e6
    python asv_bench/sparse_scale.py --problems rosenbrock --sizes 1e5 1e6

Needs `ad` alone. Each problem and size has a process of its own, so that its peak of memory is of nothing else. Set-up
is from the function to its first Hessian: pattern, colours, recording. `growth` is what ten times the n takes more.
"""
import argparse
import json
import math
import resource
import subprocess
import sys
import time

import numpy as np
from benchmarks.problems import best
from benchmarks.sparse_problems import PROBLEMS
from sparse_backends import Ours


def gradient_of(problem):
    """The compiled gradient of the Lagrangian."""
    import ad

    def lagrangian(x, multipliers):
        f = problem.objective(x, np)
        return f + multipliers @ problem.flat_constraints(x) if multipliers.size else f

    return ad.compile(ad.grad(lagrangian))


def resident():
    """The most that the process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def work(name, n):
    """Measure one problem of one size and print a line of JSON."""
    small = PROBLEMS[name](64)
    Ours(small, *small.point()).hessian(*small.point(1))  # what a first call imports
    problem = PROBLEMS[name](n)
    points = [problem.point(0), problem.point(1)]
    before = resident()
    fewest = Ours(problem, *points[0]).stages.seconds
    for _ in range(0 if sum(fewest.values()) > 2 else 3):
        fewest = min(fewest, Ours(problem, *points[0]).stages.seconds, key=lambda stages: sum(stages.values()))
    backend = Ours(problem, *points[0])
    backend.hessian(*points[1])
    peak = resident()
    later = best(lambda: [backend.hessian(*point) for point in points]) / 2
    gradient = gradient_of(problem)
    gradient(*points[0])
    print(json.dumps({"n": problem.x0.size, "setup": sum(fewest.values()), "stages": fewest, "later": later,
                      "gradient": best(lambda: [gradient(*point) for point in points]) / 2, "peak": peak,
                      "before": before, "nnz": int(backend.out.nnz), "colors": backend.colors}))


def measure(name, n, timeout):
    command = [sys.executable, __file__, "--worker", name, str(n)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {timeout} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def growth(quantity, found, last):
    """How much a time has grown for ten times the n."""
    if not last:
        return "-"
    return f"{(found[quantity] / last[quantity]) ** (1 / math.log10(found['n'] / last['n'])):.2f}"


def row(name, found, last):
    """A line of the table."""
    stages = ", ".join(f"{stage} {value:.3g}" for stage, value in found["stages"].items())
    return (f"{name:<16} {found['n']:>8} {found['nnz']:>9} {found['colors'] or '-'!s:>7}   "
            f"{found['setup']:>9.3g} {growth('setup', found, last):>6}   "
            f"{found['later'] * 1e3:>9.3g} {growth('later', found, last):>6} "
            f"{found['later'] / found['gradient']:>9.3g}   {found['peak']:>8.2f} ({found['before']:.2f})     {stages}")


def main():
    if sys.argv[1:2] == ["--worker"]:
        return work(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e3, 1e4, 1e5, 1e6])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one problem and size")
    options = parser.parse_args()
    start = time.perf_counter()
    print(f"{'problem':<16} {'n':>8} {'nnz':>9} {'colours':>7}   {'set-up, s':>9} {'growth':>6}   {'later, ms':>9} "
          f"{'growth':>6} {'gradients':>9}   {'peak, GB':>8} (before)   stages")
    for name in options.problems:
        last = None
        for size in options.sizes:
            found = measure(name, int(size), options.timeout)
            if "failed" in found:
                print(f"{name:<16} {int(size):>8} {found['failed'][:120]}")
                continue
            print(row(name, found, last), flush=True)
            last = found
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
