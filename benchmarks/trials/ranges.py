"""How well do INT8 files follow trained float files, by the method that makes the ranges?

    python -m edgekd.benchmarks.trials.ranges --json benchmarks/results/ranges.json

Each network is calibrated once on some samples; a graph is made by each method for uint8 and for
symmetric int8 activations, with every layer in INT8, and compared with the float graph on other
samples: the signal-to-noise ratio of the worst output in dB, and the share of samples whose
greatest answer stays the same. `edgekd data mnist5k cifar10 efficientnet-lite0 open-nsfw minilm-l3
minilm-l6 reuters-r8` fetches what it needs. --also NAME=FILE.onnx adds a float file that takes
[n, 3, 64, 64] of CIFAR-10, (x - 127) / 128.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer
from torch import nn

from edgekd.benchmarks.trials.report import conclude
from edgekd.benchmarks.trials.trained.texts import reuters_r8
from edgekd.data.dataset import Arrays
from edgekd.data.downloads import fetch, open_known
from edgekd.exporters.ort_session import Level, open_session, run
from edgekd.models import convnet, efficientnet_lite0
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import ONNX_RUNTIME, XNNPACK, Layout
from edgekd.quantization.planning import make_plan
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.range_choice import choose_ranges
from edgekd.quantization.ranges import RangeOption
from edgekd.quantization.static import calibrate

METHODS: tuple[RangeOption, ...] = ("minmax", "percentile", "entropy", "mse", "auto")
LAYOUTS: tuple[Layout, ...] = (ONNX_RUNTIME, XNNPACK)
_MOST_TOKENS = 64

Network = tuple[Path, Sequence[Arrays]]
"""A float file, and its samples one at a time."""


@dataclass(frozen=True)
class Row:
    """One network with the ranges of one method on one kind of grid."""

    network: str
    activations: str
    method: str
    snr_db: float
    agreement: float | None
    """Share of samples whose greatest output stays the same; None if there are several outputs."""
    taken: Mapping[str, int]
    """Number of tensors by method."""


def main() -> None:
    """Measure every method on every network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="names of networks")
    parser.add_argument("--also", nargs="*", default=[], help="NAME=FILE.onnx")
    parser.add_argument("--samples", type=int, default=256, help="of calibration, and of the test")
    parser.add_argument("--short", action="store_true", help="16 samples: says little")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    given = parser.parse_args()
    samples = 16 if given.short else given.samples
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        networks = _networks(Path(folder), 2 * samples)
        for entry in given.also:
            name, _, path = entry.partition("=")
            networks[name] = partial(_tuned, Path(path), 2 * samples)
        for name, build in networks.items():
            if not given.only or name in given.only:
                Console().print(f"{name} ...")
                rows += measure(name, build(), samples)
    conclude(
        "outputs of INT8 files by the method of their ranges",
        ["network", "activations", "method", "SNR, dB", "same answer", "methods taken"],
        [_words(row) for row in rows],
        {"samples": samples, "rows": [asdict(row) for row in rows]},
        given.json,
    )


def measure(name: str, network: Network, samples: int) -> list[Row]:
    """Return the rows of one network.

    Args:
        name: of the network.
        network: with at least twice as many samples.
        samples: for calibration, and as many others for the comparison.
    """
    path, arrays = network
    calibrated = calibrate(path, lambda: iter(arrays[:samples]))
    tests = arrays[samples:]
    want = _answers(calibrated.model.SerializeToString(), tests)
    judged = FloatAnswers(calibrated.model, calibrated.judged, name=name)
    rows = []
    for layout in LAYOUTS:
        for method in METHODS:
            found = replace(calibrated, option=method)
            if method == "auto":
                found = choose_ranges(found, judged, layout)
            ranges = found.ranges(layout.activations)
            plan = make_plan(found.model, found.choice, ranges, layout)
            got = _answers(insert(found.model, plan).SerializeToString(), tests)
            taken = [m for n, m in found.methods(layout.activations).items() if n in plan.tensors]
            same = [w[0].argmax() == g[0].argmax() for w, g in zip(want, got, strict=True)]
            rows.append(
                Row(
                    name,
                    layout.activations,
                    method,
                    _snr_db(want, got),
                    float(np.mean(same)) if len(want[0]) == 1 else None,
                    {one: taken.count(one) for one in sorted(set(taken))},
                )
            )
    return rows


