"""Raw golden samples: from the data if its licence allows it, else made up.

Pictures are whole, as an app meets them: of many aspects, one of them a JPEG that lies on its side
(EXIF). Large ones are shrunk, and nothing of a camera's notes is kept.

Redistribution needs a right, so the rule is a list of open licences and not of forbidden ones:
what is not on it ("unknown", "proprietary", "see the website") ships made-up samples, which test
an app's preprocessing just as well.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.bundle.drawings import draw
from edgekd.data.dataset import Kind
from edgekd.data.pictures import decode, resize
from edgekd.data.preprocess import ImagePreprocess, Preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.errors import VerifyFailed
from edgekd.exporters.onnx_files import traces

Sample = Mapping[str, NDArray[Any]]
"""Raw arrays of one sample, [1, ...]; images may differ in size from sample to sample."""

_OPEN = re.compile(
    r"(cc0|cc by|creative commons (attribution|zero)|public domain|pddl|odc by|odbl|"
    r"cdla permissive|mit|bsd|apache|isc|unlicense)( |$)"
)
_RESTRICTED = re.compile(r"\b(nc|nd|non ?commercial|no ?deriv\w*|research)\b")
WANTED = 4
"""Golden samples of a bundle."""
LYING = 1
"""The one of them that is a JPEG on its side."""
JPEG = ".jpg"
_MOST_BYTES = 1 << 28
_LARGEST_SIDE = 512  # pixels of a photograph in a bundle
_ORIENTATION = 0x0112
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
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
    if isinstance(preprocess, TextInputs):
        return [_sentence(preprocess.common_words, generator) for _ in range(count)]
    if isinstance(preprocess, ImagePreprocess):
        channels = like["image"].shape[3]
        size = preprocess.form.height, preprocess.form.width
        drawn = [draw(*size, channels, seed=seed, number=i) for i in range(count)]
        return [{"image": picture[None]} for picture in drawn]
    return [{name: _array(a, generator) for name, a in like.items()} for _ in range(count)]


def _sentence(vocabulary: Sequence[str], generator: np.random.Generator) -> Sample:
    """Return common words with capitals, a comma, a full stop and one unknown word."""
    count = int(generator.integers(4, 13))
    words = [vocabulary[i] for i in generator.integers(0, len(vocabulary), count)]
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


def whole_pictures(files: Sequence[Path], preprocess: ImagePreprocess) -> list[Sample]:
    """Return photographs, none of them cut: shrunk where one is larger than a bundle should hold.

    They may be of any size, so each is an array [1, height, width, channels] of its own. Those of
    90 megapixels and more are left out.
    """
    found: list[Sample] = []
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                pixels = decode(file, preprocess.form)
        except (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            continue  # too large for a sample, or gone since it was decoded
        height, width = pixels.shape[:2]
        most = max(_LARGEST_SIDE, 2 * preprocess.form.height, 2 * preprocess.form.width)
        share = most / max(height, width)
        if share < 1:
            height, width = max(1, round(height * share)), max(1, round(width * share))
            pixels = resize(pixels, height, width, replace(preprocess.form, antialias=True))
        found.append({"image": pixels[None]})
    return found


def write_sample(folder: Path, number: int, sample: Sample, kind: Kind) -> dict[str, str]:
    """Write a sample as files that a person can open; return array name -> file below `folder`.

    Every fourth picture is a JPEG, which does not keep its pixels exactly, stored on its side.
    """
    names = {}
    for k, (name, array) in enumerate(sample.items()):
        stem = f"golden/{number}" if len(sample) == 1 else f"golden/{number}.{k}"
        if kind == "image":
            lies = number % WANTED == LYING
            names[name] = f"{stem}{JPEG if lies else '.png'}"
            (_write_lying if lies else _write_png)(folder / names[name], array[0])
        elif kind == "text":
            names[name] = f"{stem}.txt"
            (folder / names[name]).write_bytes(str(array[0]).encode())
        else:
            names[name] = f"{stem}.npy"
            np.save(folder / names[name], array, allow_pickle=False)
    return names


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    _image(pixels).save(path, "PNG")


def _write_lying(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a JPEG that must be turned by a quarter clockwise, as cameras do."""
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    turned = _image(pixels.transpose(1, 0, 2)[::-1])
    turned.save(path, "JPEG", quality=95, subsampling=0, exif=exif)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def read_sample(folder: Path, files: Mapping[str, str], preprocess: Preprocess) -> Sample:
    """Read what `write_sample` wrote, from an untrusted folder. Pictures are decoded as by an app.

    Raises:
        VerifyFailed: a file is not of its kind, or too large.
    """
    return {name: _read(folder / file, file, preprocess) for name, file in files.items()}


def _read(path: Path, name: str, preprocess: Preprocess) -> NDArray[Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        data = path.read_bytes()
        if preprocess.reads == "text":
            return np.array([data.decode()])
        if not isinstance(preprocess, ImagePreprocess):
            array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
            return array
        if not data.startswith(_PICTURES):
            raise ValueError("neither PNG nor JPEG")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return decode(io.BytesIO(data), preprocess.form)[None]
    except (
        *(OSError, ValueError, EOFError, SyntaxError, MemoryError),
        *(Image.DecompressionBombError, Image.DecompressionBombWarning),
    ) as error:
        raise VerifyFailed(f"the golden sample {name!r} cannot be read ({error})") from error
