from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekd.errors import EdgekdError, ModelError
from edgekd.user_code import hash_source, resolve


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf8")


def refusal(spec: str, root: Path) -> str:
    with pytest.raises(ModelError) as caught:
        resolve(spec, root=root)
    return str(caught.value)


def test_a_module_or_a_file_gives_its_function(tmp_path: Path) -> None:
    write(tmp_path / "nets", mine="def net(): return 7")
    assert resolve("edgekd.user_code:resolve", root=tmp_path) is resolve
    assert resolve("nets/mine.py:net", root=tmp_path)() == 7
    assert resolve(f"{tmp_path}/nets/mine.py:net", root=Path("/elsewhere"))() == 7


def test_files_of_one_name_live_side_by_side(tmp_path: Path) -> None:
    text = "import layers\ndef net(): return layers.SIZE"
    write(tmp_path / "a", net=text, layers="SIZE = 1")
    write(tmp_path / "b", net=text, layers="SIZE = 2")
    path = list(sys.path)
    first = resolve("a/net.py:net", root=tmp_path)
    second = resolve("b/net.py:net", root=tmp_path)
    assert (first(), second()) == (1, 2)
    assert sys.path == path


def test_a_file_runs_once_until_it_changes(tmp_path: Path) -> None:
    write(tmp_path, net="class Net: size = 1")
    first = resolve("net.py:Net", root=tmp_path)
    assert resolve("net.py:Net", root=tmp_path) is first
    write(tmp_path, net="class Net: size = 2")
    assert vars(resolve("net.py:Net", root=tmp_path))["size"] == 2


def test_a_dataclass_with_postponed_annotations_can_be_defined(tmp_path: Path) -> None:
    write(
        tmp_path,
        net="from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Net:\n    size: int = 3\n",
    )
    assert resolve("net.py:Net", root=tmp_path)().size == 3


@pytest.mark.parametrize("spec", ["edgekd.models", ":net", "net.py:", ""])
def test_a_spec_without_both_parts_is_refused(spec: str, tmp_path: Path) -> None:
    assert "'path/to/file.py:function'" in refusal(spec, tmp_path)


@pytest.mark.parametrize("changed", ["net.py", "layers.py", "parts/__init__.py", "parts/deep.py"])
def test_the_hash_of_a_file_covers_what_it_imports_from_beside_it(
    changed: str, tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "net.py").write_text("import json\nimport layers\n")
    (tmp_path / "layers.py").write_text("def late():\n    import parts\nimport net\n")
    (tmp_path / "parts" / "__init__.py").write_text("from .deep import x\n")
    (tmp_path / "parts" / "deep.py").write_text("x = 1\n")
    before = hash_source("net.py:build", root=tmp_path)
    (tmp_path / "other.py").write_text("nobody imports this")
    assert hash_source("net.py:build", root=tmp_path) == before
    with (tmp_path / changed).open("a") as file:
        file.write("# changed\n")
    assert hash_source("net.py:build", root=tmp_path) != before
    assert hash_source("package.module:build", root=tmp_path) is None


def test_a_missing_file_is_named_in_full(tmp_path: Path) -> None:
    assert str(tmp_path / "nets/none.py") in refusal("nets/none.py:net", tmp_path)


def test_a_missing_module_says_what_is_not_installed(tmp_path: Path) -> None:
    message = refusal("no_such_package.nets:net", tmp_path)
    assert "'no_such_package' is not installed" in message
    assert "file.py:function" in message
    assert "no module 'edgekd.nonet'" in refusal("edgekd.nonet:net", tmp_path)


def test_a_missing_function_lists_close_and_public_names(tmp_path: Path) -> None:
    write(tmp_path, net="def resnet20(): ...\ndef other(): ...\ndef _hidden(): ...\nsize = 3")
    message = refusal("net.py:resnet21", tmp_path)
    assert "did you mean resnet20" in message
    assert "other, resnet20" in message
    assert "_hidden" not in message
    assert "it is int" in refusal("net.py:size", tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("x = 1\nx / 0\n", 2, "ZeroDivisionError"),
        ("import os\nimport no_such_thing\n", 2, "ModuleNotFoundError: No module named"),
        ("def net(:\n", 1, "SyntaxError"),
        ("import json\n\njson.loads('[')\n", 3, "JSONDecodeError"),  # raised inside a library
        ("import sys\nsys.exit(0)\n", 2, "SystemExit"),
    ],
)
def test_a_failing_import_names_the_users_line(
    text: str, line: int, fault: str, tmp_path: Path
) -> None:
    write(tmp_path, net=text)
    for _ in range(2):  # nothing half-imported stays behind
        message = refusal("net.py:net", tmp_path)
        assert f"{tmp_path / 'net.py'}:{line}" in message
        assert fault in message


def test_an_error_of_our_own_comes_through_unchanged(tmp_path: Path) -> None:
    write(tmp_path, net="from edgekd.errors import DataError\nraise DataError('as it was')")
    with pytest.raises(EdgekdError, match=r"^as it was$"):
        resolve("net.py:net", root=tmp_path)
