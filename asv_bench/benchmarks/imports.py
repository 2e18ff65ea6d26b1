"""The time of `import ad`, in a fresh interpreter."""
import subprocess
import sys

from .problems import best


def timeraw_import_ad():
    return "import ad"


def timeraw_import_numpy():
    return "import numpy"


def track_import_by_numpy():
    """Both with the start of the interpreter."""

    def start(code):
        return best(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    return start("import ad") / start("import numpy")


track_import_by_numpy.unit = "ratio"
