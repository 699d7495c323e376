"""Ten lines of Python that run a bundle with only numpy and onnxruntime."""

from __future__ import annotations

from edgekd.bundle.describe import Description
from edgekd.data.preprocess import Preprocess, TextPreprocess


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
    if isinstance(preprocess, TextPreprocess):
        case, most = "lower-cased text" if preprocess.lower else "text", preprocess.max_length
        return [
            rf"In an app: the words (\w+) of the {case}, at most {most}, by number:",
            f"0 padding, 1 unknown, i + 1 for line i of {preprocess.files()['vocabulary']}; mask: "
            "1 = a word.",
        ]
    return []
