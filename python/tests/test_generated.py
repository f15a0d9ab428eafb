"""The generated files are what their sources make of them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import generate  # noqa: E402


def test_generated_files_are_up_to_date() -> None:
    old = [str(path) for path, text in generate.files().items() if path.read_text("utf-8") != text]
    assert not old, f"run `python python/tools/generate.py`, as these are out of date: {', '.join(old)}"
