"""The default command on networks of texts by strangers: a bundle each, without any option."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign import texts
from tests.foreign.test_default_command import SHORT, check, run_command

FLAGS: dict[str, list[str]] = {
    "bags": [],
    "packed": [],
    "encoder": [],
    "convolutions": ["--tokenizer", f"{texts.__file__}:characters", "--max-length", "60"],
}


def write_table(folder: Path) -> None:
    """Write texts of unlike length in several scripts; a word tells the class."""
    said = ["it was good", "so bad", "okay 😀, fine!"]
    more = ["", " the film", " we saw it on friday with all of them", " я думаю", " 我爱电影", "?!"]
    rows = [f'"{said[i % 3]}{more[i % 6]}{more[i // 6 % 6]}",{"abc"[i % 3]}' for i in range(240)]
    (folder / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf8")


def run_on_texts(name: str, folder: Path, changes: list[str]) -> None:
    """Run the command, and ask the bundle's loader about a sentence."""
    folder.mkdir()
    write_table(folder)
    model = ["--model", f"{texts.__file__}:{name}", "--data", "texts.csv", *FLAGS[name]]
    check(run_command(name, folder, model, changes))
    bundle = folder / "run" / "bundle"
    inputs = json.loads((bundle / "manifest.json").read_text(encoding="utf8"))["inputs"]
    assert {entry["dtype"] for entry in inputs} == {"int64"}
    if name != "convolutions":  # its tokenizer is a function, which does not ship
        said = subprocess.run(
            [sys.executable, "load.py", "so good 😀", ""],
            cwd=bundle,
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(said.stdout.splitlines()) == 2


@pytest.mark.foreign
def test_a_network_of_texts_ends_with_a_bundle_that_takes_sentences(tmp_path: Path) -> None:
    run_on_texts("bags", tmp_path / "bags", SHORT)


@pytest.mark.foreign
@pytest.mark.parametrize("name", FLAGS)
def test_the_default_command_on_networks_of_texts(name: str, tmp_path: Path) -> None:
    run_on_texts(name, tmp_path / name, [])
