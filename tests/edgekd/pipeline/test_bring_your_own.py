"""A stranger's model and data, from flags alone: image folder, trained weights, cut student."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from edgekd.bundle import verify
from edgekd.cli.main import main


@pytest.fixture(scope="module")
def stranger(job: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nets.py, the trained weights as safetensors, and photos/class/name.png."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copy(job / "nets.py", folder)
    stage = next((finished / "stages").glob("teacher-*"))
    state = torch.load(stage / "model.pt", weights_only=True)["state"]
    save_file(dict(state), folder / "trained.safetensors")
    with np.load(job / "bars.npz") as arrays:
        for i, (image, label) in enumerate(zip(arrays["x"], arrays["y"], strict=True)):
            place = folder / "photos" / f"{label}-{('upright', 'flat', 'slanted')[int(label)]}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{i}.png")
    return folder


def test_from_flags_to_a_bundle_that_verifies(
    stranger: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lawful: Callable[[Mapping[str, Any]], None],
) -> None:
    monkeypatch.chdir(stranger)
    flags = {
        "--model": "nets.py:teacher",
        "--weights": "trained.safetensors",
        "--data": "photos",
        "--max-drop": "10",
        "--epochs": "2",
        "--out": "run",
    }
    words = [word for pair in flags.items() for word in pair]
    changes = ["measure.rounds=3", "measure.blocks=2", "measure.block_s=0.005"]
    words += [word for change in changes for word in ("--set", change)]
    monkeypatch.setattr("sys.argv", ["edgekd", "compress", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    assert not stop.value.code, said.err
    content: dict[str, Any] = json.loads((stranger / "run" / "report.json").read_text("utf8"))
    lawful(content)
    assert content["task"]["labels"] == ["0-upright", "1-flat", "2-slanted"]
    teacher, student = content["rungs"][0], content["rungs"][1]
    assert teacher["history"][0]["train"] is None  # loaded, not trained
    own = [rung["evidence"]["files"][0] for rung in (teacher, student)]
    assert own[0]["metrics"]["top-1"]["value"] > 95
    assert own[1]["facts"]["parameters"] < own[0]["facts"]["parameters"]
    stage = next((stranger / "run" / "stages").glob("distill-*"))
    saved = torch.load(stage / "model.pt", weights_only=True)
    assert saved["build"] == "nets.py:teacher"
    assert saved["edits"]
    assert saved["edits"][0]["op"] == "keep"
    assert "teacher fp32" in said.out
    assert verify(stranger / "run" / "bundle").ok
