"""The commands as functions, for scripts and notebooks. Heavy imports wait for the call."""

from __future__ import annotations

from edgekd.api.audit import audit
from edgekd.api.commands import compress, load_recipe, quantize
from edgekd.api.measure import benchmark, verify

__all__ = ["audit", "benchmark", "compress", "load_recipe", "quantize", "verify"]
