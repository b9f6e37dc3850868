"""The optional packages of the server and the clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keras_wsss.errors import ConfigError


@contextmanager
def serving_extra() -> Iterator[None]:
    """Around imports of the extra ``serving``.

    Raises:
        ConfigError: one of its packages is not installed.

    Example:

    >>> with serving_extra():
    ...     import grpc
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"serving needs the package {error.name}: pip install 'keras_wsss[serving]'"
        ) from error
