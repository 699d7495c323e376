"""The options of a device in a recipe: its name, or a table with the runtime."""

from __future__ import annotations

from typing import Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from edgekd.benchmarks.measurement import Setup
from edgekd.benchmarks.runtimes import RUNTIMES
from edgekd.benchmarks.runtimes.providers import provider_name
from edgekd.errors import RecipeError
from edgekd.options import Options


def list_usable() -> str:
    """Return the runtimes that a recipe may name, in words: its files are ONNX."""
    return ", ".join(name for name, known in RUNTIMES.items() if ".onnx" in known.suffixes)


class DeviceOptions(Options):
    """A device, and the runtime that runs the files on it."""

    name: str = Field(description="name of the device; local is this machine")
    runtime: str = Field("onnxruntime", description=f"runtime that runs the files: {list_usable()}")
    provider: str = Field(
        "", description="provider of the runtime, such as cuda or GPU.0; empty is the CPU"
    )
    threads: int = Field(1, ge=1, le=256, description="threads that one inference uses")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        """Turn a plain name into a table."""
        if not isinstance(value, (str, dict, DeviceOptions)):
            raise ValueError(
                "give the name of a device, or a table with name, runtime, provider and threads"
            )
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_runtime(self) -> Self:
        if self.runtime not in list_usable().split(", "):
            raise ValueError(
                f"the runtime {self.runtime!r} does not run ONNX files; these do: {list_usable()}"
            )
        try:
            provider_name(self.runtime, self.provider)
        except RecipeError as error:
            raise ValueError(str(error)) from error
        return self

    def setup(self) -> Setup:
        """Return how each file is run there."""
        provider = provider_name(self.runtime, self.provider)
        return Setup(runtime=self.runtime, provider=provider, threads=self.threads)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Let editors accept a plain name as well."""
        return {"anyOf": [{"type": "string"}, handler(core)]}
