"""The entry point: commands, one paragraph per error, exit codes 0, 1 and 2.

Command modules import nothing heavy at their top, so that `edgekd --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Annotated

import typer

from edgekd.cli.bench import bench
from edgekd.cli.compress import compress
from edgekd.cli.data import data
from edgekd.errors import EdgekdError

app = typer.Typer(
    name="edgekd",
    help="From a trained model to a small ONNX bundle that was measured to be faster on its device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
) -> None:
    """Compress, measure, verify."""
    if debug:
        os.environ["EDGEKD_DEBUG"] = "1"


app.command()(compress)
app.command()(bench)
app.command()(data)


def main() -> None:
    """Run the command line; every error that edgekd raises is one paragraph on stderr."""
    try:
        app()
    except EdgekdError as error:
        if os.environ.get("EDGEKD_DEBUG"):
            raise
        _complain(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        _complain("stopped; the same command goes on from here")
        raise SystemExit(130) from None


def _complain(text: str) -> None:
    width = max(40, min(100, os.get_terminal_size().columns if sys.stderr.isatty() else 100))
    sys.stderr.write(textwrap.fill(text, width, break_long_words=False) + "\n")
