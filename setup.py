"""Builds the compiled core. AD_DEBUG=1 adds bounds checks and live-object counters."""
import os
import sys
import sysconfig
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, PlatformError

DEBUG = os.environ.get("AD_DEBUG", "0") not in ("", "0")
# The first two -f change no result; without them no loop with a comparison or a square root is vectorised. The last
# keeps a * b + c what it is in two steps. Python's own flags ask for debug symbols, which are nine tenths of a build.
FAST = ["-O3", "-g0", "-fno-trapping-math", "-fno-math-errno", "-ffp-contract=off"]
# What runs once a call, or only while a program is recorded: optimised less, these compile in half the time.
COLD = {
    "ad.compiler.machine.assembly", "ad.compiler.tracing.tracer", "ad.engine.boundary", "ad.engine.deferred",
    "ad.engine.inspection", "ad.engine.native_steps", "ad.engine.public_functions", "ad.engine.roles", "ad.engine.tape",
    "ad.engine.variable", "ad.sparse._coloring", "ad.sparse._rows",
}
BASE = "build/debug" if DEBUG else "build"  # two builds from one checkout must not share objects

# What brings a C compiler, and Python.h.
REMEDIES = {
    "darwin": "Apple's command line tools: `xcode-select --install`",
    "win32": 'Visual Studio Build Tools, with "Desktop development with C++"',
}
UNIX = "it: `apt install build-essential python3-dev` on Debian or Ubuntu, `dnf install gcc python3-devel` on Fedora"


class BuildCore(build_ext):
    """Translates and compiles the core; where that cannot be done, ends in one line with the remedy."""

    def build_extensions(self):
        if sysconfig.get_config_var("Py_GIL_DISABLED"):
            sys.exit(f"error: dualtape: {sys.executable} is a free-threaded build of Python, which dualtape does not "
                     "support. Install it for the build with the GIL: python3 instead of python3t.")
        self.require("", "no C compiler that works")
        self.require("#include <Python.h>", f"no Python.h for {sys.executable}")
        for extension, translated in zip(self.extensions, self.translated()):
            extension.sources = translated.sources
            extension.extra_compile_args = self.flags(extension.name in COLD)
        super().build_extensions()

    def require(self, include, missing):
        """End the build, naming what is missing, if a program of one line does not compile."""
        probe = Path(self.build_temp, "probe.c")
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text(f"{include}\nint ad_probe = 1;\n", encoding="ascii")
        try:
            self.compiler.compile([str(probe)], output_dir=self.build_temp)
        except (CompileError, PlatformError):
            tried = getattr(self.compiler, "compiler_so", ["Visual C++"])[0]
            remedy = REMEDIES.get(sys.platform, UNIX)
            sys.exit(f"error: dualtape: there is {missing} (tried {tried}). Install {remedy}.")

    def translated(self):
        return cythonize(
            self.extensions,
            build_dir=f"{BASE}/cython",
            nthreads=os.cpu_count() or 1,
            compiler_directives={
                "language_level": 3,
                "boundscheck": DEBUG,
                "wraparound": False,
                "initializedcheck": DEBUG,
                "cdivision": True,
                "allow_none_for_extension_args": False,
                "auto_pickle": False,
                "embedsignature": True,
            },
        )

    def flags(self, cold):
        if self.compiler.compiler_type == "msvc":
            return []  # /O2 is what it is called with anyway
        if DEBUG:
            return ["-O1", "-g"]
        return [*FAST, "-O1"] if cold else FAST


setup(
    ext_modules=[
        Extension(
            ".".join(path.with_suffix("").parts),
            [path.as_posix()],
            include_dirs=[np.get_include(), "ad/engine", "ad/compiler/machine"],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("AD_DEBUG", str(int(DEBUG)))],
            depends=[header.as_posix() for header in Path("ad").rglob("*.h")],
        )
        for path in sorted(Path("ad").rglob("*.pyx"))
    ],
    cmdclass={"build_ext": BuildCore},
    options={"build": {"build_base": BASE}, "build_ext": {"parallel": True}},
)
