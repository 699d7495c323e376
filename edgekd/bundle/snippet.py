"""Ten lines of Python that run a bundle: with only numpy and onnxruntime, or by its loader."""

from __future__ import annotations

from edgekd.bundle.describe import Description
from edgekd.data.preprocess import ArrayPreprocess, Preprocess
from edgekd.data.tokenizers import FunctionPreprocess

_MOST_NAMED = 20
"""A row of more columns is not written out."""


def call_in_memory(found: Description) -> str:
    """Return Python that answers one sample of arrays; it is started beside the bundle's folder."""
    preprocess = found.shipped.preprocess
    if not isinstance(preprocess, ArrayPreprocess):
        raise TypeError(f"{preprocess.kind} is no preprocessing of arrays")
    known = {one.array: one for one in preprocess.facts}
    names = preprocess.arrays or preprocess.names
    lines, is_zero = list[str](), False
    for entry, name in zip(found.inputs, names, strict=True):
        one = known.get(name)
        if one is not None and 0 < len(one.columns) <= _MOST_NAMED:
            row = ", ".join(f"{column.name!r}: {column.low}" for column in one.columns)
            lines.append(f"    {name!r}: {{{row}}},")
            continue
        usual = one.shape if one is not None else (1,) * len(entry.shape)
        shape = [
            side if isinstance(side, int) else here
            for side, here in zip(entry.shape[1:], usual, strict=False)
        ]
        is_zero = True
        lines.append(f"    {name!r}: np.zeros({shape}, {entry.dtype!r}),  # your numbers")
    return "\n".join(
        [
            "import sys",
            "",
            *(["import numpy as np", ""] if is_zero else []),
            "sys.path.insert(0, 'bundle')  # the folder of this card",
            "import load",
            "",
            "session = load.open_model()  # once",
            "sample = {  # without a batch axis",
            *lines,
            "}",
            "outputs = load.run(session, load.to_inputs(sample))",
            "print(load.explain(outputs), {name: value[0] for name, value in outputs.items()})",
            "",
        ]
    )


def snippet(found: Description) -> str:
    """Return Python that runs the first golden sample; it is started inside the bundle."""
    shipped, golden = found.shipped, found.golden
    answers = golden.outputs[shipped.variant]
    inputs = ", ".join(f"{e.name!r}: golden[{'0/' + e.name!r}]" for e in found.inputs)
    lines = [
        "import numpy as np",
        "import onnxruntime as ort",
        "",
        f"session = ort.InferenceSession({shipped.file!r}, providers=['CPUExecutionProvider'])",
        f"golden = np.load({golden.inputs!r})",
        *(f"# {line}" for line in _host(shipped.preprocess)),
        f"inputs = {{{inputs}}}",
        f"expected = np.load({answers!r})",
        "names = [output.name for output in session.get_outputs()]",
        "for name, value in zip(names, session.run(names, inputs)):",
        "    difference = np.abs(value * 1.0 - expected['0/' + name]).max()",
        "    print(name, value.shape, 'answer', value.argmax(), 'largest difference', difference)",
    ]
    return "\n".join(lines) + "\n"


def _host(preprocess: Preprocess) -> list[str]:
    """Say what the app does instead of loading golden inputs."""
    if not isinstance(preprocess, FunctionPreprocess):
        return []
    words = f", words numbered by {preprocess.files()['vocabulary']}" * bool(preprocess.vocabulary)
    return [
        f"In an app: your function {preprocess.function}{words}; it is not in this bundle;",
        f"{preprocess.dtype} [1, length], {preprocess.min_length} to {preprocess.max_length} "
        f"numbers, padded with {preprocess.padding}; mask: 1 = a number.",
    ]
