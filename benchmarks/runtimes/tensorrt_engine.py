"""TensorRT 10 or newer as an engine of the runner, on an NVIDIA GPU; models are .onnx.

The network is strongly typed: it computes in the types of the file, INT8 where it has Q/DQ, and
float32 is float32 (TF32 is off by default). Inputs lie in the GPU's memory before a call,
outputs stay there; a call ends when the stream has finished. A model that ends in .plan is an
engine that was built before (`build_file`); from an .onnx file one is built first, as a part of
`load_s`. Options, as `--option KEY=VALUE`:

    level=0..5   how long the builder searches (TensorRT's default: 3)
    tf32=1       let float32 products round their factors to 10 bits
    timing_cache=FILE   keep what was learned of kernels on this GPU
    ranges=JSON         input -> [least, usual, largest shape]; without it the shapes of the feeds

A plan is right for one model, one GPU and one version of TensorRT only: a cache of it needs all
three in its key.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import json
import os
import time
from typing import Any

import numpy as np

TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
OPTIONS = ("level", "tf32", "timing_cache", "ranges")


class Engine:
    """One engine; per feed and stream an execution context with its buffers."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Build or read the engine."""
        import tensorrt

        if arguments.provider not in ("", "cuda"):
            raise ValueError(f"TensorRT runs only on a GPU, got the device {arguments.provider!r}")
        self.version = "tensorrt " + tensorrt.__version__
        self.trt = tensorrt
        self.feeds = feeds
        self.cuda = Cuda()
        self.cuda.require_device()  # a Runtime that finds none may crash the process
        self.logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self.runtime = tensorrt.Runtime(self.logger)
        plan = read_plan(tensorrt, self.logger, arguments, feeds[0])
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise ValueError("TensorRT cannot run this plan on this GPU; see the lines above")
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        inputs = {n for n in names if self._mode(n) == tensorrt.TensorIOMode.INPUT}
        if inputs != set(feeds[0]):
            raise ValueError(f"the model's inputs are {sorted(inputs)}, got {sorted(feeds[0])}")
        self.names = [name for name in names if name not in inputs]

    def _mode(self, name: str) -> Any:
        return self.engine.get_tensor_mode(name)

    def calls(self) -> list[Any]:
        """Give every feed a context whose inputs are on the GPU already."""
        stream = self.cuda.stream()
        return [Bound(self, feed, stream).run for feed in self.feeds]

    def parts(self, index: int) -> dict[str, float]:
        """Run one feed end to end, as an app does: copy in, run, copy the outputs out."""
        feed = self.feeds[index]
        if not hasattr(self, "_bound"):
            self._bound = Bound(self, feed, self.cuda.stream())
        clock = time.perf_counter
        start = clock()
        self._bound.copy_in(feed)
        copied = clock()
        self._bound.run()
        ran = clock()
        self._bound.copy_out()
        return {"copy_in": copied - start, "engine": ran - copied, "copy_out": clock() - ran}

    def outputs(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Run once and return the outputs by name."""
        bound = Bound(self, feed, self.cuda.stream())
        bound.run()
        return bound.copy_out()


class Bound:
    """An execution context with one feed on the GPU, and room for its outputs."""

    def __init__(self, owner: Engine, feed: dict[str, Any], stream: Any) -> None:
        """Allocate, copy the feed in, and give the addresses to the context."""
        self.cuda, self.stream = owner.cuda, stream
        self.context = owner.engine.create_execution_context()
        self.addresses = {}
        for name, array in feed.items():
            kind = owner.trt.nptype(owner.engine.get_tensor_dtype(name))
            if np.dtype(kind) != array.dtype:
                raise ValueError(
                    f"input {name} is {np.dtype(kind)} in the engine, {array.dtype} given"
                )
            if not self.context.set_input_shape(name, array.shape):
                raise ValueError(f"the engine does not accept {name} with shape {array.shape}")
        self.results = {}
        for name in owner.names:
            shape = tuple(self.context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise ValueError(f"the shape of output {name} depends on the data; not supported")
            kind = owner.trt.nptype(owner.engine.get_tensor_dtype(name))
            self.results[name] = np.empty(shape, kind)
        for name, array in (*feed.items(), *self.results.items()):
            self.addresses[name] = self.cuda.memory(array.nbytes)
            self.context.set_tensor_address(name, self.addresses[name].value)
        self.copy_in(feed)

    def copy_in(self, feed: dict[str, Any]) -> None:
        """Copy a feed to the GPU."""
        for name, array in feed.items():
            self.cuda.copy(self.addresses[name], array.ctypes.data, array.nbytes, TO_DEVICE)

    def run(self) -> None:
        """Run once and wait until the GPU has finished."""
        if not self.context.execute_async_v3(self.stream.value):
            raise ValueError("TensorRT could not run the engine; see the lines above")
        self.cuda.wait(self.stream)

    def copy_out(self) -> dict[str, Any]:
        """Copy the outputs from the GPU; by name."""
        for name, array in self.results.items():
            self.cuda.copy(array.ctypes.data, self.addresses[name], array.nbytes, TO_HOST)
        return {name: array.copy() for name, array in self.results.items()}


class Cuda:
    """The few functions of the CUDA runtime that are needed; memory is freed with the process."""

    def __init__(self) -> None:
        """Find the library: beside TensorRT's own wheels, or where the system has it."""
        self.library = load_cudart()
        self.library.cudaGetErrorString.restype = ctypes.c_char_p

    def _check(self, code: int) -> None:
        if code:
            text = self.library.cudaGetErrorString(code).decode()
            raise RuntimeError(f"CUDA error {code}: {text}")

    def require_device(self) -> None:
        """Raise ValueError if there is no GPU that CUDA can use."""
        count = ctypes.c_int(0)
        code = self.library.cudaGetDeviceCount(ctypes.byref(count))
        if code or not count.value:
            reason = self.library.cudaGetErrorString(code).decode() if code else "there is none"
            raise ValueError("TensorRT needs a GPU that CUDA can use: " + reason)

    def memory(self, size_bytes: int) -> Any:
        """Return the address of new memory on the GPU."""
        address = ctypes.c_void_p()
        size = ctypes.c_size_t(max(1, size_bytes))
        self._check(self.library.cudaMalloc(ctypes.byref(address), size))
        return address

    def stream(self) -> Any:
        """Return a new stream."""
        stream = ctypes.c_void_p()
        self._check(self.library.cudaStreamCreate(ctypes.byref(stream)))
        return stream

    def copy(self, to: Any, source: Any, size_bytes: int, kind: int) -> None:
        """Copy and wait."""
        pointers = (
            p if isinstance(p, ctypes.c_void_p) else ctypes.c_void_p(p) for p in (to, source)
        )
        self._check(self.library.cudaMemcpy(*pointers, ctypes.c_size_t(size_bytes), kind))

    def wait(self, stream: Any) -> None:
        """Wait until a stream has finished."""
        self._check(self.library.cudaStreamSynchronize(stream))


def load_cudart() -> Any:
    """Return the CUDA runtime library."""
    names = ["libcudart.so", "cudart64_13.dll", "cudart64_12.dll"]
    spec = importlib.util.find_spec("nvidia")  # the folder of all wheels with CUDA libraries
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = glob.glob(os.path.join(folder, "*", "lib", "libcudart.so.*"))  # noqa: PTH118, PTH207
        names = found + names
    for name in [*names, "libcudart.so.13", "libcudart.so.12"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise ValueError(
        "the CUDA runtime (libcudart) cannot be found; pip install nvidia-cuda-runtime, or add its "
        "folder to LD_LIBRARY_PATH"
    )


def read_plan(trt: Any, logger: Any, arguments: Any, feed: dict[str, Any]) -> Any:
    """Return the serialised engine: the model itself, or built now."""
    if arguments.model.endswith(".plan"):
        with open(arguments.model, "rb") as file:  # noqa: PTH123
            return file.read()
    options = dict(pair.partition("=")[::2] for pair in arguments.option)
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(f"TensorRT has no option {unknown[0]!r} here; known: {', '.join(OPTIONS)}")
    return build(trt, logger, arguments.model, feed, options)


def build_file(arguments: Any, feeds: list[dict[str, Any]]) -> None:
    """Write a .plan for the shapes of the first feed to the file `arguments.build`."""
    import tensorrt

    plan = read_plan(tensorrt, tensorrt.Logger(tensorrt.Logger.WARNING), arguments, feeds[0])
    with open(arguments.build, "wb") as file:  # noqa: PTH123
        file.write(plan)


def build(trt: Any, logger: Any, model: str, feed: dict[str, Any], options: dict[str, str]) -> Any:
    """Build an engine for the shapes of this feed, strongly typed."""
    builder = trt.Builder(logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(model):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise ValueError("TensorRT cannot read " + model + ": " + reasons)
    config = builder.create_builder_config()
    if options.get("tf32") != "1":
        config.clear_flag(trt.BuilderFlag.TF32)
    if "level" in options:
        config.builder_optimization_level = int(options["level"])
    set_profile(builder, network, config, shapes_of(feed, options))
    cache = options.get("timing_cache", "")
    if cache:
        config.set_timing_cache(config.create_timing_cache(read_cache(cache)), False)
    plan = builder.build_serialized_network(network, config)
    if cache and plan is not None:
        write_cache(cache, bytes(config.get_timing_cache().serialize()))
    if plan is None:
        raise ValueError("TensorRT cannot build an engine; see the lines above")
    return plan


def shapes_of(feed: dict[str, Any], options: dict[str, str]) -> dict[str, list[Any]]:
    """Return the smallest, the usual and the largest shape of each input."""
    if "ranges" in options:
        given: dict[str, list[Any]] = json.loads(options["ranges"])
        return given
    return {name: [array.shape] * 3 for name, array in feed.items()}


def set_profile(builder: Any, network: Any, config: Any, shapes: dict[str, list[Any]]) -> None:
    """Tell the builder the shapes of inputs with a free axis."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    free = [tensor.name for tensor in inputs if min(tensor.shape, default=0) < 0]
    profile = builder.create_optimization_profile()
    for name in free:
        if name not in shapes:
            raise ValueError(
                f"the model's input {name} is missing from the feeds; got {sorted(shapes)}"
            )
        profile.set_shape(name, *map(tuple, shapes[name]))
    if free:
        config.add_optimization_profile(profile)


def read_cache(path: str) -> bytes:
    """Return what is in a timing cache; nothing where there is none yet."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        return b""


def write_cache(path: str, content: bytes) -> None:
    """Replace a timing cache whole: another build may read it meanwhile."""
    partial = f"{path}.{os.getpid()}"
    with open(partial, "wb") as file:  # noqa: PTH123
        file.write(content)
    os.replace(partial, path)  # noqa: PTH105
