"""The programs of a bundle run: Python and JavaScript here, C++ as far as a compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import parser

from edgekd.bundle.snippets import (
    _LANGUAGES,
    Port,
    Program,
)
from edgekd.store import cache_folder

Bundles = Callable[[str], Path]
KINDS = ("pixels", "planes", "text", "array")
WEB = Path.home() / ".cache" / "edgekd" / "data" / "onnxruntime-web"
NODE, COMPILER = shutil.which("node"), shutil.which("g++")
STUB = """
// The declarations of onnxruntime_cxx_api.h that the snippets use, by its documentation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>
#define ORT_TSTR(x) x
enum { ORT_LOGGING_LEVEL_WARNING, OrtArenaAllocator, OrtMemTypeDefault };
namespace Ort {
struct Float16_t { uint16_t val; };
struct Env { Env(int, const char*); };
struct SessionOptions {};
struct RunOptions { RunOptions(std::nullptr_t); };
struct MemoryInfo { static MemoryInfo CreateCpu(int, int); };
struct Info { size_t GetElementCount() const; };
struct Value {
  template <typename T>
  static Value CreateTensor(const MemoryInfo&, T*, size_t, const int64_t*, size_t);
  template <typename T> const T* GetTensorData() const;
  Info GetTensorTypeAndShapeInfo() const;
};
struct Session {
  Session(const Env&, const char*, const SessionOptions&);
  std::vector<Value> Run(const RunOptions&, const char* const*, const Value*, size_t,
                         const char* const*, size_t);
};
}
"""


def run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_node(text: str, folder: Path) -> str:
    """Run a snippet in Node with ONNX Runtime for the web, the only change being its import."""
    module = json.dumps((WEB / "ort.wasm.min.mjs").as_uri())
    line = 'import * as ort from "onnxruntime-node";'
    assert line in text
    head = f"import * as ort from {module};\nort.env.wasm.numThreads = 1;"
    (folder / "run.mjs").write_text(text.replace(line, head))
    return run([str(NODE), "run.mjs"], folder)


def compile_cpp(text: str, folder: Path) -> None:
    """Check the program with a compiler, against ONNX Runtime's header if it is installed."""
    (folder / "stub").mkdir(exist_ok=True)
    (folder / "stub" / "onnxruntime_cxx_api.h").write_text(STUB)
    (folder / "cpp.cpp").write_text(text)
    # the folder of the stub is looked at last
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-idirafter", "stub"]
    run([str(COMPILER), *flags, "cpp.cpp"], folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_has_programs_with_its_names(kind: str, bundles: Bundles, tmp_path: Path) -> None:
    bundle = bundles(kind)
    names = {path.name for path in (bundle / "snippets").iterdir()}
    assert names >= {"python.py", "javascript.mjs", "cpp.cpp", "kotlin.kt", "swift.swift"}
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in names:
        text = (bundle / "snippets" / name).read_text()
        for entry in (*manifest["inputs"], *manifest["outputs"]):
            assert json.dumps(entry["name"]) in text
        assert manifest["shipped"]["file"] in text
    for name in ("kotlin.kt", "swift.swift"):
        assert (bundle / "snippets" / name).read_text().startswith("// not compiled by edgekd")
    said = run([sys.executable, "snippets/python.py"], bundle)
    assert all(output["name"] in said for output in manifest["outputs"])
    if COMPILER is not None:
        compile_cpp((bundle / "snippets" / "cpp.cpp").read_text(), tmp_path)


@pytest.mark.skipif(
    NODE is None or not WEB.is_dir(), reason="needs node, edgekd data onnxruntime-web"
)
@pytest.mark.parametrize("kind", KINDS)
def test_javascript_gives_the_outputs(kind: str, copy: Bundles) -> None:
    bundle = copy(kind)
    said = in_node((bundle / "snippets" / "javascript.mjs").read_text(), bundle)
    outputs = json.loads((bundle / "manifest.json").read_text())["outputs"]
    assert all(output["name"] in said for output in outputs)
    assert ("answer" in said) == any(output["kind"] == "classes" for output in outputs)
    assert cache_folder()  # the data lies in the user's cache, not in that of the tests


NASTY = {
    "spaces and quotes": ('in "put" \\ x', "out/put.1"),
    "a dollar": ("$x", "${y}"),
    "not ASCII": ("größe", "出力"),
}


@pytest.mark.parametrize("names", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "bool"])
def test_names_of_any_kind_reach_the_runtime(
    names: tuple[str, str], dtype: str, tmp_path: Path
) -> None:
    element = {"float32": "float"}.get(dtype, dtype)
    text = f'<ir_version: 8, opset_import: ["": 17]> g ({element}[batch,3] a, {element} s) => '
    model = parser.parse_model(
        f"{text} ({element}[batch,3] b, {element} t) {{ b = Identity(a) t = Identity(s) }}"
    )
    model.graph.input[0].name = model.graph.node[0].input[0] = names[0]
    model.graph.output[0].name = model.graph.node[0].output[0] = names[1]
    onnx.save(model, tmp_path / "my model.onnx")
    program = Program(
        file="my model.onnx",
        inputs=[Port(names[0], dtype, (1, 3)), Port("s", dtype, ())],
        outputs=[Port(names[1], dtype, ()), Port("t", dtype, ())],
        classes=names[1],
    )
    made = {name: write(program) for name, write in _LANGUAGES.items()}
    (tmp_path / "python.py").write_text(made["python.py"])
    assert names[1] in run([sys.executable, "python.py"], tmp_path)
    if NODE is not None and WEB.is_dir():
        assert "answer 0" in in_node(made["javascript.mjs"], tmp_path)
    if COMPILER is not None:
        compile_cpp(made["cpp.cpp"], tmp_path)
    if "$" in names[0]:
        assert '"\\$x"' in made["kotlin.kt"]


def test_a_language_without_the_type_has_no_program() -> None:
    half = Program(
        file="m.onnx",
        inputs=[Port("x", "float16", (1, 2))],
        outputs=[Port("y", "float16", ())],
        classes="",
    )
    made = {name: bool(write(half)) for name, write in _LANGUAGES.items()}
    assert made == {
        **{"python.py": True, "javascript.mjs": False, "cpp.cpp": True},
        **{"kotlin.kt": True, "swift.swift": False},
    }
