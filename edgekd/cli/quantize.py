"""`edgekd quantize`: INT8 from a bare ONNX file, with the same gate as any stage."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import flags
from edgekd.errors import RecipeError


def quantize(  # noqa: PLR0913  # each parameter is a flag
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="a float32 ONNX file, or hf:FOLDER of transformers (extra hf)"
        ),
    ],
    data: flags.Data = None,
    samples: flags.Samples = None,
    ranges: flags.Ranges = None,
    size: flags.Size = None,
    normalize: flags.Normalize = None,
    resize: flags.Resize = None,
    tokenizer: flags.Tokenizer = None,
    max_length: flags.MaxLength = None,
    task: flags.Task = None,
    max_drop: flags.MaxDrop = None,
    max_latency: flags.MaxLatency = None,
    min_snr: flags.MinSnr = None,
    min_agreement: flags.MinAgreement = None,
    no_labels: flags.NoLabels = False,
    device: flags.Device = None,
    ship: flags.Ship = None,
    variants: flags.Variants = None,
    keep_for: flags.KeepFor = None,
    skip_broken: flags.SkipBroken = False,
    quick: flags.Quick = False,
    name: flags.Name = None,
    changes: flags.Changes = None,
    out: flags.OutOrFile = None,
    as_json: flags.AsJson = False,
) -> None:
    """Quantize an ONNX file to INT8. The result is kept only if it is faster here and as good.

    Needs no PyTorch and no labels. The result is a run like that of `edgekd compress`, with report
    and bundle; or with --out NAME.onnx one file, written if it was kept (exit code 1: it was not).

    Example: edgekd quantize net.onnx --data photos/ --samples 512

    Example: edgekd quantize hf:my-bert --data texts.csv

    Example: edgekd quantize net.onnx --data inputs.npz --min-snr 25 --out net.int8.onnx

    Example: edgekd quantize net.onnx --data photos/ --variants int8,int8-tensorrt,fp16
    """
    from edgekd.cli.compress import run
    from edgekd.recipe.from_flags import (
        as_quick_look,
        describe_steps,
        is_bare,
        make_recipe_table,
        pick_asked,
    )
    from edgekd.recipe.overrides import changed
    from edgekd.recipe.recipe import parse_recipe

    asked = pick_asked(locals())
    with flags.speaking_flags(quantize):
        if not is_bare(model):
            raise RecipeError(
                f"{model} is neither an .onnx file nor hf:FOLDER; for a PyTorch model use edgekd "
                f"compress --model {shlex.quote(model)} --only quantize"
            )
        if data is None:
            raise RecipeError(
                "--data is missing; calibration needs samples: give a folder of images, "
                "an .npz or a table, as in `edgekd quantize --help`"
            )
        table = make_recipe_table(model=model, data=data, **asked)
        table = as_quick_look(changed(table, changes or ()), quick=quick)
        recipe = parse_recipe(table, origin="the flags")
        added = describe_steps(table, only=None)
        run(recipe, root=Path.cwd(), out=out, as_json=as_json, said=added)
