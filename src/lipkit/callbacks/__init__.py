"""Keras callbacks."""

from lipkit.callbacks.condense import CondenseCallback
from lipkit.callbacks.guard import FiniteGuard
from lipkit.callbacks.loss_params import LossParamLog, LossParamScheduler
from lipkit.callbacks.monitor import MonitorCallback

__all__ = [
    "CondenseCallback",
    "FiniteGuard",
    "LossParamLog",
    "LossParamScheduler",
    "MonitorCallback",
]
