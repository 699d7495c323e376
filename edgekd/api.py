"""The commands as functions, for scripts and notebooks. Heavy imports wait for the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.errors import RecipeError
from edgekd.progress import Silent, track_share
from edgekd.store import locate

if TYPE_CHECKING:
    from edgekd.benchmarks.result import BenchResult
    from edgekd.bundle import VerifyReport
    from edgekd.pipeline.compress import Result
    from edgekd.progress import Progress
    from edgekd.recipe.recipe import Recipe


def load_recipe(recipe: str | Path, *, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one that ships by its name.

    Args:
        recipe: a path, or "mnist".
        changes: texts such as "effort=0.1" or "budget.max_drop=2" that win over the file.

    Raises:
        RecipeError: every fault found, in one paragraph.
    """
    from edgekd.recipe.recipe import load_recipe as load

    return load(locate(recipe), changes=changes)


def compress(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    root: str | Path | None = None,
    changes: Sequence[str] = (),
    progress: Progress | bool = True,
) -> Result:
    """Compress a trained model end to end, as `edgekd compress` does; a stopped run is resumed.

    Args:
        recipe: a recipe file, the name of one that ships, its table, or a loaded one.
        out: the run folder; default: runs/NAME below the current folder.
        root: where the recipe's relative paths start; default: the folder of its file, or the
            current one.
        changes: texts such as "effort=0.1" that change keys of a file or table.
        progress: show bars or lines on stderr, or your own listener.

    Raises:
        BadInput: recipe, data or model is wrong; nothing is half-written.
        JobFailed: a process under test crashed.

    Example:
        >>> result = edgekd.compress("mnist", changes=["effort=0.1"])  # doctest: +SKIP
    """
    from edgekd.pipeline.compress import compress as work
    from edgekd.pipeline.one_file import write_file
    from edgekd.recipe.overrides import changed
    from edgekd.recipe.recipe import Recipe, find_root, parse_recipe

    if isinstance(recipe, Recipe):
        if changes:
            raise RecipeError(
                "changes cannot be made to a loaded Recipe; give them to load_recipe, or use "
                "recipe.model_copy(update={...})"
            )
        loaded, base = recipe, Path.cwd()
    elif isinstance(recipe, Mapping):
        loaded = parse_recipe(changed(recipe, changes), origin="the recipe")
        base = Path.cwd()
    else:
        loaded, base = load_recipe(recipe, changes=changes), find_root(locate(recipe))
    folder = locate(out) if out is not None else Path("runs") / loaded.name
    start = locate(root) if root is not None else base
    listener, command = _listener(progress), f"edgekd.compress({loaded.name!r})"
    if folder.suffix == ".onnx":
        return write_file(loaded, folder, root=start, progress=listener, command=command)
    return work(loaded, root=start, out=folder, progress=listener, command=command)


def quantize(
    model: str | Path,
    *,
    data: str | Path,
    out: str | Path | None = None,
    samples: int | None = None,
    max_drop: float | None = None,
    min_snr: float | None = None,
    min_agreement: float | None = None,
    progress: Progress | bool = True,
) -> Result:
    """Quantize an ONNX file to INT8, kept only if it is faster here and as good. Needs no torch.

    Without labels the file's own outputs are the reference: `min_snr` or `min_agreement` then
    takes the place of `max_drop`.

    Args:
        model: a float32 ONNX file.
        data: a folder of images, an .npz or .npy, a table, a known name, or "file.py:function".
        out: the run folder, or a file NAME.onnx, which is written if it is kept; default:
            runs/MODEL-DATA.
        samples: for calibration; default 256.
        max_drop: largest loss, in points; default 1.
        min_snr: least signal-to-noise of each output, in dB; labels are then not read; default
            without labels: 20.
        min_agreement: least share of samples whose class stays, in percent; likewise.
        progress: show bars or lines on stderr, or your own listener.

    Raises:
        BadInput: model or data is wrong.
        JobFailed: a process under test crashed.
    """
    from edgekd.recipe.from_flags import make_recipe_table

    table = make_recipe_table(
        model=str(model),
        data=str(data),
        samples=samples,
        max_drop=max_drop,
        min_snr=min_snr,
        min_agreement=min_agreement,
    )
    return compress(table, out=out, progress=progress)


def benchmark(
    *files: str | Path,
    vs: str | Path | None = None,
    device: str = "local",
    threads: int | Sequence[int] = 1,
    runtimes: Sequence[str] = ("onnxruntime",),
    precision: float | None = 0.02,
    time_limit_s: float = 30.0,
    feeds: str | Path | None = None,
    progress: Progress | bool = True,
) -> BenchResult:
    """Time ONNX files side by side, in one session: which is faster, and how sure is that.

    Args:
        *files: at least one.
        vs: what they are compared with; default: the first of several.
        device: where.
        threads: inside one inference; several are compared.
        runtimes: such as "onnxruntime" and "openvino"; each file is run by each that takes it.
        precision: stop when all 95 % intervals are within +- this share; None: after 6 rounds.
        time_limit_s: or when this is up.
        feeds: an .npz of real inputs, calls first; default: random.
        progress: show a bar or lines on stderr, or your own listener.

    Raises:
        BadInput: a file cannot be used, or the feeds do not fit.
        MeasureError: a file could not be run.
    """
    from edgekd.benchmarks.bench import Inputs, bench
    from edgekd.benchmarks.measurement import Setup, Timing
    from edgekd.devices import open_device

    timing = Timing(precision=precision, time_limit_s=time_limit_s)
    counts = [threads] if isinstance(threads, int) else threads
    setups = [Setup(runtime=name, threads=count) for name in runtimes for count in counts]
    given = Inputs(None if feeds is None else locate(feeds))
    with track_share(_listener(progress) or Silent(), "bench") as share:
        return bench(
            [locate(file) for file in files],
            device=open_device(device),
            vs=None if vs is None else locate(vs),
            setups=setups,
            timing=timing,
            inputs=given,
            progress=share,
        )


def verify(bundle: str | Path, *, device: str = "local", latency: bool = False) -> VerifyReport:
    """Check every byte of a bundle and the outputs of every model in it.

    Args:
        bundle: its folder.
        device: device to run its files on.
        latency: also time them again.

    Raises:
        BadInput: it is not a readable bundle. Failed checks are in the report.
    """
    from edgekd.bundle import verify as work

    return work(locate(bundle), device=device, latency=latency)


def _listener(progress: Progress | bool) -> Progress | None:
    if progress is True:
        from edgekd.cli.terminal import Terminal

        return Terminal()
    return None if progress is False else progress
