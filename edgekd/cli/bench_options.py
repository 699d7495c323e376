"""The options of `edgekd bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekd.benchmarks.runtimes import RUNTIMES
from edgekd.benchmarks.runtimes.providers import PROVIDERS

Models = Annotated[
    list[Path] | None,
    typer.Argument(metavar="MODEL", help="ONNX files, or exported PyTorch programs (.pt2)"),
]
Vs = Annotated[
    Path | None,
    typer.Option(metavar="OTHER", help="compare all with this file [default: the first]"),
]
Threads = Annotated[
    str,
    typer.Option(metavar="N,N", help="threads that one inference uses"),
]
Runtime = Annotated[
    str,
    typer.Option(metavar="NAME,NAME", help=f"runtimes: {', '.join(RUNTIMES)}"),
]
Provider = Annotated[
    str,
    typer.Option(
        metavar="NAME,NAME",
        help=f"execution providers of ONNX Runtime: {', '.join(PROVIDERS)}",
    ),
]
Option = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="session option of the runtime"),
]
Streams = Annotated[
    str,
    typer.Option(metavar="N,N", help="inferences that run at the same time"),
]
Batch = Annotated[
    str,
    typer.Option(
        metavar="N,N", help="samples per call [default: 1, or what one of the files fixes]"
    ),
]
PerSample = Annotated[
    bool,
    typer.Option(
        "--per-sample",
        help="compare the time of one sample, even if input shapes or batches differ",
    ),
]
Feeds = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npz", help="real inputs, first axis = calls [default: random inputs]"
    ),
]
Shape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=DIMS",
        help="shape of a random input (pixels=1x3x224x224), or size of a free axis (length=64)",
    ),
]
EndToEnd = Annotated[
    bool,
    typer.Option("--end-to-end", help="also time copying inputs and outputs, separately"),
]
Pipeline = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.py",
        help="file with inputs(), preprocess(raw), postprocess(outputs), to time end to end",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        metavar="HZ",
        help="calls per second at a fixed rate, like the frames of a camera",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="SHARE", help="stop when all 95 % intervals are within this share of their value"
    ),
]
TimeLimit = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="stop after this much time, even if the precision is not reached"
    ),
]
Rounds = Annotated[
    int,
    typer.Option(metavar="N", help="least number of fresh processes per file"),
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="also show the time per operator, compared with the limits of this machine",
    ),
]
TrtProfile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="show the layer profile of trtexec --exportProfile, without timing anything",
    ),
]
TrtLayers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="layer information of trtexec --exportLayerInfo, for --trt-profile"
    ),
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="write a page with plots, as one HTML file")
]
Store = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="store the session and the files under this name"),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="compare with the files stored under this name; exit code 1 if one is proven worse, "
        "3 if it could not be told",
    ),
]
History = Annotated[Path, typer.Option(metavar="FILE", help="file of the stored sessions")]
Listed = Annotated[
    bool,
    typer.Option(
        "--list", help="list the stored sessions; with --store NAME, show that one over time"
    ),
]
Suite = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="run a suite: cpu, quick, or a file of yours"),
]
Markdown = Annotated[
    Path | None, typer.Option(metavar="FILE", help="write the results of a suite as one table")
]
Json = Annotated[
    str | None,
    typer.Option(metavar="-|FILE", help="write all numbers as JSON, raw times included"),
]
Allow = Annotated[
    str,
    typer.Option(
        metavar="PERCENT",
        help="how much slower than the baseline it may be, such as 3% [default: not proven slower]",
    ),
]
AllowSize = Annotated[
    str, typer.Option(metavar="PERCENT", help="how much larger than the baseline it may be")
]
AllowMemory = Annotated[
    str,
    typer.Option(metavar="PERCENT", help="how much more memory than the baseline it may take"),
]
AllowDrop = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        min=0,
        max=100,
        help="points of accuracy below the baseline, on --feeds with --labels",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npy", help="the class number of each sample of --feeds"),
]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        metavar="PERCENT",
        min=0,
        max=100,
        help="least share of the samples of --feeds with the class that the baseline gives",
    ),
]
UnlikeNames = Annotated[
    bool,
    typer.Option(
        "--unlike-names", help="compare with stored files of other names, in the order given"
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", help="also show how it was measured, and every event"),
]
