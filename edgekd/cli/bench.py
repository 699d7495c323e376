"""`edgekd bench`: how fast, and is it faster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekd.benchmarks.runtimes import RUNTIMES
from edgekd.benchmarks.runtimes.providers import PROVIDERS
from edgekd.errors import RecipeError


def bench(  # noqa: PLR0913  every option of the command is a parameter of this function
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL", help="ONNX files; .pt2 programs")
    ] = None,
    vs: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="compare with this file (default: the first)"),
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="where it is timed (default: local)")
    ] = None,
    threads: Annotated[
        str,
        typer.Option(metavar="N,N", help="threads inside one inference"),
    ] = "1",
    runtime: Annotated[
        str,
        typer.Option(metavar="NAME,NAME", help=", ".join(RUNTIMES)),
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
        typer.Option(metavar="KEY=VALUE", help="of the runtime's session"),
    ] = None,
    streams: Annotated[
        str,
        typer.Option(metavar="N,N", help="inferences at the same time"),
    ] = "1",
    batch: Annotated[
        str,
        typer.Option(metavar="N,N", help="samples in one call"),
    ] = "1",
    feeds: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="real inputs, calls first (default: random)"),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIMS",
            help="of a random input (pixels=1x3x224x224) or free axis (length=64)",
        ),
    ] = None,
    end_to_end: Annotated[
        bool,
        typer.Option("--end-to-end", help="also time the copies in and out apart"),
    ] = False,
    pipeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py",
            help="your inputs(), preprocess(raw), postprocess(outputs): timed end to end",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ", min=0.01, help="a call on this schedule, like a camera's frames"
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(metavar="SHARE", help="stop when every interval is as narrow as +- this"),
    ] = "2%",
    time: Annotated[
        str,
        typer.Option(metavar="TIME", help="or when this is up"),
    ] = "30s",
    rounds: Annotated[
        int,
        typer.Option(metavar="N", min=3, max=100, help="fresh processes per file, at least"),
    ] = 6,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="also show where the time goes, and how far from this machine's limits it is",
        ),
    ] = False,
    trt_profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="show a layer profile that trtexec --exportProfile wrote; times nothing",
        ),
    ] = None,
    trt_layers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="what --exportLayerInfo wrote beside it"),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a page with plots, in one file")
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="NAME", help="keep the session and the files under it")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="time the stored files again beside these; exit code 1 if proven slower",
        ),
    ] = None,
    history: Annotated[Path, typer.Option(metavar="FILE", help="where sessions are kept")] = Path(
        "edgekd-history.sqlite"
    ),
    listed: Annotated[
        bool, typer.Option("--list", help="show what is kept; NAME with --store shows it over time")
    ] = False,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="a suite that ships (cpu, quick), or your own"),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a suite's results as one table")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="-|FILE", help="all numbers, raw seconds too, as JSON")
    ] = None,
) -> None:
    """Time models side by side, and say which is faster and how sure that is.

    All are timed in one session: fresh processes, blocks of calls in random order.

    "Faster" is said only if the 95 % interval, widened by the A/A noise, lies above 1.

    Example: edgekd bench model.int8.onnx --vs model.fp32.onnx

    Example: edgekd bench model.onnx --threads 1,2,4 --runtime onnxruntime,openvino
    """
    from edgekd.cli import bench_modes as modes
    from edgekd.cli.bench_words import free_file, inputs_of, setups_of, timing_of

    out = modes.Out(
        json,
        free_file("--json", json),
        free_file("--html", html),
        free_file("--markdown", markdown),
    )
    if html is not None and (trt_profile or listed):
        raise RecipeError("--html draws what was timed; leave the other modes out")
    if markdown is not None and suite is None:
        raise RecipeError("--markdown is a suite's table; give --suite")
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
            setups=setups_of(runtime, provider, threads, streams, option or []),
            timing=timing_of(
                rate, precision, time, rounds, parts=end_to_end or pipeline is not None
            ),
            inputs=inputs_of(feeds, shape or [], batch, pipeline),
            profile=profile,
            history=history,
            store=store,
        )
        if baseline is None:
            modes.time_files(job, out)
        else:
            modes.time_against(job, baseline, out)
