"""The flags that several commands share. Each stands for a key of a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from edgekd.wording import speaking


def _number(text: str) -> float:
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise typer.BadParameter(f"got {text!r}, expected a number, for instance 1.5") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(
            f"got {text!r}, expected a whole number, for instance 20"
        ) from None


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="function that builds the model, FILE.py:FUNCTION or package.module:FUNCTION; or an "
        "ONNX file, or hf:FOLDER of transformers",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="a folder of images, an .npz or .npy, a table of texts, mnist5k, cifar10, "
        "reuters-r8, 20newsgroups, or FILE.py:FUNCTION; without labels too",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="trained weights of the model [default: train it in the run]"
    ),
]
Student = Annotated[
    str | None,
    typer.Option(
        metavar="BUILDER",
        help="function that builds the student, FILE.py:FUNCTION [default: "
        "cut from the model, with half of its multiplications; or half of a text encoder's blocks]",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="PIXELS",
        help="size of the images that the model takes: 224, or HEIGHTxWIDTH [default: the "
        "model's, if it is known; else the images' own, or 224 if they differ]",
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="scale of pixels that the model takes: imagenet, 0..1, -1..1, none (0..255), or "
        "MEAN,STD [default: stated by the file, tried with labels, or the data's own if trained]",
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="how an image with another aspect ratio is brought to --size: crop its centre, "
        "stretch it, or pad it [default: crop]",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="tokenizer of a network of texts: tokenizer.json, a vocabulary (.txt, .json), or "
        "FILE.py:FUNCTION [default: words of the training texts]",
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        parser=_whole,
        metavar="TOKENS",
        help="largest length of a text; longer ones are cut [default: 128]",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="classification, multilabel, regression, segmentation, embedding, or FILE.py:FUNCTION",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="STEPS", help="do only these of distill, prune, quantize: --only prune,quantize"
    ),
]
Ship = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="file to ship: fastest, smallest, or variants such as int8 [default: fastest]",
    ),
]
Variants = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="files that quantize writes, such as int8,int8-tensorrt,fp16: those for a runtime "
        "that is not here are kept by their quality alone [default: int8]",
    ),
]
KeepFor = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="keep INT8 for this device, which is not here, if its quality allows; its speed "
        "there is reported as not measured",
    ),
]
NoDistill = Annotated[bool, typer.Option("--no-distill", help="leave out distillation")]
NoPrune = Annotated[bool, typer.Option("--no-prune", help="leave out pruning")]
NoQuantize = Annotated[bool, typer.Option("--no-quantize", help="leave out INT8")]
Samples = Annotated[
    int | None, typer.Option(parser=_whole, metavar="N", help="calibration samples [default: 256]")
]
Ranges = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="how ranges of activations are made: auto, minmax, percentile, entropy or mse "
        "[default: auto]",
    ),
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="leave out samples that cannot be read")
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="device to measure on [default: local]")
]
MaxLatency = Annotated[
    str | None, typer.Option(metavar="TIME", help="largest latency: 8ms, 250us, 0.5s")
]
MaxDrop = Annotated[
    float | None,
    typer.Option(parser=_number, metavar="POINTS", help="largest loss of quality [default: 1.0]"),
]
MinSnr = Annotated[
    float | None,
    typer.Option(
        parser=_number,
        metavar="DB",
        help="least signal-to-noise against the model's own outputs; labels are not read "
        "[default without labels: 20, a difference of a tenth of the output]",
    ),
]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        parser=_number,
        metavar="PERCENT",
        help="least share of samples whose class stays; labels are not read",
    ),
]
NoLabels = Annotated[
    bool,
    typer.Option("--no-labels", help="compare with the model's own outputs, ignore labels"),
]
Epochs = Annotated[
    int | None,
    typer.Option(parser=_whole, metavar="N", help="epochs of every training [default: 20]"),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="the run folder [default: runs/NAME]")
]
OutOrFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER|NAME.onnx",
        help="the run folder, or one file to write if it is kept [default: runs/NAME]",
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="only a look at the ladder, a minute for small networks: short trainings on few "
        "samples, three rounds of timing; decides nothing, writes no bundle",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="name of the run [default: from model and data]"),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="change a key of the recipe, such as effort=0.1"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


def name_missing(**given: object) -> str:
    """Return which of these flags were not given, as a clause."""
    absent = [f"--{name}" for name, value in given.items() if value is None]
    return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing"


def speaking_flags(command: Callable[..., object]) -> AbstractContextManager[None]:
    """Let messages name options as the flags of this command."""
    return speaking("flags", names=inspect.signature(command).parameters)
