"""The application: how commands end."""

import sys
from typing import NoReturn

import typer
from typer.core import TyperGroup

from lipkit.errors import NotCertifiable

DONE, NOT_CERTIFIED, BAD_INPUT = 0, 1, 2
UsageError: type[Exception] = typer.BadParameter.__base__  # of click, or of typer's copy of it


def fail(message, status=BAD_INPUT) -> NoReturn:
    """End with one line on the error stream."""
    typer.echo(f"lipkit: {' '.join(str(message).split())}", err=True)
    raise SystemExit(status)


class OneLine(TyperGroup):
    """Says in one line what was wrong with the input, instead of a traceback."""

    def main(self, args=None, prog_name=None, **extra) -> NoReturn:
        """Run a command and exit with the status that it returns."""
        try:
            status = super().main(args, prog_name, standalone_mode=False, **extra)
        except UsageError as error:
            message = error.format_message()
            fail(message if not error.ctx else f"{message} ({error.ctx.command_path} --help)")
        except NotCertifiable as error:
            fail(f"not certified: {error}", NOT_CERTIFIED)
        except MemoryError as error:
            fail(f"out of memory: {error}")
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}" if error.filename else error)
        except (ValueError, ImportError) as error:
            fail(error)
        sys.exit(status)


app = typer.Typer(
    cls=OneLine,
    invoke_without_command=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(context: typer.Context):
    """Lipschitz networks and their certificates: how far an input can move before the answer does.

    Start with `lipkit train DATA.csv --target COLUMN --out RUN`, then `lipkit report RUN`.

    Every command ends with status 0 (done), 1 (not certified, or a check failed) or 2 (bad input).
    The environment variable KERAS_BACKEND chooses between jax, tensorflow and torch.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
