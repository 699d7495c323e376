"""PyTorch with torch.compile as an engine of the runner, a baseline; see `torch_engine.py`.

Compiling is part of `load_s`; PyTorch keeps what it compiled in a cache of its own, so only the
first process pays in full (TORCHINDUCTOR_FORCE_DISABLE_CACHES=1 makes every one pay). Options:
backend, mode, fullgraph, dynamic, as of torch.compile.
"""

from __future__ import annotations

import functools
import importlib.util
import os

_spec = importlib.util.spec_from_file_location(
    "torch_engine",
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_engine.py"),  # noqa: PTH100, PTH118, PTH120
)
assert _spec is not None
assert _spec.loader is not None
_eager = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_eager)

Engine = functools.partial(_eager.Engine, compiled=True)
