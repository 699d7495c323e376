"""The output of every trial: a table, and JSON that records how it was made."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edgekd.store import write_json


def conclude(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    content: Mapping[str, Any],
    target: Path | None,
) -> None:
    """Print the table and, where a file was asked for, write the content with its origin."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if target is not None:
        write_json(target, {**origin(), **content})


def origin() -> dict[str, str]:
    """Say by which command, when and with what something was measured; no host, no path."""
    module = sys.modules["__main__"].__spec__
    name = module.name if module else Path(sys.argv[0]).name
    return {
        "command": " ".join(["python -m", name, *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "numpy": version("numpy"),
    }


def _cpu() -> str:
    """Return what /proc/cpuinfo calls the processor, or what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
