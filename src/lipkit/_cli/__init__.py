"""The command line: one module a command."""

from lipkit._cli import attack, bound, certify, demo, export, report, train, w1
from lipkit._cli.app import app

for module in (train, certify, bound, attack, export, report, w1, demo):
    app.command()(getattr(module, module.__name__.rpartition(".")[2]))

__all__ = ["app"]