def _answers(model: bytes, samples: Sequence[Arrays]) -> list[list[NDArray[Any]]]:
    """Return the outputs of float numbers of each sample."""
    session = open_session(model, level=Level.ORT_DISABLE_ALL)
    names = [output.name for output in session.get_outputs() if output.type == "tensor(float)"]
    return [run(session, names, dict(one), name="it") for one in samples]


def _snr_db(want: Sequence[Sequence[NDArray[Any]]], got: Sequence[Sequence[NDArray[Any]]]) -> float:
    signal, noise = np.zeros(len(want[0])), np.zeros(len(want[0]))
    for mine, other in zip(want, got, strict=True):
        signal += [float((m.astype(np.float64) ** 2).sum()) for m in mine]
        noise += [
            float(((m.astype(np.float64) - o) ** 2).sum()) for m, o in zip(mine, other, strict=True)
        ]
    with np.errstate(divide="ignore"):
        return float(10 * np.log10((signal / noise).min()))


def _networks(folder: Path, count: int) -> dict[str, Callable[[], Network]]:
    return {
        "digits": partial(_digits, folder, count),
        "efficientnet-lite0": partial(_lite0, folder, count),
        "open-nsfw": partial(_nsfw, count),
        "minilm-l3": partial(minilm, count),
    }


def _cifar(count: int, size: int) -> NDArray[np.float32]:
    """Return photographs of the test split, [count, 3, size, size], pixels 0..255."""
    images = open_known("cifar10").samples["image"][-count:]
    pixels = torch.as_tensor(np.asarray(images)).permute(0, 3, 1, 2).float()
    scaled = nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    found: NDArray[np.float32] = scaled.numpy()
    return found


def _one_by_one(name: str, arrays: NDArray[Any]) -> list[Arrays]:
    return [{name: arrays[i : i + 1]} for i in range(len(arrays))]


def _digits(folder: Path, count: int) -> Network:
    data = open_known("mnist5k")
    x = torch.as_tensor(np.asarray(data.samples["image"])).permute(0, 3, 1, 2).float() / 255
    y = torch.as_tensor(data.targets["label"])
    torch.manual_seed(0)
    network = convnet(widths=(16, 32, 64), depth=1)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    order = np.random.default_rng(0).permutation(len(x))
    for epoch in range(4):
        for part in np.array_split(np.random.default_rng(epoch).permutation(order[count:]), 64):
            loss = nn.functional.cross_entropy(network(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    _export(network, x[:2], folder / "digits.onnx")
    return folder / "digits.onnx", _one_by_one("x", x[order[:count]].numpy())


def _lite0(folder: Path, count: int) -> Network:
    (weights,) = fetch("efficientnet-lite0").glob("*.pth")
    network = efficientnet_lite0()
    network.load_state_dict(torch.load(weights, weights_only=True))
    images = (_cifar(count, 128) - 127) / 128
    _export(network, torch.as_tensor(images[:2]), folder / "lite0.onnx")
    return folder / "lite0.onnx", _one_by_one("x", images)


def _tuned(path: Path, count: int) -> Network:
    return path, _one_by_one("x", (_cifar(count, 64) - 127) / 128)


def _nsfw(count: int) -> Network:
    mean = np.array([104, 117, 123], np.float32)
    images = _cifar(count, 224)[:, ::-1].transpose(0, 2, 3, 1) - mean
    return fetch("open-nsfw") / "open-nsfw.onnx", _one_by_one("input:0", images)


def minilm(count: int) -> Network:
    """Texts of two splits, each in its own length."""
    tokenizer = Tokenizer.from_file(str(fetch("minilm-l6") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MOST_TOKENS)
    texts = reuters_r8()
    half = count // 2
    rows = tokenizer.encode_batch([*texts["train"][0][:half], *texts["test"][0][: count - half]])
    path = fetch("minilm-l3") / "paraphrase-MiniLM-L3-v2.onnx"
    return path, list(_tokens(row.ids for row in rows))


def _tokens(rows: Iterator[list[int]]) -> Iterator[Arrays]:
    for row in rows:
        ids = np.array([row], np.int64)
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _export(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    torch.onnx.export(
        network.eval(),
        (example,),
        path,
        input_names=["x"],
        output_names=["y"],
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        external_data=False,
        verbose=False,
    )


def _words(row: Row) -> list[str]:
    taken = ", ".join(f"{method} {count}" for method, count in row.taken.items())
    same = "-" if row.agreement is None else f"{100 * row.agreement:.1f} %"
    snr = f"{row.snr_db:.2f}"
    shown = taken if row.method == "auto" else ""
    return [row.network, row.activations, row.method, snr, same, shown]


if __name__ == "__main__":
    main()
