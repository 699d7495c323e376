"""The loaders of a bundle: from a file to the named answer, with as little else as possible.

`load.py` is put together from modules of edgekd, so that an app does what training did:
`data/pictures.py` is in it as it stands. The other parts are `app_*.py`, which are written to be
read in a bundle. `load.mjs` does the same arithmetic in JavaScript, from the parts `app_*.mjs`.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess, Preprocess
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.data.tokenizers import TokenizerPreprocess

LOADER, JAVASCRIPT = "load.py", "load.mjs"
_HERE = Path(__file__).parent
_PICTURES = (
    _HERE / "app_files.py",
    _HERE.parent / "data" / "pictures.py",
    _HERE / "app_pictures.py",
)
_ARRAYS = (_HERE / "app_files.py", _HERE / "app_arrays.py")
_TEXTS = (_HERE / "app_files.py", _HERE / "app_texts.py")
_IN_JAVASCRIPT = {ImagePreprocess: "app_pictures.mjs", ArrayPreprocess: "app_arrays.mjs"}
_HEAD = f'''\
"""Run the model of this bundle: `python {LOADER} FILE ...` prints the answer for each {{what}}.

Without files it goes from the golden files to the answers, and prints how far it is from the stored
tensors and outputs. An argument that ends in .onnx is another of the bundle's models than the one
that ships. It needs {{needs}}.
{{rules}}"""
'''


def _in_python(preprocess: Preprocess) -> str | None:
    """Return the text of the loader; None where a function of the user makes the inputs."""
    if isinstance(preprocess, ImagePreprocess):
        return _assemble(_PICTURES, what="picture", needs="numpy, onnxruntime and Pillow")
    if isinstance(preprocess, ArrayPreprocess):
        return _assemble(_ARRAYS, what=".npy or .npz file", needs="numpy and onnxruntime")
    if isinstance(preprocess, TextPreprocess):
        return _assemble(_TEXTS, what="text", needs="numpy and onnxruntime")
    if isinstance(preprocess, TokenizerPreprocess):
        return _assemble(_TEXTS, what="text", needs="numpy, onnxruntime and tokenizers")
    return None


def make_loaders(preprocess: Preprocess) -> dict[str, str]:
    """Return file name -> text of every loader: Python; for pictures and arrays JavaScript too."""
    python = _in_python(preprocess)
    found = {} if python is None else {LOADER: python}
    if part := _IN_JAVASCRIPT.get(type(preprocess)):
        parts = [(_HERE / name).read_text(encoding="utf8") for name in (part, "app_answer.mjs")]
        found[JAVASCRIPT] = "\n".join(parts)
    return found


@cache
def _assemble(parts: Sequence[Path], *, what: str, needs: str) -> str:
    """Join modules into one: their imports first, those of edgekd left out, then their code."""
    imports, bodies, rules = set[str](), list[str](), ""
    names: dict[str, set[str]] = {}
    for path in (*parts, _HERE / "app_answer.py"):
        text = path.read_text(encoding="utf8")
        lines, tree = text.splitlines(keepends=True), ast.parse(text)
        start = 0
        for node in tree.body:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            start = node.end_lineno or 0
            if "edgekd" in (line := ast.unparse(node)):
                continue
            if isinstance(node, ast.Import):
                imports.add(line)
            else:  # parts may take different names of a module
                taken = names.setdefault(node.module or "", set())
                taken |= {ast.unparse(alias) for alias in node.names}
        bodies.append("".join(lines[start:]).strip("\n"))
        if path.parent != _HERE:
            rules = "\n" + (ast.get_docstring(tree) or "").partition("\n\n")[2].partition("\n\n")[2]
    first = f"from __future__ import {', '.join(names.pop('__future__'))}"
    taken_of = (f"from {name} import {', '.join(sorted(names[name]))}" for name in sorted(names))
    rest = [*sorted(imports), *taken_of]
    head = _HEAD.format(what=what, needs=needs, rules=rules and f"{rules}\n")
    return "\n".join([head, first, "", *rest, "", "", "\n\n\n".join(bodies), ""])
