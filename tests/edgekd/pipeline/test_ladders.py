"""Ladders over several runs: figures are those of the records, the spread is over the runs."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import pytest

from edgekd.benchmarks.trials.ladders import main, read, rows, table
from edgekd.errors import BadInput, RunFolderError


def test_rows_repeat_the_records(finished: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    record = json.loads((other / "report.json").read_text(encoding="utf8"))
    for tested in record["test"]["files"]:
        tested["metrics"]["top-1"]["value"] -= 2.0
    (other / "report.json").write_text(json.dumps(record))
    found = rows(read([finished, other]))
    assert [row.title for row in found][:2] == ["teacher", "teacher"]
    assert {row.title for row in found} == {
        r["title"] for r in record["rungs"] if r["outcome"] == "kept"
    }
    teacher = found[0]
    assert teacher.quality[0] - teacher.quality[1] == pytest.approx(2.0)
    assert teacher.speedup == []
    assert [len(row.speedup) for row in found[1:]] == [2] * (len(found) - 1)
    printed = table(found, unit="top-1")
    spread = statistics.stdev(teacher.quality)
    assert f"| teacher fp32 | {statistics.mean(teacher.quality):.2f} ± {spread:.2f} |" in printed


def test_the_command_writes_what_it_prints(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ladder.json"
    main([str(finished), "--json", str(out)])
    content = json.loads(out.read_text(encoding="utf8"))
    assert content["name"] == "bars"
    assert content["commands"] == ["edgekd compress bars.toml"]
    assert capsys.readouterr().out.count("\n") == len(content["rows"]) + 2


def test_runs_that_cannot_be_set_side_by_side(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is finished by its"):
        read([tmp_path])
    record = json.loads((finished / "report.json").read_text(encoding="utf8"))
    (tmp_path / "report.json").write_text(json.dumps({**record, "name": "other"}))
    with pytest.raises(BadInput, match="several recipes"):
        read([finished, tmp_path])
