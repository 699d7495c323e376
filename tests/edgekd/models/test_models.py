from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import edgekd.models
from edgekd.data.preprocess import ImagePreprocess
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import ModelError
from edgekd.exporters.torch_to_onnx import export_onnx
from edgekd.models import convnet, efficientnet_lite0, resnet, resnet8, text_encoder
from edgekd.networks.blueprint import Blueprint, Deployed, build_network, parameters
from edgekd.networks.channels.cut import find_cut
from edgekd.networks.edits import apply_edit


@pytest.mark.parametrize(
    ("build", "options", "shape", "millions"),
    [
        ("resnet8", {}, (2, 3, 32, 32), 0.078),
        ("resnet20", {}, (2, 3, 16, 16), 0.272),
        ("resnet32", {}, (2, 3, 16, 16), 0.467),
        ("resnet56", {"classes": 7}, (2, 3, 8, 8), 0.856),
        ("resnet", {"depth": 14, "channels": 1, "widths": [4, 8, 8]}, (2, 1, 9, 9), 0.005),
        ("convnet", {}, (2, 1, 28, 28), 1.148),
        ("convnet", {"widths": [16, 32, 64], "depth": 1}, (2, 1, 28, 28), 0.024),
        ("efficientnet_lite0", {"classes": 10}, (2, 3, 32, 32), 3.384),
    ],
)
def test_builders_give_networks_of_the_stated_size(
    build: str, options: dict[str, Any], shape: tuple[int, ...], millions: float
) -> None:
    network = build_network(Blueprint(f"edgekd.models:{build}", options), root=Path())
    assert round(parameters(network) / 1e6, 3) == millions
    assert network(torch.randn(shape)).shape == (2, options.get("classes", 10))


def test_every_public_builder_can_be_resolved() -> None:
    assert edgekd.models.__all__
    for name in edgekd.models.__all__:
        assert callable(getattr(edgekd.models, name))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: resnet(21), "6 n + 2, such as 8 or 20"),
        (lambda: resnet(2), "6 n + 2"),
        (lambda: resnet(20, widths=()), "0 stages"),
        (lambda: convnet(()), "at least one width"),
        (lambda: convnet((8, 0)), "at least 1"),
        (lambda: efficientnet_lite0(dropout=1.0), "[0, 1)"),
        (lambda: text_encoder(10, 2, width=10, heads=4), "multiple of the heads"),
        (lambda: text_encoder(0, 2), "at least 1"),
    ],
)
def test_sizes_without_sense_are_refused(build: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        build()
    assert words in str(caught.value)


def test_efficientnet_has_the_names_and_shapes_of_the_published_weights() -> None:
    network = efficientnet_lite0()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert len(shapes) == 296
    assert parameters(network) == 4_652_008
    assert list(shapes)[:2] == ["_conv_stem.weight", "_bn0.weight"]
    assert list(shapes)[-2:] == ["_fc.weight", "_fc.bias"]
    assert shapes["_blocks.0._depthwise_conv.weight"] == (32, 1, 3, 3)
    assert "_blocks.0._expand_conv.weight" not in shapes
    assert shapes["_blocks.5._depthwise_conv.weight"] == (240, 1, 3, 3)
    assert shapes["_blocks.15._project_conv.weight"] == (320, 1152, 1, 1)
    assert shapes["_conv_head.weight"] == (1280, 320, 1, 1)
    strides = [
        conv.stride[0]
        for conv in network.modules()
        if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1)
    ]
    assert strides == [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    norms = [norm for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


# --- text


def tokens(*lengths: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(lengths))
    mask = torch.stack([(torch.arange(max(lengths)) < length).long() for length in lengths])
    return torch.randint(2, 30, mask.shape, generator=generator) * mask, mask


def test_padding_changes_nothing() -> None:
    network = text_encoder(30, 3, width=8, heads=2).eval()
    short, mask = tokens(4)
    ids, padded = (nn.functional.pad(tensor, (0, 5)) for tensor in (short, mask))
    ids[0, 4:] = 7  # whatever stands there
    torch.testing.assert_close(network(ids, padded), network(short, mask), rtol=0, atol=1e-6)
    assert not torch.allclose(network(ids, torch.ones_like(ids)), network(short, mask))
    assert network(short, torch.zeros_like(mask)).isfinite().all()


def test_positions_matter() -> None:
    network = text_encoder(30, 3, width=8, heads=2).eval()
    ids, mask = tokens(6)
    assert not torch.allclose(network(ids.flip(1), mask), network(ids, mask))


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ModelError, match="max_length = 5"):
        text_encoder(30, 3, max_length=5)(*tokens(6))


# --- they export as they should


def run(path: Path, feeds: dict[str, Tensor]) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})[0]


def export(deployed: Deployed, example: tuple[Tensor, ...], axes: Any, path: Path) -> Counter[str]:
    export_onnx(
        deployed,
        example,
        path,
        input_names=deployed.inputs,
        output_names=deployed.outputs,
        dynamic_axes=axes,
    )
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_a_thinned_network_exports_with_its_pixels_and_a_free_batch(tmp_path: Path) -> None:
    network: nn.Module = resnet8(widths=(8, 16, 16))
    for _ in range(3):  # statistics that folding must get right
        network(torch.randn(8, 3, 16, 16) * 3 + 1)
    found = find_cut(network.eval(), (torch.randn(2, 3, 16, 16),), ratio=0.5, multiple=4)
    network = apply_edit(network, found.edit)
    preprocess = ImagePreprocess(height=16, width=16, mean=(125, 123, 114), std=(63, 62, 67))
    deployed = Deployed(network, preprocess, ("logits",)).eval()
    pixels = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    file = tmp_path / "net.onnx"
    nodes = export(deployed, (pixels[:2],), preprocess.dynamic_axes, file)
    assert nodes["Conv"] == 9
    # The factors of the scaling are in the weights of the first convolution.
    assert set(nodes) == {"Transpose", "Cast", "Sub", "Conv", "Relu", "Add", "ReduceMean", "Gemm"}
    with torch.no_grad():
        for batch in (1, 5):
            expected = deployed(pixels[:batch])[0].numpy()
            got = run(file, {"image": pixels[:batch]})
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_text_encoder_exports_with_batch_and_length_free(tmp_path: Path) -> None:
    network = text_encoder(30, 3, width=8, heads=2, layers=1, max_length=20)
    preprocess = TextPreprocess(vocabulary=("a", "b"), max_length=20)
    deployed = Deployed(network, preprocess, ("logits",)).eval()
    file = tmp_path / "text.onnx"
    nodes = export(deployed, tokens(5, 3), preprocess.dynamic_axes, file)
    assert nodes["Softmax"] == 1
    with torch.no_grad():
        for lengths in ((1,), (7, 2, 5), (20, 20)):
            ids, mask = tokens(*lengths)
            expected = deployed(ids, mask)[0].numpy()
            got = run(file, {"tokens": ids, "mask": mask})
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
