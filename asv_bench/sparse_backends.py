"""`ad` and its peers behind one interface: the Hessian of the Lagrangian of a problem, lower triangle, values only.

Making a backend does all that comes before later calls, the first Hessian included, and takes the time of each stage.
Each peer is imported by its class alone, in a process of its own.
"""
import time

import numpy as np
from sparse_symbols import Casadi, Namespace, SparseDiffEngine, Symbols


class Stages:
    """Seconds of the stages of a set-up, one after the other."""

    def __init__(self):
        self.seconds, self.last = {}, time.perf_counter()

    def end(self, name):
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


class Backend:
    """What a peer has to say about one problem; `hessian(x, multipliers)` returns values, in the order of `places`."""

    colors = None
    stages: Stages

    def places(self):
        """Rows and columns of the values, in the lower triangle."""
        raise NotImplementedError


class Ours(Backend):
    """`ad.sparse.lagrangian`."""

    def __init__(self, problem, x, multipliers):
        import ad

        self.problem = problem
        constraints = None if problem.constraints is None else lambda x: problem.constraints(x, np)
        made = [ad.sparse.lagrangian(lambda x: problem.objective(x, np), constraints) for _ in range(2)]
        pattern = Stages()
        made[0].hessian_pattern(x)
        pattern.end("pattern")
        self.stages = Stages()
        self.lagrangian = made[1]
        self.out = self.lagrangian.hessian(x, multipliers)  # finds its pattern again: a part of the whole
        self.stages.end("whole")
        self.stages.seconds = {"recording, pattern": pattern.seconds["pattern"],
                               "program, first": self.stages.seconds["whole"] - pattern.seconds["pattern"]}

    def hessian(self, x, multipliers, factor=1.0):
        return self.lagrangian.hessian(x, multipliers, factor, out=self.out).data

    def places(self):
        rows, columns = self.out.tocoo().coords
        return rows, columns

    def callbacks(self, x):
        """The functions that Ipopt asks for, and the places of the Jacobian."""
        lagrangian, (rows, columns) = self.lagrangian, (np.zeros(0, int), np.zeros(0, int))
        found = {"objective": lagrangian.value, "gradient": lagrangian.gradient}
        if self.problem.constraints is not None:
            out = lagrangian.jacobian(x)
            rows, columns = out.tocoo().coords
            found["constraints"] = lambda x: lagrangian.constraints(x)
            found["jacobian"] = lambda x: lagrangian.jacobian(x, out=out).data
        return found, (rows, columns)


class OfCasadi(Backend):
    """CasADi's Hessian of the Lagrangian, as `nlpsol` makes it, called with buffers."""

    kind = "SX"

    def __init__(self, problem, x, multipliers):
        import casadi

        self.casadi, self.problem = casadi, problem
        self.stages = Stages()
        engine = Casadi(casadi, self.kind)
        self.x = engine.symbol.sym("x", x.size)
        self.factor, self.multipliers = engine.symbol.sym("factor"), engine.symbol.sym("multipliers", multipliers.size)
        symbols, namespace = Symbols(engine, self.x, x.shape), Namespace(engine)
        self.f = problem.objective(symbols, namespace).column
        self.g = problem.flat_constraints(symbols, namespace).column if multipliers.size else engine.symbol(0, 1)
        lagrangian = self.factor * self.f + casadi.dot(self.multipliers, self.g)
        self.stages.end("expressions")
        self.full = casadi.hessian(lagrangian, self.x)[0]
        inputs = [self.x, self.multipliers, self.factor]
        self.function, self.call = self.buffered(casadi.Function("hessian", inputs, [casadi.triu(self.full)]))
        self.stages.end("pattern, colours, recording")
        self.hessian(x, multipliers)
        self.stages.end("first")
        self.colors = self.full.sparsity().star_coloring().size2()

    def buffered(self, function):
        """A function, and a call that returns the values of its output in an array of its own."""
        buffer, evaluate = function.buffer()
        out = np.zeros(max(function.nnz_out(0), 1))[: function.nnz_out(0)]
        buffer.set_res(0, memoryview(out))

        def call(*inputs):
            for i, value in enumerate(inputs):
                if value.size:
                    buffer.set_arg(i, memoryview(value))
            evaluate()
            return out

        return function, call

    def hessian(self, x, multipliers, factor=1.0):
        return self.call(x, multipliers, np.array([factor]))

    def places(self):
        rows, columns = self.function.sparsity_out(0).get_triplet()
        return np.array(columns, int), np.array(rows, int)  # the upper triangle by columns is the lower one by rows

    def callbacks(self, _x):
        make = self.casadi.Function
        f, gradient = make("f", [self.x], [self.f]), make("gradient", [self.x], [self.casadi.gradient(self.f, self.x)])
        value = self.buffered(f)[1]
        found = {"objective": lambda x: value(x)[0], "gradient": self.buffered(gradient)[1]}
        if self.multipliers.numel() == 0:
            return found, (np.zeros(0, int), np.zeros(0, int))
        jacobian = make("jacobian", [self.x], [self.casadi.jacobian(self.g, self.x)])
        found["constraints"] = self.buffered(make("g", [self.x], [self.g]))[1]
        found["jacobian"] = self.buffered(jacobian)[1]
        return found, tuple(np.array(part, int) for part in jacobian.sparsity_out(0).get_triplet())


