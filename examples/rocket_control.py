"""How a rocket rises highest: optimal control by collocation.

Goddard's problem: a sounding rocket climbs through air that thins with height, and burns its fuel so that it gets as
high as possible. Heights, speeds, masses and thrusts at N + 1 times are the unknowns, the equations of motion are
constraints (by the trapezoidal rule), and the final time is free. The constants are those of E. D. Dolan, J. J. More
and T. S. Munson, "Benchmarking optimization software with COPS 3.0", 2004, where the best height is 1.01283.

With Ipopt, `--size 25000` has 100,005 unknowns. Without it SciPy's trust-constr solves the problem on a coarse grid.
"""
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _picture import BLUE, GREEN, GREY, INK, ORANGE, output_and_size, picture

import ad

Plan = dict[str, Any]

BOUNDS = {"height": (1, None), "speed": (0, None), "mass": (0.6, 1), "thrust": (0, 3.5), "time": (0.01, 1)}
IPOPT = {"method": "ipopt", "tol": 1e-10}
TRUST_CONSTR = {"method": "trust-constr", "options": {"gtol": 1e-6, "maxiter": 1000}}


def rates(plan: Plan) -> dict[str, Any]:
    """The derivatives of the states in time; lengths, masses and times are scaled by those of the start."""
    drag = 310 * plan["speed"] ** 2 * np.exp(-500 * (plan["height"] - 1))
    return {"height": plan["speed"], "speed": (plan["thrust"] - drag) / plan["mass"] - 1 / plan["height"] ** 2,
            "mass": -2 * plan["thrust"]}


def motion(plan: Plan) -> dict[str, Any]:
    """What has to be zero for the plan to obey the equations of motion."""
    step = plan["time"] / (plan["height"].size - 1)
    return {name: plan[name][1:] - plan[name][:-1] - step * (rate[1:] + rate[:-1]) / 2
            for name, rate in rates(plan).items()}


def ends(plan: Plan) -> list[Any]:
    """What has to be zero in the beginning, and for the fuel to be used in the end."""
    return [plan["height"][0] - 1, plan["speed"][0], plan["mass"][0] - 1, plan["mass"][-1] - 0.6]


def negative_height(plan: Plan) -> Any:
    return -plan["height"][-1]


CONSTRAINTS = [{"type": "eq", "fun": motion}, {"type": "eq", "fun": ends}]


def guess(size: int) -> Plan:
    s = np.linspace(0, 1, size + 1)
    return {"height": 1 + 0.01 * s, "speed": 0.2 * s * (1 - s), "mass": 1 - 0.4 * s, "thrust": np.ones(size + 1),
            "time": np.array(0.2)}


def solve(size: int, settings: dict[str, Any]) -> Any:
    return ad.optimize.minimize(negative_height, guess(size), bounds=BOUNDS, constraints=CONSTRAINTS, **settings)


def draw(path: Path, plan: Plan) -> None:
    times = np.linspace(0, float(plan["time"]), plan["height"].size)
    with picture(path, 3) as panels:
        panels[0].figure.set_size_inches(12, 4.2)
        panels[0].plot(times, 100 * (plan["height"] - 1), color=BLUE, label="height above ground, %")
        panels[0].plot(times, 10 * plan["speed"], color=GREEN, label="speed x 10")
        panels[0].plot(times, plan["mass"], color=ORANGE, label="mass")
        panels[0].set(title=f"States: the rocket rises to {plan['height'][-1]:.5f}", xlabel="time", ylim=(0, 1.75))
        panels[0].legend(loc="upper left", ncols=2)
        panels[1].plot(times, plan["thrust"], color=INK)
        panels[1].axhline(3.5, color=GREY, linewidth=0.8, linestyle="--")
        panels[1].set(title="Thrust: full, between its bounds, none", xlabel="time", ylim=(-0.1, 3.8))
        ad.sparse.spy(ad.sparse.jacobian_pattern(motion, guess(12)), ax=panels[2])
        panels[2].set(title="Jacobian for 12 steps", ylabel="equations of height, speed, mass")
        panels[2].set_xlabel("height, speed, mass, thrust; time")


def main(out: Path, size: int | None = None) -> None:
    has_ipopt = find_spec("cyipopt") is not None
    size = size or (500 if has_ipopt else 60)
    result = solve(size, IPOPT if has_ipopt else TRUST_CONSTR)
    n = sum(np.size(leaf) for leaf in result.x.values())
    print(f"{n} unknowns: {result.message}")
    print(f"height {-result.fun:.5f} at time {result.x['time']:.4f} after {result.nit} steps; "
          f"violation {result.constr_violation:.1e}")
    print(f"{result.setup_time:.2f} s of set-up, {result.evaluation_time:.2f} s of evaluations, "
          f"{result.solver_time:.2f} s in the solver")
    draw(out / "rocket_control.png", result.x)


if __name__ == "__main__":
    main(*output_and_size(__doc__, "number of time steps"))
