"""What an app answers to picture files is what was judged: the same pixels, the same classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.trials.app import in_python
from edgekd.benchmarks.trials.photographs import FORMS, draw, list_photographs, save
from edgekd.bundle.write import Contents, write
from edgekd.data.preprocess import ImagePreprocess, read_preprocess, write_preprocess
from edgekd.data.source import Source, open_source
from edgekd.exporters.ort_session import predictor

LABELS = ("cat", "dog", "a | b")


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_the_loader_answers_to_files_as_the_judged_pixels_do(
    make_stage: Callable[[Path, str], Contents],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resize: str,
) -> None:
    """Each kind of file twice: on its side, grey, CMYK, palette, transparent, 16 bits, WebP."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    photographs = tmp_path / "photographs"
    for number, form in enumerate(FORMS * 2):
        (photographs / "x").mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(number)
        save(draw("ellipse", generator), photographs / "x" / f"{number:02}", form)
    spec = Source.model_validate({"path": str(photographs), "size": [8, 6], "resize": resize})
    dataset = open_source(spec, root=tmp_path)
    contents = make_stage(tmp_path / "stage", "pixels")
    before = read_preprocess(contents.artifact)
    assert isinstance(before, ImagePreprocess)
    write_preprocess(contents.artifact, before.model_copy(update={"picture": dataset.form}))
    write(tmp_path / "bundle", contents)
    files, _ = list_photographs(photographs)
    for model in ("model.fp32.onnx", "model.int8.onnx"):
        logits = predictor(tmp_path / "bundle" / model)({"image": dataset.samples["image"]})
        wanted = [LABELS[i] for i in logits["logits"].argmax(axis=1)]
        assert len(set(wanted)) > 1
        assert in_python(tmp_path / "bundle", model, files) == wanted
