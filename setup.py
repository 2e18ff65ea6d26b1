"""Builds the compiled core. AD_DEBUG=1 adds bounds checks and live-object counters."""
import os
import sys

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("AD_DEBUG", "0") not in ("", "0")
# Neither flag changes a result; without them no loop with a comparison or a square root is vectorised.
FAST = ["-O3", "-fno-trapping-math", "-fno-math-errno"]
OPTIMISE = [] if sys.platform == "win32" else ["-O1", "-g"] if DEBUG else FAST
BASE = "build/debug" if DEBUG else "build"  # two builds from one checkout must not share objects
MODULES = ("_kernels", "_graph", "_core", "_leaves", "_sweep", "_calls", "_tape")

extensions = [
    Extension(
        f"ad.{name}",
        [f"ad/{name}.pyx"],
        include_dirs=[np.get_include(), "ad"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("AD_DEBUG", str(int(DEBUG)))],
        extra_compile_args=OPTIMISE,
        depends=["ad/_native.h"],
    )
    for name in MODULES
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir=f"{BASE}/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
        },
    ),
    options={"build": {"build_base": BASE}, "build_ext": {"parallel": True}},
)
