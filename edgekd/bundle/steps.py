"""What an app must do before and after the model, step by step: words for the model card."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.data.array_facts import ArrayFacts, Column
from edgekd.data.pictures import Form
from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess, Preprocess
from edgekd.data.text_preprocess import TextInputs, TextPreprocess
from edgekd.data.tokenizers import TokenizerPreprocess

_MOST_COLUMNS = 60
_CUT = {
    "crop": "Cut out the largest centred box of the aspect {width}:{height} (width:height). In "
    "whole pixels: if w * {height} > h * {width} it is h high and (2 * h * {width} + {height}) // "
    "{double_height} wide, else w wide and (2 * w * {height} + {width}) // {double_width} high; at "
    "least 1. Its left edge is (w - its width) // 2, its top (h - its height) // 2.",
    "stretch": "Take the whole picture, whatever its aspect.",
    "pad": "Resize the whole picture so that it just fits into {width} x {height}: if w * {height} "
    "> h * {width} it becomes {width} wide and (2 * h * {width} + w) // (2 * w) high, else "
    "{height} high and (2 * w * {height} + h) // (2 * h) wide; at least 1. Put it on {width} x "
    "{height} pixels of brightness {pad_value}, left at ({width} - its width) // 2, top likewise.",
}


def list_steps(preprocess: Preprocess) -> list[str]:
    """Return what becomes of a raw sample, in order; none for a function of the user."""
    if isinstance(preprocess, ImagePreprocess):
        return list(_of_pictures(preprocess))
    if isinstance(preprocess, ArrayPreprocess):
        names = [f"`{name}`" for name in preprocess.arrays or preprocess.names]
        return [
            f"Take the array{'s' * (len(names) > 1)} {', '.join(names)} as in the training data: "
            "same units, same order of axes.",
            *map(_describe, preprocess.facts),
            "Put the batch axis first: one sample is [1, ...].",
        ]
    if isinstance(preprocess, TextInputs):
        return list(_of_texts(preprocess))
    return []


def _describe(one: ArrayFacts) -> str:
    axes = f" ({', '.join(one.axes)})" if one.axes else ", the meaning of its axes is not stated"
    span = ""
    if one.low is not None:
        span = f", in training {one.low:g} to {one.high:g}, mean {one.mean:g}"
    unit = f" {one.unit}" if one.unit else ", unit not stated"
    if one.columns:  # each has a range of its own
        axes, span = ", the columns below in their order", ""
    return f"`{one.array}`: {one.dtype} {list(one.shape)}{axes}{span}{unit}."


def describe_columns(preprocess: ArrayPreprocess) -> Iterator[str]:
    """Yield what a table's columns are: those of the input with their ranges, and the target's."""
    for one in preprocess.facts:
        rows = [f"{i}. `{column.name}`{_range(column)}" for i, column in enumerate(one.columns, 1)]
        if len(rows) > _MOST_COLUMNS:
            rows[_MOST_COLUMNS:] = [
                f"\nThe rest of the {len(rows)} columns is in `preprocess.json`."
            ]
        if rows:
            title = f"The columns of `{one.array}` in order, with their range in training:"
            yield "\n".join([title, "", *rows])
    if preprocess.targets:
        many = len(preprocess.targets) > 1
        names = ", ".join(f"`{name}`" for name in preprocess.targets)
        yield f"The answer{'s stand' if many else ' stands'} for the column{'s' * many} {names}" + (
            ", in this order." if many else "."
        )


def _range(column: Column) -> str:
    return "" if column.low is None else f": {column.low:g} to {column.high:g}"


def _of_texts(one: TextInputs) -> Iterator[str]:
    if isinstance(one, TextPreprocess):
        case = "Convert the text to lower case. " if one.lower else ""
        yield (
            f"{case}Find its words with the regular expression `pattern` of `preprocess.json`, at "
            f"most {one.max_length}."
        )
        yield (
            f"Number them: line n of `{one.files()['vocabulary']}`, counted from 0, is n + 2, and "
            f"any other word {one.unknown}. A text without a word is one unknown word."
        )
    elif isinstance(one, TokenizerPreprocess):
        yield (
            f"Encode the text with `{one.files()['content']}` (a tokenizer.json, also for "
            "JavaScript, Swift and Rust), which adds special tokens and cuts it off. A text "
            f"without a token is the number {one.empty}."
        )
    else:
        return
    if one.min_length > 1:
        yield f"Pad it with {one.padding} to {one.min_length} numbers."
    rest = (
        (one.mask, "1 for each and 0 for padding"),
        (one.types, "0 for each"),
        (one.positions, "0, 1, 2 and so on"),
    )
    also = "".join(f", and as `{name}` {what}" for name, what in rest if name)
    yield f"Give the numbers as `{one.ids}`, {one.dtype} [1, length]{also}."


def _of_pictures(one: ImagePreprocess) -> Iterator[str]:
    form = one.form
    colour = "grey" if form.channels == 1 else "RGB"
    yield (
        f"Decode the file to {colour}, 8 bits a channel, and turn it upright (EXIF orientation). "
        "Grey becomes RGB by repeating it, RGB becomes grey as (19595 R + 38470 G + 7471 B + "
        "32768) >> 16. Colour profiles are not applied. Of 16 bits the high byte is taken. A "
        f"colour c with the opacity a (0 to 255) becomes (c * a + {form.background} * (255 - a) + "
        "127) // 255."
    )
    sizes = {"height": form.height, "width": form.width, "pad_value": form.pad_value}
    sizes |= {"double_height": 2 * form.height, "double_width": 2 * form.width}
    yield _CUT[form.resize].format(**sizes) + " (w and h: the upright picture.)"
    if form.resize == "pad":
        yield f"The resizing is {_how(form)}."
    else:
        yield f"Resize it to {form.width} x {form.height} (width x height), {_how(form)}."
    if one.channels != form.channels:
        yield f"Change {colour} to {'grey' if one.channels == 1 else 'RGB'}, as above."
    if (one.height, one.width) != (form.height, form.width):
        yield f"Resize that to {one.width} x {one.height}, whatever its aspect, in the same way."
    if one.colours == "bgr":
        yield "Put the channels in the order blue, green, red."
    if not one.in_graph:
        yield (
            f"Normalise: (x - mean) / std per channel in float32, with mean {list(one.mean)} and "
            f"std {list(one.std)} for pixels 0 to 255."
        )
    dtype = "uint8, values 0 to 255, not normalised (the network does it)"
    axes = "height, width, channel" if one.axes == "nhwc" else "channel, height, width"
    yield (
        f"The input `{one.name}` is {dtype if one.in_graph else 'float32'}, shape [1, "
        f"{', '.join(map(str, one.shape))}]: batch, {axes}."
    )


def describe_resizing(form: Form) -> str:
    """Return the arithmetic of resizing, so that any program gets the same pixels; "" for none."""
    if form.interpolation == "nearest":
        return ""
    reach, weight = "s", "max(0, 1 - |x|)"
    if form.interpolation == "bicubic":
        reach = "2 * s"
        weight = (
            "(1.5 |x| - 2.5) |x| |x| + 1 for |x| < 1, (((|x| - 5) |x| + 8) |x| - 4) * -0.5 for "
            "|x| < 2, else 0"
        )
    stretch = "max(scale, 1)" if form.antialias else "1"
    return (
        f"Resizing a line of `old` pixels to `new`, in double precision: scale = old / new, s = "
        f"{stretch}. New pixel i has its centre at c = (i + 0.5) * scale and takes the pixels k "
        f"from max(0, trunc(c - {reach} + 0.5)) to below min(old, trunc(c + {reach} + 0.5)). With "
        f"x = (k - c + 0.5) / s the weight of k is {weight}; the weights are divided by their sum, "
        "times 2^22, and rounded to whole numbers, halves away from zero. The new pixel is (2^21 + "
        "the sum of weight * pixel) >> 22, kept in 0 to 255."
    )


def _how(form: Form) -> str:
    if form.interpolation == "nearest":
        return "by the nearest pixel: pixel i of n takes pixel (2 * i + 1) * old // (2 * n)"
    kernel = "bilinear" if form.interpolation == "bilinear" else "bicubic (a = -0.5)"
    if form.antialias:
        return (
            f"{kernel} with antialiasing, first the rows, then the columns, each rounded to 8 bits "
            f"(Pillow's {form.interpolation.upper()} in two calls)"
        )
    return (
        f"{kernel} without antialiasing (only the nearest {2 if 'linear' in kernel else 4} pixels "
        "count), first the rows, then the columns, each rounded to 8 bits"
    )
