"""What of the TensorRT engine needs no GPU: shapes, the timing cache, and the check for one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekd.benchmarks.runtimes import engine_of, no_nvidia_driver


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    """The file as the runner loads it."""
    path = engine_of("tensorrt")
    assert path is not None
    spec = importlib.util.spec_from_file_location("tensorrt_engine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shapes_are_those_of_the_feeds_or_as_asked(engine: ModuleType) -> None:
    feed = {"x": np.zeros((2, 3), np.float32)}
    assert engine.shapes_of(feed, {}) == {"x": [(2, 3)] * 3}
    asked = {"ranges": '{"x": [[1, 3], [2, 3], [8, 3]]}'}
    assert engine.shapes_of(feed, asked) == {"x": [[1, 3], [2, 3], [8, 3]]}


def test_a_timing_cache_begins_empty_and_is_replaced_whole(
    engine: ModuleType, tmp_path: Path
) -> None:
    path = str(tmp_path / "kernels.timing")
    assert engine.read_cache(path) == b""
    for content in (b"one", b"two"):
        engine.write_cache(path, content)
        assert engine.read_cache(path) == content
    assert [p.name for p in tmp_path.iterdir()] == ["kernels.timing"]


@pytest.mark.skipif(not no_nvidia_driver(), reason="there is a driver")
def test_without_a_gpu_no_runtime_is_made(engine: ModuleType) -> None:
    """TensorRT's own check ends the process with a segmentation fault."""
    try:
        cuda = engine.Cuda()
    except ValueError as error:
        pytest.skip(f"there is no CUDA either: {error}")
    with pytest.raises(ValueError, match="needs a GPU that CUDA can use: "):
        cuda.require_device()
