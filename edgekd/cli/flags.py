"""The flags that more than one command has: what stands in a recipe otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="FILE.py:FUNCTION or package.module:FUNCTION builds it; or X.onnx",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="a folder of images, an .npz, a table of texts, mnist5k, cifar10, or FILE.py:FUNCTION",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="its trained weights [default: it is trained in the run]"),
]
Student = Annotated[
    str | None,
    typer.Option(
        metavar="BUILDER", help="FILE.py:FUNCTION [default: half of the model's channels]"
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="where it must be fast [default: local]")
]
MaxLatency = Annotated[
    str | None, typer.Option(metavar="TIME", help="how fast it must be, such as 8ms")
]
MaxDrop = Annotated[
    float | None, typer.Option(metavar="POINTS", help="how much may be lost [default: 1.0]")
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="epochs of every training [default: 20]")
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="the run folder [default: runs/NAME]")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a recipe key, such as effort=0.1"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
