"""Raw golden samples: from the data if its licence allows it, else made up.

Redistribution needs a right, so the rule is a list of open licences and not of forbidden ones:
what is not on it ("unknown", "proprietary", "see the website") ships made-up samples, which test
an app's preprocessing just as well.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Kind
from edgekd.data.preprocess import Preprocess, TextPreprocess
from edgekd.errors import VerifyFailed
from edgekd.exporters.onnx_files import traces

Sample = Mapping[str, NDArray[Any]]
"""Raw arrays of one sample, [1, ...]; images may differ in size from sample to sample."""

_OPEN = re.compile(
    r"(cc0|cc by|creative commons (attribution|zero)|public domain|pddl|odc by|odbl|"
    r"cdla permissive|mit|bsd|apache|isc|unlicense)( |$)"
)
_RESTRICTED = re.compile(r"\b(nc|nd|non ?commercial|no ?deriv\w*|research)\b")
_MOST_BYTES = 1 << 28
_UNKNOWN_WORD = "Zzxqyw"


def may_ship(licence: str) -> bool:
    """Tell whether samples under `licence` may go into a bundle that others will ship.

    True for CC0, CC BY, CC BY-SA, public domain, PDDL, ODC-By, ODbL, CDLA-Permissive, MIT, BSD,
    Apache, ISC and Unlicense, however they are spelt; never where its text has non-commercial, no
    derivatives or research. Anything else counts as not permitted.
    """
    words = " ".join(re.findall(r"[a-z0-9]+", licence.lower()))
    return bool(_OPEN.match(words)) and not _RESTRICTED.search(words)


def singles(samples: Mapping[str, NDArray[Any]], kind: Kind) -> list[Sample]:
    """Split arrays [n, ...] into n samples; texts that name a person's files are left out."""
    count = len(next(iter(samples.values())))
    found: list[Sample] = [
        {name: array[i : i + 1] for name, array in samples.items()} for i in range(count)
    ]
    if kind != "text":
        return found
    texts = [str(sample["text"][0]).encode(errors="replace").decode() for sample in found]
    return [{"text": np.array([text])} for text in texts if not traces(text.encode())]


def made_up(
    like: Mapping[str, NDArray[Any]], preprocess: Preprocess, *, count: int, seed: int
) -> list[Sample]:
    """Make samples that resemble real ones only in their form; equal seeds give equal samples.

    Args:
        like: real raw samples [n, ...]: sizes, types and ranges are taken from them, no values.
        preprocess: its vocabulary gives the words of sentences.
        count: how many.
        seed: of the generator.
    """
    generator = np.random.default_rng(seed)
    if isinstance(preprocess, TextPreprocess):
        return [_sentence(preprocess.vocabulary, generator) for _ in range(count)]
    if preprocess.reads == "image":
        shape = like["image"].shape[1:]
        return [{"image": _picture(shape, generator, resized=i % 2 == 1)} for i in range(count)]
    return [{name: _array(a, generator) for name, a in like.items()} for _ in range(count)]


def _picture(
    shape: Sequence[int], generator: np.random.Generator, *, resized: bool
) -> NDArray[np.uint8]:
    """Return smooth waves, uint8 [1, h, w, c]; channels and directions differ: swaps show.

    Every second picture has another size, so that an app's resizing is tested as well.
    """
    height, width, channels = shape
    if resized:
        height, width = height + height // 4 + 1, width + width // 2 + 1
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    planes = []
    for _ in range(channels):
        fx, fy, phase = generator.uniform(0.3, 2.0, 3) * (1, 1, np.pi)
        light, slope = generator.uniform(60, 190), generator.uniform(-40, 40)
        planes.append(light + slope * (x - y) + 50 * np.cos(2 * np.pi * (fx * x + fy * y) + phase))
    pixels: NDArray[np.uint8] = np.clip(np.stack(planes, axis=-1) + 0.5, 0, 255).astype(np.uint8)
    return pixels[None]


def _sentence(vocabulary: Sequence[str], generator: np.random.Generator) -> Sample:
    """Return common words with capitals, a comma, a full stop and one unknown word."""
    common = vocabulary[:200]
    words = [common[i] for i in generator.integers(0, len(common), int(generator.integers(4, 13)))]
    words.insert(int(generator.integers(1, len(words))), _UNKNOWN_WORD)
    return {"text": np.array([f"{words[0].capitalize()}, {' '.join(words[1:])}."])}


def _array(like: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Return uniform values in the range of `like`, [1, *the shape of one sample]."""
    shape = (1, *like.shape[1:])
    if like.dtype.kind == "f":
        finite = like[np.isfinite(like)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        return generator.uniform(low, high, shape).astype(like.dtype)
    low, high = int(like.min()), int(like.max())
    return generator.integers(low, high, shape, np.int64, endpoint=True).astype(like.dtype)


def write_sample(folder: Path, number: int, sample: Sample, kind: Kind) -> dict[str, str]:
    """Write a sample as files that a person can open; return array name -> file below `folder`."""
    from PIL import Image

    names = {}
    for k, (name, array) in enumerate(sample.items()):
        stem = f"golden/{number}" if len(sample) == 1 else f"golden/{number}.{k}"
        if kind == "image":
            pixels = array[0, ..., 0] if array.shape[-1] == 1 else array[0]
            names[name] = f"{stem}.png"
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / names[name], "PNG")
        elif kind == "text":
            names[name] = f"{stem}.txt"
            (folder / names[name]).write_bytes(str(array[0]).encode())
        else:
            names[name] = f"{stem}.npy"
            np.save(folder / names[name], array, allow_pickle=False)
    return names


def read_sample(folder: Path, files: Mapping[str, str], kind: Kind) -> Sample:
    """Read what `write_sample` wrote, from an untrusted folder.

    Raises:
        VerifyFailed: a file is not of its kind, or too large.
    """
    return {name: _read(folder / file, file, kind) for name, file in files.items()}


def _read(path: Path, name: str, kind: Kind) -> NDArray[Any]:
    from PIL import Image

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        data = path.read_bytes()
        if kind == "text":
            return np.array([data.decode()])
        if kind == "array":
            array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
            return array
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                if image.mode not in ("L", "RGB"):
                    raise ValueError(f"PNG of mode {image.mode}, expected grey or RGB")
                pixels = np.asarray(image, np.uint8)
        return pixels.reshape(1, *pixels.shape[:2], -1)
    except (
        *(OSError, ValueError, EOFError, SyntaxError, MemoryError),
        *(Image.DecompressionBombError, Image.DecompressionBombWarning),
    ) as error:
        raise VerifyFailed(f"the golden sample {name!r} cannot be read ({error})") from error
