"""Errors a user can fix. Commands print them as one message, without a traceback."""

import re

LONGEST = 1000  # characters; what files of strangers hold may be of any length
UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(error: object) -> str:
    """The text of an error without its line breaks.

    Example:

    >>> one_line(" not this,   and not that")
    'not this, and not that'
    """
    return " ".join(str(error).split())


class WSSSError(Exception):
    """Something the user can put right; the message says what, where and how.

    ``exit_code`` is that of a command that ends with it.

    Example:

    >>> try:
    ...     wsss.load("runs/none")
    ... except WSSSError as error:
    ...     print(error)
    runs/none: holds no model; it has to be ...
    """

    exit_code = 2


class ConfigError(WSSSError):
    """A configuration that cannot be used: file, key, value and what is allowed.

    Example:

    >>> wsss.load_config("photos", ["data.rot=my_set"])
    Traceback (most recent call last):
        ...
    keras_wsss.errors.ConfigError: --set data.rot=my_set: ...; did you mean data.root?
    """


class DataError(WSSSError):
    """A data set that cannot be used: the file and the fix.

    Messages quote files, so they are shortened, and brought to one line that any terminal shows.

    Example:

    >>> wsss.data.load("no_set")
    Traceback (most recent call last):
        ...
    keras_wsss.errors.DataError: no_set: no such file or folder
    """

    def __init__(self, message: object):
        text = UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(message))
        if len(text) > LONGEST:
            half = LONGEST // 2
            text = f"{text[:half]} ... {text[-half:]}"
        super().__init__(text)


class UnreadableError(DataError):
    """Files of a data set that turned out to be unreadable while they were used.

    ``split``: the :class:`~keras_wsss.data.Split`; ``broken``: position in it -> what is wrong
    with its files.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> UnreadableError(train, {3: "photo.jpg: is cut off"}).broken
    {3: 'photo.jpg: is cut off'}
    """

    def __init__(self, split: object, broken: dict[int, str]) -> None:
        self.split, self.broken = split, broken
        first, *more = broken.values()
        super().__init__(first + (f" (and {len(more)} more files)" if more else ""))


class WeightsError(WSSSError):
    """Weights that cannot be found or do not fit the network.

    Example:

    >>> wsss.backbones.load_weights(wsss.backbones.build_backbone("mit_tiny"), "tiny.npz")
    Traceback (most recent call last):
        ...
    keras_wsss.errors.WeightsError: tiny.npz: no such weight file; put it there, ...
    """


class TrainingError(WSSSError):
    """A training that cannot go on, for example after a loss that is not a number.

    Example:

    >>> issubclass(TrainingError, WSSSError)
    True
    """


class DivergenceError(TrainingError):
    """A training whose loss or weights are not finite; what it had saved before is kept.

    Example:

    >>> issubclass(DivergenceError, TrainingError)
    True
    """


class InterruptionError(WSSSError):
    """A command that was told to stop and has kept what is done; the message says how to go on.

    Example:

    >>> InterruptionError.exit_code
    130
    """

    exit_code = 130


class ServingError(WSSSError):
    """A server that cannot start, cannot be reached, refuses a request or answers nonsense.

    Example:

    >>> wsss.export.RestClient("http://localhost:1", "cats").wait(0)
    Traceback (most recent call last):
        ...
    keras_wsss.errors.ServingError: no server at http://localhost:1 in 0 s ...
    """


class ExportError(WSSSError):
    """A model that could not be exported, or differs from the trained one.

    Example:

    >>> issubclass(ExportError, WSSSError)
    True
    """
