"""asv finds a regression that is planted on purpose, and none where nothing has changed."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARK = r"Rosenbrock.time_gradient\(10\)"
HOT = "    read_array(x, &operand)\n    output.kind = ARRAY\n"  # of `take_slice`, four times in a gradient of rosen
SLOW = f"    x.array.repeat(10000).sort()\n{HOT}"  # 0.2 ms, where a gradient takes 5 to 30 us
FACTOR = "4"  # on a busy machine the same code has been seen to take 1.7 times as long a minute later

pytestmark = pytest.mark.skipif(os.environ.get("AD_SLOW_TESTS") != "1", reason="builds three times: AD_SLOW_TESTS=1")


def git(repository, *arguments):
    """Run git as somebody; what it prints."""
    somebody = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    command = ["git", "-C", repository, *somebody, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(repository, path, old, new):
    """Commit a change of one place in a file; its hash."""
    text = (repository / path).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (repository / path).write_text(text.replace(old, new), encoding="utf-8")
    git(repository, "commit", "-qam", f"Change {path}")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A clone of the checkout's last commit, and an asv that knows the machine."""
    pytest.importorskip("asv")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git, and a checkout")
    clone = tmp_path_factory.mktemp("asv") / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    git(clone, "checkout", "-q", "-B", "main")
    asv(clone, "machine", "--yes")
    return clone


def asv(repository, *arguments):
    environment = {**os.environ, "HOME": str(repository.parent)}
    command = ["asv", *arguments, "--config", "asv_bench/asv.conf.json"]
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)


def compared(repository, before, after):
    """`asv continuous` between two commits, as CONTRIBUTING.md has it, but for the factor."""
    return asv(repository, "continuous", "--factor", FACTOR, "--show-stderr", "--bench", BENCHMARK, before, after)


def test_continuous_and_publish(repository):
    base = git(repository, "rev-parse", "HEAD")
    same = commit(repository, "README.md", "## A tour", "## A short tour")
    slow = commit(repository, "ad/_core.pyx", HOT, SLOW)
    unchanged, planted = compared(repository, base, same), compared(repository, same, slow)
    assert "BENCHMARKS NOT SIGNIFICANTLY CHANGED" in unchanged.stdout, unchanged.stdout + unchanged.stderr
    assert unchanged.returncode == 0
    assert "PERFORMANCE DECREASED" in planted.stdout, planted.stdout + planted.stderr
    assert planted.returncode == 1
    assert git(repository, "status", "--porcelain") == ""

    published = asv(repository, "publish")
    assert published.returncode == 0, published.stdout + published.stderr
    html = repository / "asv_bench" / "html"
    assert "gradients.Rosenbrock.time_gradient" in (html / "index.json").read_text(encoding="utf-8")
    assert list((html / "graphs").rglob("gradients.Rosenbrock.time_gradient.json"))
