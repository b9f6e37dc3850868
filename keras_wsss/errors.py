"""Errors a user can fix. Commands print them as one message, without a traceback."""


def one_line(error: object) -> str:
    """The text of an error without its line breaks."""
    return " ".join(str(error).split())


class WSSSError(Exception):
    """Something the user can put right; the message says what, where and how.

    ``exit_code`` is that of a command that ends with it.
    """

    exit_code = 2


class ConfigError(WSSSError):
    """A configuration that cannot be used: file, key, value and what is allowed."""


class DataError(WSSSError):
    """A data set that cannot be used: the file and the fix."""


class WeightsError(WSSSError):
    """Weights that cannot be found or do not fit the network."""


class TrainingError(WSSSError):
    """A training that cannot go on, for example after a loss that is not a number."""


class InterruptionError(WSSSError):
    """A training that was told to stop and has saved its state; the message says how to go on."""

    exit_code = 130


class ServingError(WSSSError):
    """A server that cannot start, cannot be reached, refuses a request or answers nonsense."""


class ExportError(WSSSError):
    """A model that could not be exported, or differs from the trained one."""
