"""The command line: one verb per module, each a thin wrapper of one library function.

Exit codes: 0 good, 1 a check failed, 2 usage, 3 device or link, 4 bad input file, 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import os
import sys
from types import ModuleType
from typing import Annotated

import typer

from spedge.base import interrupts
from spedge.base.errors import SpedgeError
from spedge.cli import (
    bench,
    boards,
    build,
    bundle,
    check,
    compile,
    convert,
    datasets,
    demo,
    devices,
    doctor,
    evaluate,
    export,
    flash,
    import_,
    info,
    models,
    preprocess,
    presets,
    render,
    run,
    runs,
    stream,
    tokenize,
    train,
    udev,
    view,
)

app = typer.Typer(
    name="spedge",
    help="Spiking Patches on the edge: event-camera tokens and checked on-device inference.",
    epilog="Exit codes: 0 good, 1 a check failed, 2 usage, 3 device or link, 4 bad input file, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMPLETE = "_SPEDGE_COMPLETE"  #: what the scripts of --show-completion ask by
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
VERBS = (
    demo, doctor, models, boards, devices, udev, build, flash, info, convert, tokenize, view, render, stream, run,
    check, datasets, preprocess, presets, train, import_, runs, evaluate, export, compile,
)  # fmt: skip


def name_of(module: ModuleType) -> str:
    """A verb's name: its module's, which has a _ where Python has the word for itself."""
    return module.__name__.rpartition(".")[2].rstrip("_")


for module in VERBS:
    app.command(name_of(module), cls=getattr(module, "COMMAND", None))(module.command)
app.add_typer(bench.app, name="bench")
app.add_typer(bundle.app, name="bundle")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"spedge {importlib.metadata.version('spedge')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """The program `spedge`."""
    interrupts.install()
    try:
        code = _run()
    except KeyboardInterrupt:  # beside what execute does, or once more while it cleans up
        code = _fail("interrupted", 130)
    sys.exit(code)


def _run() -> int:
    try:
        logging.basicConfig(format="spedge: %(message)s", level=logging.WARNING, handlers=[_ToStderr()])
        if _COMPLETE in os.environ:
            complete()
        code = execute(sys.argv[1:])
        try:
            sys.stdout.flush()
        except OSError:  # it has been said; at the end it would be tried again, and change the exit code
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code
    finally:
        interrupts.give_up()


def complete() -> None:
    """Answer a shell that completes a line, and exit."""
    typer.main.get_command(app).main(prog_name="spedge", complete_var=_COMPLETE)


def execute(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        command = typer.main.get_command(app)
        with command.make_context("spedge", arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as exit:
        return exit.exit_code
    except SpedgeError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        return 141  # the reader went: nobody to tell
    except OSError as error:
        if error.errno in _NO_ROOM:
            return _fail(f"{error.filename or 'the output'} cannot be written: {error.strerror}", 2)
        if error.filename is None:
            return _unexpected(error)
        return _fail(f"{error.filename}: {error.strerror}", 2)
    except MemoryError as error:
        return _fail(f"out of memory: {error or 'this needs more than there is'}", 1)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's usage errors; empty when it has printed the help instead
            message = error.format_message()
            return _fail(message, 2) if message else 2
        return _unexpected(error)


class _ToStderr(logging.StreamHandler):
    """Writes to what sys.stderr is at the time: above the status line, while there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _unexpected(error: Exception) -> int:
    return _fail(f"unexpected {type(error).__name__}: {error} (this is a bug; SPEDGE_DEBUG=1 shows where)", 1)


def _fail(message: str, code: int) -> int:
    if os.environ.get("SPEDGE_DEBUG") and code != 130:
        import traceback

        traceback.print_exc()
    print(f"spedge: error: {message}", file=sys.stderr)
    return code
