"""`edgekd export`: what a runtime or a board needs besides the ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekd.benchmarks.trtexec.shapes import Range
    from edgekd.exporters.target import Target


def export(
    source: Annotated[
        Path, typer.Argument(help="bundle of a run, a folder with model.*.onnx, or an ONNX file")
    ],
    target: Annotated[
        str,
        typer.Option(
            "--for", metavar="TARGET", help="tensorrt-10.3, jetson-orin, ort-arm, qnn, ..."
        ),
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write the files there")] = None,
    batch: Annotated[
        str,
        typer.Option(metavar="MIN,USUAL,MAX", help="samples in a call, where the file leaves it"),
    ] = "1,1,8",
    length: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=MIN,USUAL,MAX", help="lengths of another free axis"),
    ] = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build", help="build and time the files on this machine; --out gets what is built"
        ),
    ] = False,
    read: Annotated[
        Path | None, typer.Option(metavar="DIR", help="show what the device wrote into this folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Print or write what a runtime or a board needs to run the files.

    For TensorRT that is a shell script, and with --out the ONNX files beside it: it builds an
    engine of each file on the device, INT8, FP16 as its rival, and FP32, and times them. `ort` and
    `ort-arm` give .ort files with their list of operators, `qnn`, `coreml` and `xnnpack` a file
    with fixed axes; each is run and compared here. `openvino` reads the files as they are.

    Example: edgekd export runs/mnist/bundle --for tensorrt-10.3 --out board
    """
    from edgekd.exporters.target import open_source
    from edgekd.exporters.targets import find_target
    from edgekd.store import write_atomic

    known = find_target(target)
    lengths = dict(_named_range(text) for text in length or [])
    files = open_source(source, batch=_range("batch", batch), lengths=lengths)
    if build or read is not None:
        _refuse_two(known, target, build=build, read=read, out=out)
    if build and known.build is not None:
        found = known.build(files, target)
    elif read is not None and known.read is not None:
        found = known.read(files, target, read)
    else:
        found = known.export(files, target)
    written = {}
    if out is not None:
        for name, text in found.files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(out / name, text)
            written[name] = str(out / name)
    if as_json:
        typer.echo(
            json.dumps({"target": target, "text": found.text, "written": written, **found.facts})
        )
    else:
        shown = out is None or build or found.notes is None
        typer.echo(found.text if shown else found.notes, nl=False)
        for place in written.values():
            typer.echo(f"wrote {place}")
        if out is not None and not build and not written:
            typer.echo(f"wrote nothing into {out}: {target} needs no other files")


def _refuse_two(
    known: Target, target: str, *, build: bool, read: Path | None, out: Path | None
) -> None:
    """Refuse what does not go together, and what a target cannot do."""
    from edgekd.errors import RecipeError
    from edgekd.wording import flag

    asked = [name for name, given in (("read", read), ("build", build), ("out", out)) if given]
    if read is not None and len(asked) > 1:
        raise RecipeError(
            f"{flag(asked[0])} and {flag(asked[1])} do not go together; give one of them"
        )
    if (build and known.build is None) or (read and known.read is None):
        raise RecipeError(
            f"{flag('for', target)} has nothing to build here and no results to read; leave "
            f"{flag(asked[0])} out"
        )


def _named_range(text: str) -> tuple[str, Range]:
    from edgekd.errors import RecipeError
    from edgekd.wording import flag

    axis, equals, lengths = text.rpartition("=")
    if not equals or not axis:
        raise RecipeError(
            f"{flag('length', text)} cannot be read; give AXIS=MIN,USUAL,MAX, such as "
            f"{flag('length', 'sequence=1,64,128')}"
        )
    return axis, _range("length", lengths)


def _range(name: str, text: str) -> Range:
    """Return three lengths; one number stands for all three."""
    from edgekd.errors import RecipeError
    from edgekd.wording import flag

    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(p.strip().isdecimal() and len(p) < 10 for p in parts):
        raise RecipeError(
            f"{flag(name, text)} cannot be read; give the least, the usual and the largest length, "
            "as in 1,1,8, or one number"
        )
    least, usual, most = (int(p) for p in (parts if len(parts) == 3 else parts * 3))
    return least, usual, most
