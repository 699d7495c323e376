"""PyTorch as an engine of the runner, a baseline; models are torch.export programs, .pt2.

    network, blueprint = edgekd.networks.blueprint.load_network(Path("model.pt"), root=Path())
    network.eval()                                  # the program keeps the mode that it is made in
    x = torch.zeros(1, 3, 32, 32)                   # of the shape that will be timed
    torch.export.save(torch.export.export(network, (x,)), "model.pt2")

Inputs are named as in `forward`, outputs as the exported graph names them. The graph runs operator
by operator in inference mode, through the functions that modules call: what eager PyTorch does,
less the Python of its modules. The provider is "cpu" (default) or "cuda". A .pt2 is a program: run
those that you trust. Pickles inside of one are refused by PyTorch's loader (weights_only).
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

COMPILE_OPTIONS = ("backend", "mode", "fullgraph", "dynamic")


class Engine:
    """One exported program. PyTorch allocates new outputs in each call."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]], compiled: bool = False) -> None:
        """Load the program, check that it fits, and compile it if asked: that counts as load."""
        import torch

        self.torch = torch
        self.version = "torch " + torch.__version__
        self.device = arguments.provider or "cpu"
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError("this PyTorch finds no CUDA device")
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        torch.set_num_interop_threads(1)
        options = compile_options(arguments.option, compiled)
        self.module, self.inputs, self.names = flat_module(arguments.model, self.device)
        self.feeds = feeds
        wanted = sorted(name for name in self.inputs if isinstance(name, str))
        if wanted != sorted(feeds[0]):
            raise ValueError(f"the program's inputs are {wanted}, got {sorted(feeds[0])}")
        # Inference mode belongs to a thread: the only one keeps it, others enter it in each call.
        self.mode = torch.inference_mode()  # kept: it ends with the object
        self.mode.__enter__()
        if compiled:
            self.module = torch.compile(self.module, **options)
        else:
            self.module = direct(self.module, self._tensors(feeds[0]))
        self.call = self.module if arguments.streams == 1 else self._called
        if compiled:
            self.call(*self._tensors(feeds[0]))

    def _called(self, *tensors: Any) -> Any:
        with self.torch.inference_mode():
            return self.module(*tensors)

    def _synchronized(self, *tensors: Any) -> None:
        self.call(*tensors)
        self.torch.cuda.synchronize()

    def _tensors(self, feed: dict[str, Any], copy: bool = False) -> list[Any]:
        """Return the inputs in the program's order; on the CPU they share the feed's memory."""
        return [
            self.torch.from_numpy(feed[name]).to(self.device, copy=copy)
            if isinstance(name, str)
            else name[0]
            for name in self.inputs
        ]

    def calls(self) -> list[Any]:
        """Make tensors of the inputs once."""
        call = self._synchronized if self.device.startswith("cuda") else self.call
        return [functools.partial(call, *self._tensors(feed)) for feed in self.feeds]

    def parts(self, index: int) -> dict[str, float]:
        """Run one feed end to end, as an app does: copy in, run, copy the outputs out."""
        cuda = self.device.startswith("cuda")
        wait = self.torch.cuda.synchronize if cuda else _nothing
        clock = time.perf_counter
        start = clock()
        tensors = self._tensors(self.feeds[index], copy=True)
        wait()
        copied = clock()
        outputs = self.call(*tensors)
        wait()
        ran = clock()
        for tensor in outputs:
            tensor.cpu().numpy().copy()
        return {"copy_in": copied - start, "engine": ran - copied, "copy_out": clock() - ran}

    def outputs(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Run once and return the outputs by name."""
        outputs = self.call(*self._tensors(feed))
        return {name: t.cpu().numpy() for name, t in zip(self.names, outputs, strict=True)}


def _nothing() -> None:
    """The CPU has finished when a call returns."""


def flat_module(path: str, device: str) -> tuple[Any, list[Any], list[str]]:
    """Load a program as a module from tensors, in order, to a tuple of tensors.

    Returns:
        The module; its inputs, a name or, in a tuple, a constant of the export; its outputs' names.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # no pickle of the archive may run code
    import torch
    from torch.fx.graph import CodeGen

    program = torch.export.load(path)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    signature = program.graph_signature
    inputs: list[Any] = []
    for spec in signature.input_specs:
        if spec.kind.name == "USER_INPUT":
            is_tensor = type(spec.arg).__name__ == "TensorArgument"
            inputs.append(spec.arg.name if is_tensor else (getattr(spec.arg, "value", None),))
    module = program.module(check_guards=False)
    # A plain signature: packing and unpacking the caller's containers is not the model's work.
    module.graph.set_codegen(CodeGen())
    module.recompile()
    refuse_training(module.graph)
    return module, inputs, [str(name) for name in signature.user_outputs]


def direct(module: Any, tensors: list[Any]) -> Any:
    """Let the graph call what modules call, such as torch.conv2d.

    An exported program calls aten.conv2d.default, whose way through Python is 5 microseconds longer
    per operator: a baseline that nobody runs. Each operator is tried with its real arguments, on
    copies, and replaced if the result is the same to the bit.
    """
    import torch

    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    flat = torch.fx.GraphModule(module, graph)
    replaced: dict[Any, Any] = {}

    class Trial(torch.fx.Interpreter):
        def run_node(self, node: Any) -> Any:
            function = function_of(node.target) if node.op == "call_function" else None
            if function is not None:
                args, kwargs = self.fetch_args_kwargs_from_env(node)
                args, kwargs = torch.fx.node.map_aggregate((args, kwargs), copied)
            result = super().run_node(node)
            if function is not None and same(function, args, kwargs, result):
                replaced[node] = function
            return result

    Trial(flat).run(*copied_all(tensors))
    for node, function in replaced.items():
        node.target = function
    flat.recompile()
    return flat


def copied(value: Any) -> Any:
    """Return a copy of a tensor, and anything else as it is."""
    return value.clone() if hasattr(value, "clone") else value


def copied_all(values: list[Any]) -> list[Any]:
    """Return copies: a graph may write into its inputs."""
    return [copied(value) for value in values]


def function_of(target: Any) -> Any:
    """Return what PyTorch's Python interface calls an operator of aten; None: it does not."""
    import torch

    namespace, _, name = str(getattr(getattr(target, "_schema", None), "name", "")).partition("::")
    places = (torch, getattr(torch._C, "_nn", None), torch.Tensor)
    found = [
        getattr(place, name) for place in places if namespace == "aten" and hasattr(place, name)
    ]
    return found[0] if found else None


def same(function: Any, args: Any, kwargs: Any, wanted: Any) -> bool:
    """Say whether a function returns the very same tensor."""
    import torch

    try:
        found = function(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError):  # another signature
        return False
    return (
        isinstance(found, torch.Tensor)
        and isinstance(wanted, torch.Tensor)
        and found.dtype == wanted.dtype
        and torch.equal(found, wanted)
    )


def refuse_training(graph: Any) -> None:
    """Refuse a program of a network in training mode: it drops and normalises otherwise."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        names = [argument.name for argument in schema.arguments] if schema else []
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        if given.get("train") is True or given.get("training") is True:
            raise ValueError(
                f"the program was exported in training mode ({node.target}); call eval() on the "
                "network before torch.export.export"
            )


def compile_options(pairs: list[str], compiled: bool) -> dict[str, Any]:
    """Return the arguments of torch.compile; PyTorch without it has no options."""
    known = COMPILE_OPTIONS if compiled else ()
    words = {"true": True, "false": False}
    options = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in known:
            raise ValueError(
                f"PyTorch has no option {key!r} here; known are: {', '.join(known) or 'none'}"
            )
        options[key] = words.get(value, value)
    return options
