"""`edgekd lint`: why a file will not be fast in a runtime, or not load there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from edgekd.exporters.lint.finding import Group, Lint
    from edgekd.exporters.lint.targets import Target


def lint(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file, or bundle of a run")],
    runtimes: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="RUNTIME",
            help="cpu, xnnpack, coreml, webgpu, cuda, qnn, openvino, tensorrt-8.6, 10.3, 10.16 or "
            "11; may be repeated. Default: cpu, and for a bundle each file's own runtimes",
        ),
    ] = None,
    dla: Annotated[
        bool, typer.Option("--dla", help="with TensorRT: also the limits of the DLA of a Jetson")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Explain what of a file does not run in INT8 in a runtime, or does not load, and the fix.

    ONNX Runtime, OpenVINO and TensorRT-RTX load the file if they are installed; for other runtimes
    rules are read from the file. Exit code 1: there is an error, or a warning that costs speed.

    Example: edgekd lint model.int8.onnx --for cpu

    Example: edgekd lint runs/mnist/bundle --for 10.3
    """
    from edgekd.exporters.lint.targets import TARGETS, find_target, lint_file

    asked = [find_target(name) for name in runtimes or ()]
    if dla and not any(target.name.startswith("tensorrt") for target in asked):
        raise RecipeError("--dla is a part of TensorRT devices; give --for tensorrt-10.3 too")
    if model.is_dir():
        found = [
            one
            for path, targets in _shipped(model, asked or TARGETS)
            for one in lint_file(path, targets, dla=dla)
        ]
    else:
        found = lint_file(model, asked or [find_target("cpu")], dla=dla)
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found]))
    else:
        _show(found)
    if any(one.failed for one in found):
        raise typer.Exit(1)


def _shipped(bundle: Path, targets: Sequence[Target]) -> list[tuple[Path, list[Target]]]:
    """Return the files of a bundle, each with those of the runtimes that it is for.

    Raises:
        RecipeError: it is no bundle, or ships nothing for them.
    """
    from edgekd.exporters.lint.targets import shipped_for

    found = sorted(bundle.glob("model.*.onnx"))
    fixed = {path.name.split(".")[1]: path for path in found if path.name.endswith(_FIXED)}
    free = {path.name.split(".")[1]: path for path in found if not path.name.endswith(_FIXED)}
    files = {**fixed, **free}
    if not files:
        raise RecipeError(
            f"{bundle} contains no model.<variant>.onnx; give an .onnx file, or the bundle of a run"
        )
    shipped = shipped_for(files, targets)
    if not shipped:
        wanted = sorted({v for target in targets for v in target.variants})
        raise RecipeError(
            f"{bundle} ships {', '.join(files)}, and nothing of that is for "
            f"{', '.join(t.name for t in targets)}, which needs {' or '.join(wanted)}; give the "
            "file itself to check it all the same"
        )
    by_file: dict[Path, list[Target]] = {}
    for variant, some in shipped.items():
        for target in some:
            path = fixed.get(variant, files[variant]) if target.fixed else files[variant]
            by_file.setdefault(path, []).append(target)
    return list(by_file.items())


_FIXED = ".batch1.onnx"


def _show(found: Sequence[Lint]) -> None:
    from rich.text import Text

    from edgekd.cli.terminal import output

    console = output()
    for one in found:
        console.print(Text(_plain(f"{one.file} for {one.runtime}"), style="bold"))
        console.print(Text(_plain(one.summary)))
        if one.findings:
            console.print(_table(one, console.width))
        console.print()


def _table(found: Lint, console_width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    width = max(24, min(60, console_width // 3))
    table = Table(show_lines=True)
    table.add_column("", no_wrap=True)
    table.add_column("where", overflow="fold", max_width=width)
    table.add_column("why, and what to do", overflow="fold", max_width=90)
    for group in found.groups:
        first = group.first
        fix = f"\nFix: {first.fix}." if first.fix else ""
        mark = "" if first.source != "unverified" else " (not verified)"
        told = f"{first.reason[:1].upper()}{first.reason[1:]}.{mark}{fix}"
        table.add_row(first.weight, *(Text(_plain(text)) for text in (_where(group, width), told)))
    return table


_SHOWN = 3


def _where(group: Group, width: int) -> str:
    """Return the nodes of a group, one a line, and the conversions that run because of them."""
    from edgekd.exporters.lint.finding import shortened

    kinds = dict.fromkeys(found.operator for found in group.findings if found.operator)
    named = [found for found in group.findings if found.node]
    left = sum(len(found.left) for found in group.findings)
    lines = [f"{len(named)} {'/'.join(kinds) or 'nodes'}:"] if named else []
    for found in named[:_SHOWN]:
        detail = f" ({shortened(found.detail, width)})" if found.detail else ""
        lines.append(f"{shortened(found.node, width)}{detail}")
    if len(named) > _SHOWN:
        lines.append(f"and {len(named) - _SHOWN} more")
    if left:
        lines.append(f"{left} Q/DQ left" if named else f"{left} Q/DQ")
    return "\n".join(lines) or "the file"


def _plain(text: str) -> str:
    """Return untrusted text of a file without control characters."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
