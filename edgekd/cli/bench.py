"""`edgekd bench`: time models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekd.benchmarks.runtimes import RUNTIMES
from edgekd.benchmarks.runtimes.providers import PROVIDERS
from edgekd.errors import RecipeError


def bench(  # noqa: PLR0913  every option of the command is a parameter of this function
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL", help="ONNX files, or exported PyTorch programs (.pt2)"),
    ] = None,
    vs: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="compare all with this file [default: the first]"),
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="device to measure on [default: local]")
    ] = None,
    threads: Annotated[
        str,
        typer.Option(metavar="N,N", help="threads that one inference uses"),
    ] = "1",
    runtime: Annotated[
        str,
        typer.Option(metavar="NAME,NAME", help=f"runtimes: {', '.join(RUNTIMES)}"),
    ] = "",
    provider: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help=f"execution providers of ONNX Runtime: {', '.join(PROVIDERS)}",
        ),
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="session option of the runtime"),
    ] = None,
    streams: Annotated[
        str,
        typer.Option(metavar="N,N", help="inferences that run at the same time"),
    ] = "1",
    batch: Annotated[
        str,
        typer.Option(
            metavar="N,N", help="samples per call [default: 1, or what one of the files fixes]"
        ),
    ] = "",
    per_sample: Annotated[
        bool,
        typer.Option(
            "--per-sample", help="compare the time of one sample, also of inputs of other shapes"
        ),
    ] = False,
    feeds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="real inputs, first axis = calls [default: random inputs]"
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIMS",
            help="shape of a random input (pixels=1x3x224x224), or size of a free axis (length=64)",
        ),
    ] = None,
    end_to_end: Annotated[
        bool,
        typer.Option("--end-to-end", help="also time copying inputs and outputs, separately"),
    ] = False,
    pipeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py",
            help="file with inputs(), preprocess(raw), postprocess(outputs), to time end to end",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            min=0.01,
            help="calls per second at a fixed rate, like the frames of a camera",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(metavar="SHARE", help="stop when all 95 % intervals are within +- this"),
    ] = "2%",
    time: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="stop after this much time, even if the precision is not reached"
        ),
    ] = "30s",
    rounds: Annotated[
        int,
        typer.Option(metavar="N", min=3, max=100, help="least number of fresh processes per file"),
    ] = 6,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="also show the time per operator, compared with the limits of this machine",
        ),
    ] = False,
    trt_profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="show the layer profile of trtexec --exportProfile, without timing anything",
        ),
    ] = None,
    trt_layers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="layer information of trtexec --exportLayerInfo, for --trt-profile"
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write a page with plots, as one HTML file")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="store the session and the files under this name"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="compare with the files stored under this name; exit code 1 if proven slower",
        ),
    ] = None,
    history: Annotated[
        Path, typer.Option(metavar="FILE", help="file of the stored sessions")
    ] = Path("edgekd-history.sqlite"),
    listed: Annotated[
        bool,
        typer.Option(
            "--list", help="list the stored sessions; with --store NAME, show that one over time"
        ),
    ] = False,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="run a suite: cpu, quick, or a file of yours"),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the results of a suite as one table")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="-|FILE", help="write all numbers as JSON, raw times included"),
    ] = None,
) -> None:
    """Time models side by side, and report which is faster and how certain that is.

    All are timed in one session: fresh processes, blocks of calls in random order.

    Files that are fed other shapes or batches are compared only with --per-sample.

    "Faster" means that the 95 % interval, widened by the A/A noise floor, is above 1.

    Example: edgekd bench model.int8.onnx --vs model.fp32.onnx

    Example: edgekd bench model.onnx --threads 1,2,4 --runtime onnxruntime,openvino
    """
    from edgekd.cli import bench_modes as modes
    from edgekd.cli.bench_flags import check_free_file, parse_inputs, parse_setups, parse_timing

    out = modes.Out(
        json,
        check_free_file("--json", json),
        check_free_file("--html", html),
        check_free_file("--markdown", markdown),
    )
    if html is not None and (trt_profile or listed):
        raise RecipeError(
            "--html shows what was timed; it does not go with --trt-profile or --list"
        )
    if markdown is not None and suite is None:
        raise RecipeError("--markdown writes the table of a suite; give --suite too")
    if trt_layers is not None and trt_profile is None:
        raise RecipeError("--trt-layers explains a layer profile; give --trt-profile too")
    if suite is not None and (models or vs is not None):
        raise RecipeError("got files and --suite; a suite names its own files: give only one")
    if per_sample and (suite is not None or baseline is not None):
        raise RecipeError("--per-sample does not go with --suite or --baseline")
    if trt_profile is not None:
        modes.show_trtexec(trt_profile, trt_layers, out)
    elif listed:
        modes.show_history(history, store, out)
    elif suite is not None:
        modes.run_suite(suite, on, out)
    else:
        job = modes.Job(
            files=models or [],
            vs=vs,
            device=on or "local",
            setups=parse_setups(runtime, provider, threads, streams, option or []),
            timing=parse_timing(
                rate, precision, time, rounds, parts=end_to_end or pipeline is not None
            ),
            inputs=parse_inputs(feeds, shape or [], batch, pipeline, per_sample=per_sample),
            profile=profile,
            history=history,
            store=store,
        )
        if baseline is None:
            modes.time_files(job, out)
        else:
            modes.time_against(job, baseline, out)
