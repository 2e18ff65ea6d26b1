"""A line that shows how a search gets on: by tqdm where it is installed."""
import importlib
import sys
import time
from typing import Any

__all__ = ["Progress", "progress_line"]


class Progress:
    """A line on standard error that is written again at most ten times a second.

    Parameters
    ----------
    title : str
    """

    INTERVAL = 0.1

    def __init__(self, title: str) -> None:
        self.title = title
        self.start, self.shown_at, self.width, self.text = time.monotonic(), -1.0, 0, ""

    def update(self, n_iterations: int, text: str) -> None:
        """Show that an iteration is done."""
        seconds = time.monotonic() - self.start
        self.text = f"{self.title}: {n_iterations} iterations [{seconds:.1f} s, {text}]"
        if seconds - self.shown_at >= self.INTERVAL or self.shown_at < 0:
            self.shown_at = seconds
            self._write("\r" + self.text.ljust(self.width))

    def close(self) -> None:
        """End the line."""
        if self.text:
            self._write("\r" + self.text.ljust(self.width) + "\n")

    def _write(self, text: str) -> None:
        self.width = len(self.text)
        sys.stderr.write(text)
        sys.stderr.flush()


class TqdmProgress(Progress):
    """The same by tqdm, which also knows notebooks."""

    def __init__(self, title: str, tqdm: Any) -> None:
        super().__init__(title)
        self.bar = tqdm(desc=title, unit=" iterations")

    def update(self, n_iterations: int, text: str) -> None:
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(n_iterations - self.bar.n)

    def close(self) -> None:
        self.bar.refresh()
        self.bar.close()


def progress_line(title: str) -> Progress:
    """Return a new progress line."""
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return Progress(title)
    return TqdmProgress(title, tqdm)
