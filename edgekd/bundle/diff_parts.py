"""The parts of a comparison of two bundles: a bundle that was opened, a line of the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekd.benchmarks.stats import Estimate
from edgekd.bundle.manifest import MANIFEST, Manifest, read_manifest
from edgekd.bundle.sums import SUMS, check_sums
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.errors import BadInput, one_line
from edgekd.evaluation.formatting import quality
from edgekd.exporters.onnx_files import load_onnx

_MOST_LABELS = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was compared."""

    what: str
    old: str
    new: str
    change: str
    regression: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    """The same as numbers, for programs."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two bundles beside each other."""

    old: str
    new: str
    lines: tuple[Line, ...]

    @property
    def regressions(self) -> tuple[Line, ...]:
        """What got worse."""
        return tuple(line for line in self.lines if line.regression)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"regression": bool(self.regressions), **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two bundles."""

    folder: Path
    manifest: Manifest
    preprocess: Preprocess
    labels: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The file that ships."""
        return self.folder / self.manifest.shipped.file


@dataclass(frozen=True, kw_only=True)
class OnData:
    """Samples on which answers are compared."""

    data: str
    """As `--data` of the other commands takes it."""
    task: str | None = None
    """None: that of the older bundle's recipe."""
    root: Path = field(default_factory=Path.cwd)
    """Relative paths start here."""


def open_side(folder: Path) -> Side:
    """Open a bundle and check every byte of it.

    Raises:
        BadInput: it is not one, or is damaged.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; give the folder `bundle` of a run, or a copy")
    if not any((folder / name).is_file() for name in (SUMS, MANIFEST)):
        inside = folder / "bundle"
        hint = f"it contains {inside}, which is" if inside.is_dir() else "give `bundle` of a run"
        raise BadInput(f"{folder} is not a bundle: it has no {MANIFEST}; {hint}")
    _, faults, _ = check_sums(folder)
    if faults:
        shown = "; ".join(fault.text for fault in faults[:3])
        raise BadInput(
            f"the bundle {folder} is damaged ({shown}), so its answers mean nothing; "
            f"{faults[0].advice}"
        )
    manifest = read_manifest(folder)
    load_onnx(folder / manifest.shipped.file)  # refuses what reaches out of the bundle
    return Side(
        folder=folder,
        manifest=manifest,
        preprocess=read_preprocess(folder),
        labels=_labels(folder, manifest),
    )


def _labels(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    if manifest.labels is None:
        return ()
    path = folder / manifest.labels
    try:
        if path.stat().st_size > _MOST_LABELS:
            raise ValueError(f"more than {_MOST_LABELS:,} bytes")
        content = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} cannot be read ({one_line(error)}); copy the bundle again"
        ) from error
    if not isinstance(content, list):
        raise BadInput(f"{path} is not a list of labels; copy the bundle again")
    return tuple(map(str, content))


def gain_line(what: str, old: Estimate, new: Estimate, gain: Estimate, unit: str) -> Line:
    """Return one metric on labelled data; `gain` is paired by sample, positive is better."""
    return Line(
        what=what,
        old=quality(old),
        new=quality(new),
        change=f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] {unit}".rstrip(),
        regression=gain.high < 0,
        values={"old": asdict(old), "new": asdict(new), "gain": asdict(gain)},
    )
