"""The network of a recipe: how it is built, and the user's files that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from edgekd.errors import ModelError
from edgekd.options import Options, UserFunction
from edgekd.store import cache_folder, file_sha256, locate
from edgekd.user_code import hash_source


class NetworkSpec(Options):
    """How to build a network and what to load into it."""

    build: UserFunction = Field(
        description="'package.module:function' or 'path/to/file.py:function' returning an nn.Module"
    )
    options: dict[str, Any] = Field({}, description="keyword arguments of that function")
    weights: str | None = Field(
        None, description="a state_dict (.pt, .pth, .safetensors), or 'cache:NAME' of `edgekd data`"
    )
    replace_head: bool = Field(
        False, description="the last layer may differ in shape from the weights; it starts fresh"
    )


def find_weights(weights: str, root: Path) -> Path:
    """Return the file that `weights` names: 'cache:NAME' or a path relative to `root`.

    Raises:
        ModelError: the file does not exist.
    """
    if weights.startswith("cache:"):
        name = weights.removeprefix("cache:")
        found = sorted((cache_folder() / "data" / name).glob("*.p*t*"))
        if not found:
            raise ModelError(
                f"the weights {name!r} are not in the cache ({cache_folder()}); "
                f"get them once with: edgekd data {name}"
            )
        return found[0]
    path = locate(weights, root=root)
    if not path.is_file():
        raise ModelError(f"the weights {path} do not exist; give a .pt, .pth or .safetensors file")
    return path


def list_user_files(spec: NetworkSpec, root: Path) -> dict[str, str]:
    """Return hashes of the files that `spec` names, so that a change in them changes the key.

    What the network's file imports from beside it counts too.
    """
    found = {}
    source = hash_source(spec.build, root=root)
    if source is not None:
        found["build"] = source
    if spec.weights is not None:
        found["weights"] = file_sha256(find_weights(spec.weights, root))
    return found
