"""A report of a run of `lipkit train`: one HTML page that needs nothing else."""

from lipkit.report.page import write_report

__all__ = ["write_report"]
