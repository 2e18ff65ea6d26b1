"""Benchmarks of `ad`: `asv run`, `asv continuous`; see CONTRIBUTING.md."""
