"""What lint finds: a reason why a node is slow, wrong or refused in a runtime, with the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Weight = Literal["error", "warning", "note"]
"""error: the file does not load there, or computes something else without a word. warning: it is
slower than it could be. note: worth knowing, costs little."""
WEIGHTS: tuple[Weight, ...] = ("error", "warning", "note")
Known = Literal["run here", "read from the file"]
"""Whether the runtime itself loaded the file on this machine, or only rules were applied to it."""
Source = Literal["run here", "from documentation", "unverified"]
"""Where a rule is from: this project's tests run it, its maker's documentation, or neither."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of one node."""

    rule: str
    """A short name, the same for all findings of a rule: signed-activations."""
    weight: Weight
    node: str
    """As the file names it; "" is the file itself."""
    operator: str = ""
    reason: str
    fix: str
    """What to do, as an instruction; "" where there is nothing to do."""
    detail: str = ""
    """What of the reason is this node's alone: a zero point, the names of its readers."""
    left: tuple[str, ...] = ()
    """QuantizeLinear and DequantizeLinear nodes that run by themselves because of it."""
    source: Source = "run here"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Findings of one rule that need the same fix."""

    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        return self.findings[0]

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(found.node for found in self.findings if found.node)


@dataclass(frozen=True, kw_only=True)
class Lint:
    """All that is found in one file for one runtime."""

    file: str
    runtime: str
    """As `--for` names it: cpu, tensorrt-10.3."""
    known: Known
    by: str
    """The runtime and version that loaded it, or what the rules were read from."""
    int8_layers: int
    """Layers with weights in 8 bits or fewer: those that run so, or that the file lays out so."""
    float_layers: int
    """Layers with weights in float."""
    quantized: bool
    """Whether the file has Q/DQ or operators on integers."""
    quantize_left: int | None = None
    """QuantizeLinear nodes that run by themselves; None: the runtime was not asked."""
    dequantize_left: int | None = None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def failed(self) -> bool:
        """Whether there is a finding of weight: an error, or a warning that costs speed."""
        return any(found.weight != "note" for found in self.findings)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The findings with alike ones together, the weightiest first."""
        found: dict[tuple[str, str, str, str], list[Finding]] = {}
        for one in self.findings:
            found.setdefault((one.rule, one.weight, one.reason, one.fix), []).append(one)
        groups = [Group(findings=tuple(some)) for some in found.values()]
        return tuple(
            sorted(groups, key=lambda g: (WEIGHTS.index(g.first.weight), -len(g.findings)))
        )

    @property
    def summary(self) -> str:
        """One paragraph: what runs in INT8, what is left over, how many findings."""
        return " ".join(part for part in self._sentences() if part)

    def _sentences(self) -> Iterator[str]:
        layers = self.int8_layers + self.float_layers
        verb = "run" if self.known == "run here" else "are laid out to run"
        if any(found.rule == "not-loaded" for found in self.findings):
            yield f"{self.by} does not load this file."
        else:
            if any(found.weight == "error" for found in self.findings):
                yield "As it is, the file does not load there, or computes something else."
            if not layers:
                yield "The file has no layers with weights."
            elif not self.quantized:
                yield f"Nothing is quantized: {_count(layers, 'layer')} with weights, all in float."
            else:
                count = _count(layers, "layer")
                yield f"{self.int8_layers} of {count} with weights {verb} in INT8."
        if self.quantize_left is not None and (left := self._left):
            yield f"{_count(left, 'QuantizeLinear or DequantizeLinear node')} " + (
                "runs by itself." if left == 1 else "run by themselves."
            )
        counts = {w: sum(f.weight == w for f in self.findings) for w in WEIGHTS}
        told = [_count(counts[w], w) for w in WEIGHTS if counts[w]]
        unexplained = self.quantized and layers and not self.int8_layers
        nothing = "No rule of lint says why." if unexplained else "Nothing to improve was found."
        yield f"Found: {', '.join(told)}." if told else nothing
        here = self.known == "run here"
        yield f"(Loaded by {self.by}.)" if here else f"(Read from {self.by}; not run.)"

    @property
    def _left(self) -> int:
        return (self.quantize_left or 0) + (self.dequantize_left or 0)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "summary": self.summary, "failed": self.failed}


@dataclass(frozen=True, kw_only=True)
class BriefGroup:
    """Alike findings in a few words."""

    weight: Weight
    rule: str
    count: int
    nodes: tuple[str, ...]
    """The first few."""
    reason: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What a record of a run keeps of a `Lint`."""

    runtime: str
    by: str
    run_here: bool
    int8_layers: int
    layers: int
    left: int | None
    """Q/DQ nodes that run by themselves; None: the runtime was not asked."""
    groups: tuple[BriefGroup, ...]


def shorten(found: Lint) -> Brief:
    """Return what a record keeps."""
    asked = found.quantize_left is not None and found.dequantize_left is not None
    return Brief(
        runtime=found.runtime,
        by=found.by,
        run_here=found.known == "run here",
        int8_layers=found.int8_layers,
        layers=found.int8_layers + found.float_layers,
        left=(found.quantize_left or 0) + (found.dequantize_left or 0) if asked else None,
        groups=tuple(
            BriefGroup(
                weight=group.first.weight,
                rule=group.first.rule,
                count=len(group.findings),
                nodes=tuple(shortened(name, 60) for name in group.nodes[:3]),
                reason=group.first.reason,
                fix=group.first.fix,
            )
            for group in found.groups
        ),
    )


def findings_of(*parts: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings of several rules, each once, in their order."""
    return tuple(dict.fromkeys(found for part in parts for found in part))


def listed(names: Sequence[str], *, most: int = 3) -> str:
    """Return the first few names, and how many there are besides."""
    shown = [shortened(name, 60) for name in names[:most]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def shortened(text: str, length: int) -> str:
    """Return a text with its middle left out if it is longer than `length`."""
    half = (length - 3) // 2
    return text if len(text) <= length else f"{text[:half]}...{text[-half:]}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
