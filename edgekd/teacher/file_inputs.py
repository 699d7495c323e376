"""How samples become the inputs of an untrusted ONNX file, read from the file.

Names, layout, channels, number type and fixed sizes are the file's. The recipe's values are used
where the file leaves it open, and refused where the two contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgekd.data.dataset import Arrays
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import show_input_option
from edgekd.data.preprocess import can_convert
from edgekd.data.text_roles import role_of
from edgekd.errors import ModelError
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.exporters.file_facts import Entry

_CHANNELS = (1, 3)


def image_spec(
    asked: InputSpec, entry: Entry, own_channels: int, *, file: str
) -> tuple[InputSpec, list[str]]:
    """Return the options of an image input as the file has them, and notes for the user.

    Args:
        asked: by the recipe.
        entry: the file's only input.
        own_channels: of the data.
        file: its name, for messages.

    Raises:
        ModelError: it takes no image, or another one than in the recipe.
    """
    takes = f"{file} takes {entry.dtype} {_text(entry.shape)} as its input {entry.name!r}"
    if len(entry.shape) != 4:
        raise ModelError(
            f"{takes}, and images have four axes: [batch, channels, height, width] or [batch, "
            "height, width, channels]; give its inputs as arrays of its type and shape (an .npz "
            "or a callable): uint8 is read as images"
        )
    if entry.dtype not in ("uint8", "float32"):
        raise ModelError(
            f"{takes}, and pixels are given as uint8 or float32; export it with one of these, or "
            "give its inputs as arrays (an .npz or a callable)"
        )
    layout = asked.layout or _layout(entry)
    at, rows = (3, (1, 2)) if layout == "nhwc" else (1, (2, 3))
    channels = entry.shape[at]
    if isinstance(channels, int) and channels not in _CHANNELS:
        other = "nchw" if layout == "nhwc" else "nhwc"
        raise ModelError(
            f"{takes}, which is {channels} channels in the layout {layout}; images have 1 or 3. If "
            f"its axes are in the other order, {option('model.input.layout', other)}; else "
            "give its "
            "inputs as arrays (an .npz or a callable)"
        )
    found: dict[str, object] = {
        "name": entry.name,
        "in_graph": entry.dtype == "uint8",
        "layout": layout,
    }
    if isinstance(channels, int):
        _agree("channels", asked.channels, channels, takes)
        found["channels"] = channels
    size = tuple(entry.shape[row] for row in rows)
    if all(isinstance(side, int) for side in size):
        wanted = (asked.size, asked.size) if isinstance(asked.size, int) else asked.size
        _agree("size", wanted, size, takes)
        found["size"] = size
    spec = asked.model_copy(update=found)
    used = spec.channels or own_channels
    notes = []
    if used != own_channels:
        how = "repeated three times" if used == 3 else "brightness (ITU-R BT.601)"
        kind = "grey" if own_channels == 1 else "in colour"
        notes.append(f"{takes}; the images are {kind}, so each is given as its {how}")
    return spec, notes


def _layout(entry: Entry) -> str:
    """Return where the channels are; where the shape does not show it, as is usual for the type."""
    front, back = entry.shape[1] in _CHANNELS, entry.shape[3] in _CHANNELS
    if front != back:
        return "nchw" if front else "nhwc"
    return "nhwc" if entry.dtype == "uint8" and not front else "nchw"


def _agree(what: str, asked: object, found: object, takes: str) -> None:
    if asked is not None and asked != found:
        shown = show_input_option(what)
        raise ModelError(f"{takes}, but {shown} is {asked}; leave it out")


def text_spec(
    asked: InputSpec, entries: Sequence[Entry], *, file: str
) -> tuple[InputSpec, dict[str, str | None], list[str]]:
    """Return the options of a text input as the file has them, its names, and notes for the user.

    What each input gets follows from its name, as for a network of texts; a single one gets the
    numbers.

    Args:
        asked: by the recipe.
        entries: the file's inputs.
        file: its name, for messages.

    Raises:
        ModelError: an input is not known, or is not of texts, or contradicts the recipe.
    """
    takes = f"{file} takes {', '.join(f'{e.name!r} ({e.dtype} {_text(e.shape)})' for e in entries)}"
    names: dict[str, str | None] = dict.fromkeys(("ids", "mask", "types", "positions"))
    for entry in entries:
        role = "ids" if len(entries) == 1 else role_of(entry.name)
        if role not in names or names[role] is not None:
            raise ModelError(
                f"{takes}, and the data are texts. What {entry.name!r} gets is not known: an input "
                "is called like input_ids, attention_mask, token_type_ids or position_ids, one of "
                "each. Rename it in the file, or give all inputs as arrays (an .npz or a callable)"
            )
        names[role] = entry.name
    if names["ids"] is None:
        raise ModelError(
            f"{takes}, and the data are texts, but none of these is called like input_ids; rename "
            "it in the file, or give all inputs as arrays (an .npz or a callable)"
        )
    dtypes = {entry.dtype for entry in entries}
    if any(len(entry.shape) != 2 for entry in entries) or len(dtypes | {"int64", "int32"}) > 2:
        raise ModelError(
            f"{takes}, and texts are given as int64 or int32 [batch, length]; export it with "
            "such inputs, or give all inputs as arrays (an .npz or a callable)"
        )
    if len(dtypes) > 1:
        raise ModelError(f"{takes}, and its inputs of texts must be of one type; export it so")
    names["dtype"] = dtypes.pop()
    notes = []
    if names["mask"] is None:
        notes.append(f"{takes}, and no mask: padding counts like words")
    lengths = {side for entry in entries for side in entry.shape[1:] if isinstance(side, int)}
    if not lengths:
        return asked, names, notes
    length = max(lengths)
    _agree("max_length", asked.max_length, length, takes)
    fixed = asked.model_copy(update={"max_length": length, "fixed_length": True})
    return fixed, names, notes


def check_words(asked: InputSpec, name: str) -> None:
    """Refuse a trained network of texts without the numbers of words that it was trained with.

    Raises:
        ModelError: neither a tokenizer nor a vocabulary is given.
    """
    if asked.tokenizer is None and asked.vocabulary is None:
        how = option("model.input.tokenizer", "tokenizer.json")
        raise ModelError(
            f"the data are texts, and {name} was trained with words numbered in some way that is "
            "not known; give its tokenizer.json, its vocabulary, or a function that turns a text "
            f"into numbers: {how}"
        )


def match_arrays(
    entries: Sequence[Entry], sample: Arrays, *, file: str
) -> tuple[tuple[str, ...], list[str]]:
    """Return the array of the data for each input of the file, and notes for the user.

    Equal names belong together, and one input and one array that are left over.

    Args:
        entries: the file's inputs.
        sample: one sample [1, ...] of the data.
        file: its name, for messages.

    Raises:
        ModelError: an input is without an array, or an array has another type or shape.
    """
    pairs = {entry.name: entry.name for entry in entries if entry.name in sample}
    open_inputs = [entry.name for entry in entries if entry.name not in pairs]
    spare = [name for name in sample if name not in pairs]
    notes = []
    if len(open_inputs) == len(spare) == 1:
        pairs[open_inputs[0]] = spare[0]
        notes.append(f"the array {spare[0]!r} is given to the input {open_inputs[0]!r} of {file}")
        open_inputs, spare = [], []
    if open_inputs:
        raise ModelError(
            f"{file} takes the inputs {[e.name for e in entries]} and the data gives "
            f"{list(sample)}; give an array of the name {open_inputs[0]!r} (an .npz or a "
            "callable), or another model"
        )
    if spare:
        notes.append(f"{file} does not take {', '.join(spare)}: left out")
    _check_forms(entries, {name: sample[array] for name, array in pairs.items()}, pairs, file)
    return tuple(pairs[entry.name] for entry in entries), notes


def _check_forms(
    entries: Sequence[Entry], arrays: Arrays, names: Mapping[str, str], file: str
) -> None:
    for entry in entries:
        array = arrays[entry.name]
        fits = len(entry.shape) == array.ndim and all(
            isinstance(want, str) or want == have
            for want, have in zip(entry.shape[1:], array.shape[1:], strict=True)
        )
        known = entry.dtype != "?"
        if fits and (not known or can_convert(array.dtype, entry.dtype)):
            continue
        raise ModelError(
            f"{file} takes {entry.dtype} {_text(entry.shape)} as its input {entry.name!r}, and "
            f"the array {names[entry.name]!r} is {array.dtype} {_text(('n', *array.shape[1:]))}; "
            "give it in that type and shape, the samples along the first axis"
            + _hint(entry, array.shape[1:])
        )


def _hint(entry: Entry, shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and len(entry.shape) == 4:
        for axes, order in (((2, 0, 1), "0, 3, 1, 2"), ((1, 2, 0), "0, 2, 3, 1")):
            if tuple(shape[axis] for axis in axes) == tuple(entry.shape[1:]):
                return f": x.transpose({order})"
    return ""


def _text(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
