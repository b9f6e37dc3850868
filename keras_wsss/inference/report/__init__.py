"""The report of runs: one HTML file, with all that one would look at."""

from keras_wsss.inference.report.writing import write_report

__all__ = ["write_report"]
