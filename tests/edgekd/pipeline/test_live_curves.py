"""Curves while a training goes on: a page that makes no request, and event files."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from edgekd.evaluation.spent_time import TimeLog
from edgekd.pipeline.compress import compress
from edgekd.pipeline.live_curves import LiveCurves
from edgekd.pipeline.tensorboard import crc32c, make_event, make_record
from edgekd.recipe.recipe import load_recipe


def test_checksums_are_those_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4
    assert crc32c(b"") == 0


def test_a_record_by_hand() -> None:
    data = make_event(1.5, 300, {"loss": 0.5})
    wanted = (
        b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f"  # 1: time 1.5
        b"\x10\xac\x02"  # 2: step 300
        b"\x2a\x0d\x0a\x0b"  # 5: summary of 13 bytes, in it 1: a value of 11
        b"\x0a\x04loss"  # 1: its name
        b"\x15\x00\x00\x00\x3f"  # 2: 0.5
    )
    assert data == wanted
    record = make_record(data)
    length = record[:8]
    assert struct.unpack("<Q", length) == (len(data),)
    assert record[12:-4] == data
    crc = crc32c(length)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert struct.unpack("<I", record[8:12]) == (masked,)


def count_records(path: Path) -> int:
    data, count = path.read_bytes(), 0
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert data[: length + 16] == make_record(data[12 : 12 + length])
        data, count = data[length + 16 :], count + 1
    return count


def test_the_page_and_the_events_grow_by_epochs(tmp_path: Path) -> None:
    log = TimeLog(tmp_path)
    for resumed in (False, True):
        live = LiveCurves("bars", tmp_path, log, tensorboard=True)
        log.stage = "prune 2"
        loss, hard = [3.0, 2.0, 1.5], [None, 2.5, 2.0]
        for epoch in (1, 2, 3)[resumed:]:
            live("prune, recover", {"loss": loss[:epoch], "hard": hard[:epoch]})
            page = (tmp_path / "training.html").read_text()
            assert page.count("<svg") == (1 if epoch == 1 else 2)
            assert f"{epoch} epoch" in page
            assert 'http-equiv="refresh"' in page
        live.close()
        page = (tmp_path / "training.html").read_text()
        assert 'http-equiv="refresh"' not in page
        assert not re.search(r"https?://(?!www\.w3\.org)|<script|src=", page)
        (events,) = (tmp_path / "tensorboard" / "prune-2").iterdir()
        assert count_records(events) == 4  # the head, then one an epoch


def test_a_run_that_trains_nothing_has_no_page(tmp_path: Path) -> None:
    LiveCurves("bars", tmp_path, TimeLog(tmp_path), tensorboard=True).close()
    assert not list(tmp_path.iterdir())


def test_a_recipe_with_every_option_of_a_training_runs_through_export(
    job: Path, tmp_path: Path
) -> None:
    augment = (
        "{ resized_crop = 0.6, crop = 2, flip = true, jitter = { hue = 0.1 }, cutout = 4, "
        "trivial_augment = true, mixup = 0.2, cutmix = 1.0 }"
    )
    changes = [
        "steps=[]",
        f"data.augment={augment}",
        "model.train={ epochs = 4, batch_size = 32, ema = 0.9, patience = 3, clip_norm = 1.0 }",
        "tensorboard=true",
        "allow_poor_teacher=true",
    ]
    recipe = load_recipe(job / "bars.toml", changes=changes)
    result = compress(recipe, root=job, out=tmp_path / "run")
    (teacher,) = result.record.rungs
    assert len(teacher.losses) == len(teacher.curves["validation top-1"]) <= 4
    assert [line.partition(":")[0] for line in teacher.learned] == ["ema", "early stopping"]
    page = (result.folder / "training.html").read_text()
    assert page.count("<svg") == 3  # the loss, validation, the learning rate
    assert list((result.folder / "tensorboard" / "teacher").glob("events.out.tfevents.*"))
    drawn = result.report.read_text(encoding="utf8")
    assert "teacher: training loss" in drawn
    assert "teacher: validation top-1" in drawn
    assert (result.bundle / "model.fp32.onnx").exists()
