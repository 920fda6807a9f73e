"""The application: how commands end."""

import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from lipkit_command.plain import printable, version

DONE, NOT_CERTIFIED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
UsageError: type[Exception] = typer.BadParameter.__base__  # of click, or of typer's copy of it


def fail(message, status=BAD_INPUT) -> NoReturn:
    """End with one line on the error stream."""
    typer.echo(f"lipkit: {printable(' '.join(str(message).split()))}", err=True)
    raise SystemExit(status)


class Notes(logging.Handler):
    """Says what the package has to say, a line each, on the error stream."""

    def emit(self, record):
        """Say it."""
        typer.echo(f"lipkit: note: {printable(record.getMessage())}", err=True)


@contextmanager
def _noted():
    """What the package says is shown as long as a command runs."""
    notes, log = Notes(), logging.getLogger("lipkit")
    log.addHandler(notes)
    log.propagate, before = False, log.propagate
    try:
        yield
    finally:
        log.removeHandler(notes)
        log.propagate = before


@contextmanager
def _interrupted():
    """An event that says whether Ctrl-C was pressed.

    Keras and the backends turn a KeyboardInterrupt into exceptions of their own where they trace.
    """
    pressed = []

    def remember(*_):
        pressed.append(True)
        raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or (
        usual is not signal.default_int_handler  # ignored, or another's
    ):
        yield pressed
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, usual)


class OneLine(TyperGroup):
    """Says in one line what was wrong with the input, instead of a traceback."""

    def main(self, args=None, prog_name=None, **extra) -> NoReturn:
        """Run a command and exit with the status that it returns."""
        with _interrupted() as pressed, _noted():
            try:
                status = super().main(args, prog_name, standalone_mode=False, **extra)
                if status == INTERRUPTED:
                    raise KeyboardInterrupt
                sys.stdout.flush()
            except BaseException as error:
                if pressed or isinstance(error, (KeyboardInterrupt, typer.Abort)):
                    fail("interrupted", INTERRUPTED)
                if isinstance(error, BrokenPipeError):  # nobody reads any more
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                _say(error)
                raise
        sys.exit(status)


def _say(error):
    """End with one line about what a user can change; other exceptions are bugs."""
    errors = sys.modules.get("lipkit.errors")  # of no error before the package is imported
    match error:
        case UsageError():
            message = error.format_message()
            fail(message if not error.ctx else f"{message} ({error.ctx.command_path} --help)")
        case ValueError() if errors and isinstance(error, errors.NotCertifiable):
            fail(f"not certified: {error}", NOT_CERTIFIED)
        case MemoryError():
            fail(f"out of memory: {error}")
        case OSError():
            fail(f"{error.filename}: {error.strerror}" if error.filename else error)
        case ValueError() | ImportError():
            fail(error)


app = typer.Typer(
    cls=OneLine,
    invoke_without_command=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool):
    if asked:
        typer.echo(f"lipkit {version}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
):
    """Lipschitz networks and their certificates: how far an input can move before the answer does.

    Start with `lipkit train DATA.csv --target COLUMN --out RUN`, then `lipkit report RUN`.

    Every command ends with status 0 (done), 1 (not certified, or a check failed), 2 (bad input) or
    130 (interrupted).
    The environment variable KERAS_BACKEND chooses between jax, tensorflow and torch, and
    LIPKIT_MAX_BYTES limits the memory that the numbers of one file may take, in bytes (8 GiB).
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
