"""The entry point: commands, one paragraph per error, exit codes 0, 1 and 2.

Command modules import nothing heavy at their top, so that `edgekd --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import textwrap
from typing import Annotated

import typer

from edgekd.cli.audit import audit
from edgekd.cli.bench import bench
from edgekd.cli.compress import compress
from edgekd.cli.data import data
from edgekd.cli.diff import diff
from edgekd.cli.export import export
from edgekd.cli.init import init
from edgekd.cli.lint import lint
from edgekd.cli.quantize import quantize
from edgekd.cli.report import report
from edgekd.cli.schema import schema
from edgekd.cli.verify import verify
from edgekd.errors import EdgekdError
from edgekd.store import locate

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

STOPPED = 130  # what typer makes of Ctrl-C, and what a shell expects of it

app = typer.Typer(
    name="edgekd",
    help="From a trained model to a small ONNX bundle, measured to be faster on its device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: more fits in 80 columns, and it starts faster
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"edgekd {version('edgekd')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Compress, measure and verify models."""
    if debug:
        os.environ["EDGEKD_DEBUG"] = "1"


_COMMANDS = (
    (compress, "distill, prune and quantize a model; keep what pays on the device"),
    (init, "write a commented recipe to start from"),
    (quantize, "quantize an ONNX file; keep INT8 if it is faster and as good"),
    (audit, "judge a teacher before a student learns from it; advice for distill"),
    (bench, "time ONNX files side by side: which is faster, and how certain"),
    (lint, "explain why a file is slow, or refused, in a runtime"),
    (export, "what a runtime or a board needs: TensorRT's commands"),
    (diff, "compare two bundles: answers, speed, size; exit code 1 on a regression"),
    (verify, "check that a bundle still computes its golden outputs"),
    (report, "build the HTML report of a run again"),
    (data, "fetch public data sets and weights into the cache"),
    (schema, "print the JSON schema of recipes, for editors"),
)
for _command, _about in _COMMANDS:
    app.command(short_help=_about)(_command)


def main() -> None:
    """Run the command line. Errors are one paragraph on stderr."""
    try:
        app([_at_home(argument) for argument in sys.argv[1:]])
    except SystemExit as leaving:
        if leaving.code == STOPPED:
            _complain("stopped; the same command resumes the run")
        raise
    except Exception as error:
        if os.environ.get("EDGEKD_DEBUG"):
            raise
        _complain(f"error: {_explained(error)}")
        raise SystemExit(error.exit_code if isinstance(error, EdgekdError) else 1) from None


def _at_home(argument: str) -> str:
    """Return it as a shell gives it: `~` is the home folder, also after --flag=, where few do."""
    flag, equals, value = argument.partition("=")
    if argument.startswith("-") and value.startswith("~"):
        return f"{flag}{equals}{locate(value)}"
    return str(locate(argument)) if argument.startswith("~") else argument


def _explained(error: Exception) -> str:
    if isinstance(error, EdgekdError):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return (
            f"the disk is full ({error.strerror}: {error.filename or 'while writing'}); what was "
            "finished is complete. Free some space; the same command resumes the run"
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used ({error.strerror})"
    return (
        f"{type(error).__name__}: {error}. This is a bug in edgekd; please report it, with the "
        "traceback that `edgekd --debug ...` prints"
    )


def _complain(text: str) -> None:
    width = max(40, min(100, shutil.get_terminal_size((100, 24)).columns))
    sys.stderr.write(
        textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False) + "\n"
    )
