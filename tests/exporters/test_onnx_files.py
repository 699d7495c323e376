"""Foreign files are read with care or refused with words; ours say nothing about their maker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx_ir.passes import common

from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import (
    SIZE_LIMIT_BYTES,
    apply_passes,
    load_onnx,
    save_onnx,
    traces,
)
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.strip import strip


def model() -> ModelProto:
    """Return y = x + w."""
    made: ModelProto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y) '
        "{ y = Add(x, w) }"
    )
    made.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    return made


def external(location: str) -> ModelProto:
    """Return the same, its weight in another file."""
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return made


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    save_onnx(model(), tmp_path / "m.onnx")
    assert load_onnx(tmp_path / "m.onnx") == model()


def test_saving_is_deterministic_and_leaves_no_other_file(tmp_path: Path) -> None:
    save_onnx(model(), tmp_path / "a.onnx")
    save_onnx(model(), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "content", [b"", b"garbage" * 50, b"\x08\x0a", model().SerializeToString()[:-9]]
)
def test_garbage_and_halves_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="export"):
        load_onnx(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError, match="does not exist"):
            load_onnx(path)


def test_a_graph_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    broken = model()
    broken.graph.node[0].input[0] = "nobody"
    (tmp_path / "m.onnx").write_bytes(broken.SerializeToString())
    with pytest.raises(ModelError, match="checker refuses"):
        load_onnx(tmp_path / "m.onnx")


def test_the_size_is_limited(tmp_path: Path) -> None:
    save_onnx(external("w.bin"), tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(8))
    size_bytes = (tmp_path / "m.onnx").stat().st_size
    load_onnx(tmp_path / "m.onnx", limit_bytes=size_bytes + 8)
    with pytest.raises(ModelError, match="larger than the limit"):
        load_onnx(tmp_path / "m.onnx", limit_bytes=size_bytes + 7)
    with pytest.raises(ModelError, match="reads at most"):
        load_onnx(tmp_path / "m.onnx", limit_bytes=size_bytes - 1)


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    save_onnx(external("w.bin"), tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(np.array([3, 4], np.float32).tobytes())
    loaded = load_onnx(tmp_path / "m.onnx").graph.initializer[0]
    assert numpy_helper.to_array(loaded).tolist() == [3, 4]
    assert not loaded.external_data


@pytest.mark.parametrize("location", ["/etc/hostname", "../w.bin", "a/../../w.bin", "link.bin", ""])
def test_external_data_elsewhere_is_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    save_onnx(external(location), folder / "m.onnx")
    with pytest.raises(ModelError, match=r"tensor 'w' .* outside the folder"):
        load_onnx(folder / "m.onnx")


def test_external_data_that_is_absent_or_short_is_refused(tmp_path: Path) -> None:
    save_onnx(external("w.bin"), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="which is missing"):
        load_onnx(tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(4))
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(tmp_path / "m.onnx")


def telling() -> ModelProto:
    """Return a model with a trace at every level, subgraph included."""
    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 17]> g (float[N, 2] x, bool c) => (float[N, 2] y) '
        "{ t = Add(x, w) \n u = If(c) <then_branch = a () => (float[N, 2] p) { p = Add(t, w) }, "
        "else_branch = b () => (float[N, 2] q) { q = Identity(t) }> \n y = Identity(u) }"
    )
    made.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    secret = "/home/ada/train.py"
    made.producer_name, made.producer_version, made.doc_string = "torch", "9", secret
    made.domain = "home.ada"
    inner = made.graph.node[1].attribute[0].g
    for graph in (made.graph, inner):
        graph.doc_string = graph.name = secret
        graph.metadata_props.add(key="source", value=secret)
        for node in graph.node:
            node.doc_string = secret
            node.metadata_props.add(key="stack_trace", value=secret)
    made.metadata_props.add(key="author", value=secret)
    made.graph.input[0].doc_string = secret
    made.graph.initializer[0].doc_string = secret
    made.graph.node[0].name = secret
    # A tensor of the outer graph that the inner one reads.
    made.graph.node[0].output[0] = inner.node[0].input[0] = secret
    made.graph.node[1].attribute[1].g.node[0].input[0] = secret
    return made


def test_strip_leaves_nothing_and_computes_the_same(tmp_path: Path) -> None:
    before = telling()
    after = strip(before)
    assert traces(before.SerializeToString(), ["ada"])
    assert traces(after.SerializeToString(), ["ada", "torch", "author"]) == []
    assert after.producer_name == "edgekd"
    assert before == telling()  # the given model is not changed
    save_onnx(before, tmp_path / "a.onnx")
    save_onnx(after, tmp_path / "b.onnx")
    load_onnx(tmp_path / "b.onnx")
    for flag in (True, False):
        feeds = {"x": np.ones((3, 2), np.float32), "c": np.array(flag)}
        a, b = (predictor(tmp_path / f"{n}.onnx")(feeds)["y"] for n in "ab")
        assert a.tolist() == b.tolist()


def test_names_of_inputs_are_an_interface_and_stay() -> None:
    made = model()
    made.graph.input[0].name = made.graph.node[0].input[0] = "/tmp/x"
    assert strip(made).graph.input[0].name == "/tmp/x"


@pytest.mark.parametrize(
    ("content", "words", "found"),
    [
        (b"see /home/ada/x and /root/y", [], ["/home/ada/x", "/root/y"]),
        (b"C:\\Users\\ada\\net.onnx", [], ["C:\\Users\\ada\\net.onnx"]),
        (b'File "net/train.py", line 3', [], ["net/train.py"]),
        (b"made by ada on 3 May", ["ada"], ["ada"]),
        (b"in Canada, by ada_l", ["ada", ""], []),
        (b"torch.pyramid numpy.python", [], []),
        (b"layer1/conv/weight", ["conv.py"], []),
    ],
)
def test_traces_finds_paths_sources_and_words(
    content: bytes, words: list[str], found: list[str], tmp_path: Path
) -> None:
    assert traces(content, words) == found
    (tmp_path / "file").write_bytes(content)
    assert traces(tmp_path / "file", words) == found


def test_weights_are_no_traces_but_a_home_folder_among_them_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
    made = model()
    weight = made.graph.initializer.add(name="n", data_type=TensorProto.UINT8)
    weight.raw_data = noise + b"C:\\aa\\b.py"
    assert traces(made.SerializeToString(), ["ada"]) == []
    weight.raw_data = noise + b"/home/ada/\0"
    assert traces(made.SerializeToString()) == ["/home/ada/"]
    assert traces(b"\xff\x00" + noise) == []


def test_passes_tidy_a_copy() -> None:
    source = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> g (float[2] x) => (float[2] y) '
        "<float[2] a = {1, 2}, float[2] b = {1, 2}, float[2] c = {3, 4}> "
        "{ s = Add(x, a) \n idle = Add(x, c) \n y = Add(s, b) }"
    )
    before = source.SerializeToString()
    passes = (
        common.RemoveUnusedNodesPass(),
        common.DeduplicateInitializersPass(size_limit=SIZE_LIMIT_BYTES),
    )
    found = apply_passes(source, *passes)
    assert source.SerializeToString() == before
    assert [list(node.input) for node in found.graph.node] == [["x", "a"], ["s", "a"]]
    assert [tensor.name for tensor in found.graph.initializer] == ["a"]
    assert not found.graph.value_info
    sparse = onnx.helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "d"),
        numpy_helper.from_array(np.zeros(1, np.int64)),
        [2],
    )
    source.graph.sparse_initializer.append(sparse)
    assert apply_passes(source, *passes) == source  # onnx-ir would lose it
