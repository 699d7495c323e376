"""The ladders of finished runs as one small table, with the spread over seeds.

    python -m edgekd.benchmarks.trials.ladders runs/mnist runs/mnist-1 runs/mnist-2 --json FILE

reads `report.json` of each run and prints a Markdown table. Runs must be of one recipe and may
differ in seed. Quality is that of the test split; sizes and speeds come from each run's last
session, those of a preview from its stage's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekd.errors import BadInput
from edgekd.evaluation.evidence import FileEvidence
from edgekd.evaluation.record import Record, read_record
from edgekd.evaluation.results import Finalist, Tested
from edgekd.store import write_json


@dataclass(frozen=True)
class Row:
    """One file of the ladder over all runs; lists have one entry a run."""

    title: str
    label: str
    size_bytes: list[int]
    quality: list[float]
    gain: list[float]
    latency_s: list[float]
    speedup: list[tuple[float, float, float]]
    """(value, low, high) against the teacher's FP32 file of the same run."""


def read(runs: Sequence[Path]) -> list[Record]:
    """Return the records of finished runs of one recipe.

    Raises:
        BadInput: one is not finished, or they are of several recipes.
    """
    records = [read_record(run) for run in runs]
    names = {record.name for record in records}
    if len(names) != 1:
        raise BadInput(f"the runs are of several recipes ({', '.join(sorted(names))}); take one")
    return records


def rows(records: Sequence[Record]) -> list[Row]:
    """Return the files that every run tested, in the order of the ladder."""
    tested = [{(t.title, t.label): t for t in record.test.files} for record in records]
    shared = [key for key in tested[0] if all(key in other for other in tested)]
    return [_row(key, records, [t[key] for t in tested]) for key in shared]


def _row(key: tuple[str, str], records: Sequence[Record], tested: Sequence[Tested]) -> Row:
    metric = records[0].metric.name
    files = [_file(record, key) for record in records]
    speeds = [file.speedup for file in files if file.speedup]
    return Row(
        *key,
        size_bytes=[size_bytes(file) for file in files],
        quality=[t.metrics[metric].value for t in tested],
        gain=[t.gain.value for t in tested],
        latency_s=[file.latency_s.value for file in files if file.latency_s],
        speedup=[(s.value, s.low, s.high) for s in speeds],
    )


def size_bytes(file: Finalist | FileEvidence) -> int:
    """Return the size of a file, however it was measured."""
    return file.size_bytes if isinstance(file, Finalist) else file.facts.size_bytes


def _file(record: Record, key: tuple[str, str]) -> Finalist | FileEvidence:
    """Return a file's size and speed: from the last session, a preview's from its stage's."""
    for file in record.final.files:
        if (file.title, file.label) == key:
            return file
    rung = next(rung for rung in record.rungs if rung.title == key[0])
    return next(file for file in rung.files if file.label == key[1])


def table(found: Sequence[Row], *, unit: str) -> str:
    """Return the rows as Markdown; the smaller is the teacher's size divided by the file's."""
    base = statistics.mean(found[0].size_bytes)
    lines = [
        f"| file | test, {unit} | since the teacher | size | smaller | latency | faster |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found:
        mean_size = statistics.mean(row.size_bytes)
        latency = f"{statistics.median(row.latency_s) * 1e6:,.0f} µs" if row.latency_s else ""
        lines.append(
            f"| {row.title} {row.label} | {_spread(row.quality)} | {_spread(row.gain, sign='+')} "
            f"| {mean_size / 1e3:,.0f} kB | {base / mean_size:.1f}x | {latency} "
            f"| {_speed(row.speedup)} |"
        )
    return "\n".join(lines)


def _spread(values: Sequence[float], *, sign: str = "") -> str:
    mean = f"{statistics.mean(values):{sign}.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _speed(speedups: Sequence[tuple[float, float, float]]) -> str:
    if not speedups:
        return ""
    middle = statistics.median(s[0] for s in speedups)
    return f"{middle:.1f}x [{min(s[1] for s in speedups):.1f}, {max(s[2] for s in speedups):.1f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and, where asked, write the figures."""
    parser = argparse.ArgumentParser(description="the ladders of finished runs as one table")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args(arguments)
    records = read(given.runs)
    found = rows(records)
    sys.stdout.write(table(found, unit=records[0].metric.name) + "\n")
    if given.json is not None:
        content = {
            "name": records[0].name,
            "commands": [record.command for record in records],
            "conditions": asdict(records[0].final.conditions),
            "versions": dict(records[0].versions),
            "rows": [asdict(row) for row in found],
        }
        given.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(given.json, content)


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"error: {error}")
