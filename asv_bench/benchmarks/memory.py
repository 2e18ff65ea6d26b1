"""What a tape holds."""
import os

import numpy as np

import ad

from .problems import rosen

OPS = 1_000_000


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def track_bytes_per_scalar_op():
    """Growth of the process while a chain of a million ops is recorded."""
    if not os.path.exists("/proc/self/statm"):
        raise NotImplementedError("reads /proc")
    x = ad.Variable(1.0)
    with ad.GradientTape():
        y = x * 1.000001
        before = resident()
        for _ in range(OPS):
            y = y * 1.000001
        return (resident() - before) / OPS


track_bytes_per_scalar_op.unit = "bytes"


def peakmem_gradient():
    """The most that the process holds in a gradient of a million elements, 8 MB each array of them."""
    ad.grad(rosen)(np.linspace(0.0, 1.0, 1_000_000))


def peakmem_hessian():
    """The same for a dense Hessian of 8 MB."""
    ad.hessian(rosen)(np.linspace(0.0, 1.0, 1000))
