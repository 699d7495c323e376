"""`edgekd bench`: time models side by side."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekd.cli import bench_options as options
from edgekd.cli import flags
from edgekd.errors import RecipeError
from edgekd.wording import flag


def bench(  # noqa: PLR0913  every option of the command is a parameter of this function
    models: options.Models = None,
    vs: options.Vs = None,
    device: flags.Device = None,
    threads: options.Threads = "1",
    runtime: options.Runtime = "",
    provider: options.Provider = "",
    option: options.Option = None,
    streams: options.Streams = "1",
    batch: options.Batch = "",
    per_sample: options.PerSample = False,
    feeds: options.Feeds = None,
    shape: options.Shape = None,
    end_to_end: options.EndToEnd = False,
    pipeline: options.Pipeline = None,
    rate: options.Rate = None,
    precision: options.Precision = "2%",
    time: options.TimeLimit = "30s",
    rounds: options.Rounds = 6,
    profile: options.Profile = False,
    trt_profile: options.TrtProfile = None,
    trt_layers: options.TrtLayers = None,
    html: options.Html = None,
    store: options.Store = None,
    baseline: options.Baseline = None,
    allow: options.Allow = "",
    allow_size: options.AllowSize = "",
    allow_memory: options.AllowMemory = "",
    allow_drop: options.AllowDrop = None,
    labels: options.Labels = None,
    min_agreement: options.MinAgreement = None,
    unlike_names: options.UnlikeNames = False,
    history: options.History = Path("edgekd-history.sqlite"),
    listed: options.Listed = False,
    suite: options.Suite = None,
    markdown: options.Markdown = None,
    verbose: options.Verbose = False,
    json: options.Json = None,
) -> None:
    """Time models side by side, and report which is faster and how certain that is.

    All are timed in one session: fresh processes, blocks of calls in random order.

    Files that are fed other shapes or batches are compared only with --per-sample.

    "Faster" means that the 95 % interval, widened by the A/A noise floor, is above 1.

    Example: edgekd bench model.int8.onnx --vs model.fp32.onnx

    With --baseline: exit code 0 passed, 1 proven worse, 2 wrong call, 3 could not tell.

    Example: edgekd bench model.onnx --baseline main --allow 3% --allow-size 0%

    Example: edgekd bench model.onnx --threads 1,2,4 --runtime onnxruntime,openvino
    """
    given = _given(locals())
    from edgekd.cli import bench_modes as modes
    from edgekd.cli.bench_flags import (
        check_free_file,
        parse_guard,
        parse_inputs,
        parse_setups,
        parse_timing,
    )

    out = modes.Out(
        json,
        check_free_file("--json", json),
        check_free_file("--html", html),
        check_free_file("--markdown", markdown),
        verbose,
    )
    guard = parse_guard(
        allow,
        allow_size,
        allow_memory,
        allow_drop=allow_drop,
        labels=labels,
        min_agreement=min_agreement,
        unlike_names=unlike_names,
    )
    _refuse_unlike(
        {
            "--html": html is not None and (trt_profile is not None or listed),
            "--markdown": markdown is not None and suite is None,
            "--trt-layers": trt_layers is not None and trt_profile is None,
            "--suite": suite is not None and (bool(models) or vs is not None),
            "--per-sample": per_sample and (suite is not None or baseline is not None),
            "--unlike-names": unlike_names and baseline is None,
            "--allow": guard.limits_anything and baseline is None,
            "--profile": profile and baseline is not None,
        }
    )
    _refuse_unread(given)
    if trt_profile is not None:
        modes.show_trtexec(trt_profile, trt_layers, out)
        return
    if listed:
        modes.show_history(history, store, out)
        return
    if suite is not None:
        modes.run_suite(suite, device, out)
        return
    parts = end_to_end or pipeline is not None
    job = modes.Job(
        files=models or [],
        vs=vs,
        device=device or "local",
        setups=parse_setups(runtime, provider, threads, streams, option or []),
        timing=parse_timing(rate, precision, time, rounds, parts=parts),
        inputs=parse_inputs(feeds, shape or [], batch, pipeline, per_sample=per_sample),
        profile=profile,
        history=history,
        store=store,
    )
    if baseline is None:
        modes.time_files(job, out)
    else:
        modes.time_against(job, baseline, out, guard=guard)


_REFUSALS = {
    "--html": "--html shows what was timed; it does not go with --trt-profile or --list",
    "--markdown": "--markdown writes the table of a suite; give --suite too",
    "--trt-layers": "--trt-layers explains a layer profile; give --trt-profile too",
    "--suite": "got files and --suite; a suite names its own files: give only one",
    "--per-sample": "--per-sample does not go with --suite or --baseline",
    "--unlike-names": "--unlike-names is about the files of a baseline; give --baseline too",
    "--allow": "--allow, --allow-size, --allow-memory, --allow-drop, --labels and --min-agreement "
    "are limits beside a stored baseline; give --baseline NAME too, after --store NAME",
    "--profile": "--profile does not go with --baseline; profile the file alone",
}
_READ = {
    "trt_profile": {"trt_layers", "json"},
    "listed": {"store", "history", "json"},
    "suite": {"device", "html", "markdown", "json"},
}
"""What else is read by the flags that replace the timing of files; --verbose is harmless."""
_FLAGS = {"listed": "--list", "models": "files"}
"""The names of parameters that are not the flag without its dashes."""


def _given(values: Mapping[str, object]) -> list[str]:
    """Return the parameters of the command that have another value than their default."""
    parameters = inspect.signature(bench).parameters
    return [name for name, one in parameters.items() if values[name] not in (one.default, [])]


def _refuse_unread(given: Sequence[str]) -> None:
    """Refuse what a mode that times no files of the caller would pass over in silence.

    Raises:
        RecipeError: something was given that is not read.
    """
    mode = next((name for name in _READ if name in given), None)
    if mode is None:
        return
    unread = [name for name in given if name not in {mode, "verbose", *_READ[mode]}]
    if unread:
        words = " and ".join(_FLAGS.get(name) or flag(name) for name in unread)
        raise RecipeError(
            f"{words} cannot be used with {_FLAGS.get(mode) or flag(mode)}, which ignores "
            f"{'it' if len(unread) == 1 else 'them'}; leave one of the two out"
        )


def _refuse_unlike(found: dict[str, bool]) -> None:
    """Refuse options that do not go together.

    Raises:
        RecipeError: one of them was found.
    """
    for name, is_wrong in found.items():
        if is_wrong:
            raise RecipeError(_REFUSALS[name])