class OfCasadiMX(OfCasadi):
    """The same by expressions of matrices."""

    kind = "MX"


class OfAsdex(Backend):
    """JAX and asdex, jitted; the whole matrix, since asdex has no triangle."""

    def __init__(self, problem, x, multipliers):
        import asdex
        import jax

        jax.config.update("jax_enable_x64", True)
        import jax.numpy as jnp

        def lagrangian(x, multipliers, factor):
            value = factor * problem.objective(x, jnp)
            return value + multipliers @ problem.flat_constraints(x, jnp) if multipliers.size else value

        self.to_device = jnp.asarray
        arguments = jnp.asarray(x), jnp.asarray(multipliers), jnp.asarray(1.0)
        jax.block_until_ready(arguments)
        self.stages = Stages()
        pattern = asdex.hessian_sparsity(lagrangian, *arguments)
        self.stages.end("pattern")
        self.coloring = asdex.hessian_coloring_from_sparsity(pattern)
        self.stages.end("colours")
        self.call = jax.jit(asdex.hessian_from_coloring(lagrangian, self.coloring))
        self.matrix = jax.block_until_ready(self.call(*arguments))
        self.stages.end("compilation, first")
        self.colors = self.coloring.num_colors

    def hessian(self, x, multipliers, factor=1.0):
        return self.call(x, multipliers, factor).data.block_until_ready()

    def places(self):
        return tuple(np.asarray(self.matrix.indices).T)


class OfEngine(Backend):
    """SparseDiffEngine by sparsediffpy: the chain rule in sparse matrices, without colours."""

    def __init__(self, problem, x, multipliers):
        from sparsediffpy import _sparsediffengine as engine

        self.engine = engine
        self.stages = Stages()
        symbols = SparseDiffEngine(engine, x.size)
        namespace, variables = Namespace(symbols), symbols.variables()
        parts = [] if problem.constraints is None else problem.constraints(variables, namespace)
        columns = [part.column for part in (parts if isinstance(parts, list) else [parts])]
        self.problem = engine.make_problem(problem.objective(variables, namespace).column, columns, False)
        self.stages.end("expressions")
        engine.problem_init_jacobian(self.problem)  # without one its gradient and Hessian are not there
        engine.problem_init_hessian_coo_lower_triangular(self.problem)
        self.stages.end("pattern")
        self.hessian(x, multipliers)
        self.stages.end("first")

    def hessian(self, x, multipliers, factor=1.0):
        self.engine.problem_objective_forward(self.problem, x)
        self.engine.problem_constraint_forward(self.problem, x)
        self.engine.problem_gradient(self.problem)  # the Hessian is made of Jacobians of parts, which these two refresh
        self.engine.problem_eval_jacobian_vals(self.problem)
        return self.engine.problem_eval_hessian_vals_coo(self.problem, factor, multipliers)

    def places(self):
        return self.engine.get_problem_hessian_sparsity_coo(self.problem)[:2]


BACKENDS = {"ad": Ours, "casadi SX": OfCasadi, "casadi MX": OfCasadiMX, "asdex": OfAsdex, "sparsediffpy": OfEngine}
