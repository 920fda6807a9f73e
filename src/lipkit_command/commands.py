"""The commands: one module each."""

from lipkit_command import attack, bound, certify, demo, export, report, train, w1
from lipkit_command.app import app

for module in (train, certify, bound, attack, export, report, w1, demo):
    app.command()(getattr(module, module.__name__.rpartition(".")[2]))

__all__ = ["app"]
