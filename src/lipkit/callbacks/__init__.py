"""Keras callbacks."""

from lipkit.callbacks.loss_params import LossParamLog, LossParamScheduler

__all__ = ["LossParamLog", "LossParamScheduler"]
