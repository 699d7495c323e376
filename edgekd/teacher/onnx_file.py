"""A bare ONNX file in a recipe: where it is and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from edgekd.benchmarks.model_content import model_content
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import ImagePreprocess, Preprocess
from edgekd.errors import ModelError
from edgekd.options import Options
from edgekd.step import Context, OnnxModel
from edgekd.store import locate

if TYPE_CHECKING:
    from edgekd.exporters.file_facts import Entry


class OnnxFile(Options):
    """A file that anybody may have made."""

    onnx: str = Field(description="path of the ONNX file, relative to the recipe")
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"mean": 127.5, "std": 127.5}],
        description="model input, where it differs from the dataset",
    )

    def file(self, root: Path) -> Path:
        """Return the file that `onnx` names."""
        return locate(self.onnx, root=root)

    def hashes(self, root: Path) -> dict[str, str]:
        """Return the hashes of the files that the options name.

        Raises:
            ModelError: there is no such file.
        """
        path = self.file(root)
        if not path.is_file():
            raise ModelError(f"the model {path} does not exist; give the path of an .onnx file")
        model = model_content(path).key  # with its external data
        return {"onnx": model, **self.input.content(root)}

    def look(self, context: Context) -> OnnxModel:
        """Return the file with what it takes.

        Raises:
            ModelError: it cannot be read, or does not take the data.
        """
        from edgekd.exporters.onnx_files import load_onnx

        path = self.file(context.root)
        load_onnx(path)  # a file that cannot be read is refused here
        return OnnxModel(path, self.preprocess(path, context))

    def preprocess(self, path: Path, context: Context) -> Preprocess:
        """Return how samples become the inputs of the file, which now is at `path`.

        Raises:
            ModelError: it takes other inputs than the data gives.
        """
        from edgekd.exporters.model_stats import facts

        found = facts(path)
        preprocess = context.data.preprocess_for(self.input, root=context.root)
        if isinstance(preprocess, ImagePreprocess) and len(found.inputs) == 1:
            preprocess = _as_the_file_has_it(preprocess, self.input, found.inputs[0])
        wanted = {entry.name for entry in found.inputs}
        if wanted != set(preprocess.input_names):
            raise ModelError(
                f"{self.onnx} takes the inputs {sorted(wanted)} and the data gives "
                f"{sorted(preprocess.input_names)}; give arrays of these names (an .npz or a "
                "callable) or another model"
            )
        return preprocess


def _as_the_file_has_it(
    preprocess: ImagePreprocess, asked: InputSpec, entry: Entry
) -> ImagePreprocess:
    """Take the input's name, layout and fixed size from the file, where the recipe says nothing."""
    pixels = entry.dtype == "uint8"
    height, width = entry.shape[1:3] if pixels else entry.shape[2:4]
    update: dict[str, object] = {"name": entry.name, "in_graph": pixels}
    if asked.size is None and isinstance(height, int) and isinstance(width, int):
        update |= {"height": height, "width": width}
    return preprocess.model_copy(update=update)
