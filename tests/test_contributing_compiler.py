"""The pass and the kernel that CONTRIBUTING.md adds work as it says."""
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from programs import Builder, assert_same_results, names

import ad
from ad.compiler.passes import pipeline
from ad.ops.table import TABLE

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAIN = """
#include <stdio.h>
#include "loops.h"
int main(void)
{
    const double a[] = {1.5, -2.0, 3.0}, b[] = {-1.0, -1.0, 0.0};
    double out[3];
    ad_choose_kernels();
    ad_kernel_of(AD_CODE_copysign, 0)(3, out, a, b, b);
    printf("%s %g %g %g", ad_code_names[AD_CODE_copysign], out[0], out[1], out[2]);
    return 0;
}
"""


def snippet(section, language):
    """The first block of a section of the page."""
    return CONTRIBUTING.split(f"## {section}\n")[1].split(f"```{language}\n")[1].split("```")[0]


def test_the_pass_keeps_what_a_graph_computes():
    found = vars(pipeline) | {"TABLE": TABLE}
    exec(snippet("A pass is one function", "python"), found)
    b = Builder()
    x = b.input(np.arange(3.0))
    y = b.identity(x)
    graph = b.graph(b.sin(y), y, b.identity(b.cos(b.identity(y))))
    simpler = found["without_identities"](graph)
    assert names(simpler) == ["sin", "cos"] and found["without_identities"](simpler) is simpler
    assert_same_results(graph, simpler, [np.arange(3.0)])


@pytest.mark.skipif(sysconfig.get_config_var("CC") is None or shutil.which("gcc") is None, reason="gcc is not there")
def test_the_kernel_is_compiled_from_its_line(tmp_path):
    folders = [ROOT / "ad" / "engine", ROOT / "ad" / "compiler" / "machine"]
    for header in [path for folder in folders for path in folder.glob("*.h")]:
        shutil.copy(header, tmp_path)
    kernels = tmp_path / "loops.h"
    line = snippet("A native kernel is one line", "c").rstrip()
    text = kernels.read_text(encoding="utf-8")
    assert text.count("    OP1(copy, a)") == 1
    kernels.write_text(text.replace("    OP1(copy, a)", f"{line} OP1(copy, a)"), encoding="utf-8")
    program = tmp_path / "main.c"
    program.write_text(MAIN, encoding="ascii")
    include = ["-I", sysconfig.get_path("include"), "-I", np.get_include()]
    subprocess.run(["gcc", "-O0", "-w", *include, program, "-o", tmp_path / "main", "-lm"], check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert printed == "copysign -1.5 -2 3"
    assert "copysign" in ad.__all__
