"""Points in a plane with their classes, a student of them, and a teacher as a bare ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact import Artifact
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ArrayPreprocess, write_preprocess
from edgekd.networks.blueprint import Blueprint, build_network
from edgekd.networks.trainable import Model
from edgekd.options import Budget
from edgekd.progress import Silent
from edgekd.step import Context
from edgekd.tasks.classification import Classification

NETS = """
from torch import nn


def net(width=4):
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 2))
"""
PLANE = ArrayPreprocess(names=("x",))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """The seed, the task and 40 training samples; a point's class is the sign of its first axis."""
    (tmp_path / "nets.py").write_text(NETS)
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    dataset = Dataset("array", {"x": x}, {"label": (x[:, 0] > 0).astype(np.int64)})
    splits = {"train": np.arange(40), "validation": np.arange(40, 60)}
    return Context(
        task=Classification(),
        data=Data(dataset, splits, augment=Augment(), seed=0),
        teachers=(),
        device=None,  # type: ignore[arg-type]  # nothing is measured
        budget=Budget(),
        seed=0,
        root=tmp_path,
        identity={},
        progress=Silent(),
    )


@pytest.fixture
def student(context: Context) -> Model:
    """A network of four hidden units, the same in every test."""
    torch.manual_seed(0)
    blueprint = Blueprint("nets.py:net", {"width": 4})
    return Model(build_network(blueprint, root=context.root), blueprint, PLANE)


@pytest.fixture
def bare_teacher(tmp_path: Path) -> Artifact:
    """A bare file: `inner` = x W, three wide, `logits` = inner V; batch fixed to 16 samples."""
    folder = tmp_path / "teacher"
    folder.mkdir()
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["inner"]),
            helper.make_node("MatMul", ["inner", "v"], ["answer"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 2])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [16, 2])],
        [
            numpy_helper.from_array(np.array([[1, 2, 0], [0, 0, 1]], np.float32), "w"),
            numpy_helper.from_array(np.array([[-1, 1], [-1, 1], [0, 0]], np.float32), "v"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "model.fp32.onnx"
    )
    write_preprocess(folder, PLANE)
    return Artifact(folder, {"model.fp32.onnx": "", "preprocess.json": ""})
