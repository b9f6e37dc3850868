"""Errors a user can fix. Commands print them as one message, without a traceback."""


class WSSSError(Exception):
    """Something the user can put right; the message says what, where and how."""


class ConfigError(WSSSError):
    """A configuration that cannot be used: file, key, value and what is allowed."""


class DataError(WSSSError):
    """A data set that cannot be used: the file and the fix."""


class WeightsError(WSSSError):
    """Weights that cannot be found or do not fit the network."""


class TrainingError(WSSSError):
    """A training that cannot go on, for example after a loss that is not a number."""


class ServingError(WSSSError):
    """A server that cannot start, cannot be reached, refuses a request or answers nonsense."""


class ExportError(WSSSError):
    """A model that could not be exported, or differs from the trained one."""
