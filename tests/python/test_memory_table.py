"""The table of docs/memory.md is what the library says."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_the_memory_table_is_up_to_date(repository: Path) -> None:
    table = runpy.run_path(str(repository / "tools/memory_table.py"))["table"]()
    assert (repository / "docs/memory.md").read_text() == table, "run tools/memory_table.py"
