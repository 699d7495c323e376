"""Explain why a network could not be exported: what, at which line, what to do."""

from __future__ import annotations

import logging
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from edgekd.errors import ModelError, one_line

_ADVICE = (
    (
        r"data-dependent|unbacked|GuardOnDataDependent",
        "a decision in Python (if, while, range, int() or .item()) depends on the values of a "
        "tensor, and a graph computes the same for all values",
        "compute both results and choose with torch.where, or decide by shapes or options instead",
    ),
    (
        r"\.numpy\(\) is not supported|data pointer of Tensor|\.tolist\(\)",
        "the values leave torch here (numpy, .tolist(), ctypes or a custom kernel), and a graph "
        "can only contain torch operations",
        "write it with torch operations, or move it out of forward into the preprocessing",
    ),
    (
        r"marked .* as dynamic|static shape|Constraints violated|specialized it",
        "the code fixes a length that must stay free: {axes}",
        "take lengths from x.shape in every reshape, expand and newly made tensor, "
        "and do not turn them into numbers with int(), len() or .tolist()",
    ),
)


_OURS = set(Path(__file__).resolve().parent.glob("*.py"))


def capture_failed(
    error: BaseException, input_names: Sequence[str], again: Callable[[], object]
) -> ModelError:
    """Turn what torch.export raised into one paragraph with the line of the user's code.

    Args:
        error: as it was caught, with its traceback.
        input_names: the names of the inputs, in order.
        again: does the same once more, to watch where a length gets fixed: torch finds out only
            at the end, when the line is gone.
    """
    text = "; ".join(f"{type(e).__name__}: {e}" for e in _chain(error))
    place = _raised_at(error)
    for pattern, what, cure in _ADVICE:
        if re.search(pattern, text):
            place = place or _fixed_at(again)
            return ModelError(
                f"the network cannot be exported{place}: "
                f"{what.format(axes=_axes(text, input_names))}; {cure}"
            )
    reason = one_line(error)[:300]
    return ModelError(
        f"the network cannot be exported{place}: {type(error).__name__}: {reason}; "
        "forward must run on the example and use torch operations only"
    )


def translation_failed(error: BaseException, opset: int) -> ModelError:
    """Turn what the translation to ONNX raised into one paragraph with operator and line."""
    text = "; ".join(str(e) for e in _chain(error))
    found = re.search(r"OpOverload\(op='([^']+)'", text) or re.search(r"target=([\w.]+)", text)
    node = _node(error)
    place = _line_of(node.meta.get("stack_trace") or "") if node is not None else ""
    if found is None or "No ONNX function found" not in text:
        reason = one_line(text)[-300:]
        name = f"the operator {found[1]}" if found else "a part of the network"
        return ModelError(
            f"{name} cannot be translated to ONNX{place}: {reason}; "
            "replace it by simpler torch operations"
        )
    return ModelError(
        f"the operator {found[1]} has no translation to ONNX operator set {opset}{place}; replace "
        "it by other torch operations, or move it out of forward into pre- or postprocessing"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and what caused it, outermost first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _raised_at(error: BaseException) -> str:
    """Return " at file:line (code)" of the innermost frame that is the user's, or ""."""
    for step in reversed(list(_chain(error))):
        place = _innermost(traceback.extract_tb(step.__traceback__))
        if place:
            return place
    return ""


def _innermost(frames: Sequence[traceback.FrameSummary]) -> str:
    """Return the user's innermost frame below ours: what is above them called the export."""
    own = [i for i, frame in enumerate(frames) if Path(frame.filename).resolve() in _OURS]
    users = [f for f in frames[max(own, default=-1) + 1 :] if _is_users(f.filename)]
    return _place(users[-1].filename, users[-1].lineno, users[-1].line) if users else ""


class _Watcher(logging.Handler):
    """Notes the user's line whenever torch writes in its log that a length became a number."""

    place = ""

    def emit(self, record: logging.LogRecord) -> None:
        if not self.place and "set_replacement" in str(record.msg):
            self.place = _innermost(traceback.extract_stack()[:-1])


def _fixed_at(again: Callable[[], object]) -> str:
    """Return the place where a length first became a number, or "" if torch does not report it."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    watcher, level, passed_on = _Watcher(), log.level, log.propagate
    log.addHandler(watcher)
    log.setLevel(logging.INFO)
    others = [handler for handler in log.handlers if handler is not watcher]
    try:
        log.propagate = False
        for handler in others:
            log.removeHandler(handler)
        again()
    except Exception:  # noqa: BLE001  it fails as it did before
        return watcher.place
    finally:
        log.removeHandler(watcher)
        log.setLevel(level)
        log.propagate = passed_on
        for handler in others:
            log.addHandler(handler)
    return ""


def _line_of(stack: str) -> str:
    """The same from the text that torch.fx keeps for each node."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in .*\n\s*(.*)', stack)
    users = [frame for frame in frames if _is_users(frame[0])]
    return _place(users[-1][0], int(users[-1][1]), users[-1][2]) if users else ""


def _place(file: str, line: int | None, code: str | None) -> str:
    shown = f" ({code.strip()})" if code else ""
    return f" at {file}:{line}{shown}"


def _is_users(file: str) -> bool:
    """Tell a user's file (an installed model library included) from torch and Python itself."""
    path = Path(file)
    if file.startswith("<") or not path.suffix:
        return False
    if {"torch", "onnxscript", "onnx_ir"} & set(path.parts):
        return not path.is_relative_to(Path(torch.__file__).parents[1])
    standard = Path(sysconfig.get_path("stdlib"))
    return not path.is_relative_to(standard) or "site-packages" in path.parts


def _node(error: BaseException) -> Any:
    """Return the torch.fx node at which the exporter stopped: it is in the frames it left."""
    for step in reversed(list(_chain(error))):
        for frame, _ in traceback.walk_tb(step.__traceback__):
            for value in frame.f_locals.values():
                if isinstance(value, torch.fx.Node) and value.meta.get("stack_trace"):
                    return value
    return None


def _axes(text: str, input_names: Sequence[str]) -> str:
    """Name the inputs and axes that torch reports as fixed."""
    found = re.findall(r"\['?(\w+)'?\](?:\[(\d+)\])?\.(?:size\(\)|shape)\[(\d+)\]", text)
    parts = []
    for name, index, axis in dict.fromkeys(found):
        shown = input_names[int(index)] if index and int(index) < len(input_names) else name
        parts.append(f"axis {axis} of input {shown!r}")
    return " and ".join(parts) or "a dynamic axis"
