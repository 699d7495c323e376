"""The part of the model card's Python that turns a sentence into the inputs of the network."""

from __future__ import annotations

from edgekd.data.text_preprocess import TextInputs
from edgekd.data.tokenizers import FunctionPreprocess, TokenizerPreprocess


def loader_lines(preprocess: TextInputs, sample: str) -> list[str] | None:
    """Return lines that define `encode(text)` and set `inputs` from the text file `sample`.

    None for a function of the user, which is not in the bundle.
    """
    if isinstance(preprocess, FunctionPreprocess):
        return None
    inputs = [f"{preprocess.ids!r}: np.array([ids], np.{preprocess.dtype})"]
    if preprocess.mask is not None:
        inputs.append(f"{preprocess.mask!r}: np.array([mask], np.{preprocess.dtype})")
    return [
        *(_tokenizer() if isinstance(preprocess, TokenizerPreprocess) else _words(preprocess)),
        "    missing = settings['min_length'] - len(ids)",
        "    mask = [1] * len(ids) + [0] * missing",
        "    ids = ids + [settings['padding']] * missing",
        f"    return {{{', '.join(inputs)}}}",
        "",
        f"with open({sample!r}, encoding='utf-8', newline='') as file:",
        "    inputs = encode(file.read())  # or any text",
    ]


def imports_of(preprocess: TextInputs) -> list[str]:
    """Return the imports that `loader_lines` needs."""
    if isinstance(preprocess, TokenizerPreprocess):
        return ["import json", "from tokenizers import Tokenizer  # pip install tokenizers"]
    return ["import json", "import re"]


def _words(preprocess: TextInputs) -> list[str]:
    lower = ".lower()" if getattr(preprocess, "lower", False) else ""
    return [
        "settings = json.load(open('preprocess.json', encoding='utf-8'))",
        f"words = open({preprocess.files()['vocabulary']!r}, encoding='utf-8').read().split('\\n')",
        "numbers = {word: number for number, word in enumerate(words[:-1], 2)}",
        "",
        "def encode(text):",
        f"    found = re.findall(settings['pattern'], text{lower})[:settings['max_length']]",
        "    unknown = settings['unknown']",
        "    ids = [numbers.get(word, unknown) for word in found] or [unknown]",
    ]


def _tokenizer() -> list[str]:
    return [
        "settings = json.load(open('preprocess.json', encoding='utf-8'))",
        "tokenizer = Tokenizer.from_file('preprocess/tokenizer.json')",
        "",
        "def encode(text):",
        "    ids = tokenizer.encode(text).ids or [settings['empty']]",
    ]


def describe_function(preprocess: FunctionPreprocess) -> list[str]:
    """Say what an app does where the tokenizer is a function of the user."""
    shape = "one length" if preprocess.is_fixed else "any length"
    words = f", words numbered by {preprocess.files()['vocabulary']}" * bool(preprocess.vocabulary)
    return [
        f"In an app: your function {preprocess.function}{words}, which is not in this bundle;",
        f"{preprocess.dtype} [1, {shape}], {preprocess.min_length} to {preprocess.max_length} "
        f"numbers, padded with {preprocess.padding}; mask: 1 = a number.",
    ]
