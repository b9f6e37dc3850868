"""Those for whom the server waits: how long it does, and who has to go where there are too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

Cut = Callable[[], None]


@dataclass
class _Wait:
    end: asyncio.TimerHandle
    size: int = 0


class WaitingRoom:
    """Clients that still have to send a request or to take an answer, the first to come first.

    Each has its time. Where there are too many, or where they hold too many bytes, the first one is
    cut off before: whoever sends all at once is gone again before that can happen to him, and so
    those who do nothing keep nobody out. Clients are known by the function that cuts them off. All
    methods are for the event loop's thread.

    Args:
        places: clients that may wait.
        max_held: bytes that they may hold in memory, all together.

    Example:

    >>> room = WaitingRoom(places=1000, max_held=2**29)
    >>> room.enter(transport.abort, seconds=75)  # doctest: +SKIP
    """

    def __init__(self, places: int, max_held: int):
        self._places = places
        self._max_held = max_held
        self._held = 0
        self._clients: dict[Cut, _Wait] = {}  # in the order in which they came

    def enter(self, cut: Cut, seconds: float, size: int = 0) -> None:
        """A client waits from now on, as the last in line; one that is here already moves there.

        Args:
            cut: ends it.
            seconds: that it has.
            size: bytes that it holds.
        """
        self.leave(cut)
        end = asyncio.get_running_loop().call_later(seconds, self._cut, cut)
        self._clients[cut] = _Wait(end)
        self.hold(cut, size)
        if len(self._clients) > self._places:
            self._cut(next(iter(self._clients)))

    def hold(self, cut: Cut, size: int) -> None:
        """A client holds so many bytes by now, if it still waits."""
        wait = self._clients.get(cut)
        if wait is None:
            return
        self._held += size - wait.size
        wait.size = size
        while self._held > self._max_held:
            self._cut(next(each for each, wait in self._clients.items() if wait.size))

    def leave(self, cut: Cut) -> None:
        """A client waits no longer, if it did."""
        wait = self._clients.pop(cut, None)
        if wait is not None:
            wait.end.cancel()
            self._held -= wait.size

    @asynccontextmanager
    async def waiting(self, seconds: float) -> AsyncIterator[None]:
        """A block that waits for a client.

        Raises:
            TimeoutError: the time is over, or others need the place.

        Example:

        >>> async with room.waiting(60):  # doctest: +SKIP
        ...     message = await anext(messages)
        """
        async with asyncio.timeout(None) as limit:

            def cut() -> None:
                limit.reschedule(0)

            self.enter(cut, seconds)
            try:
                yield
            finally:
                self.leave(cut)

    def _cut(self, cut: Cut) -> None:
        self.leave(cut)
        cut()
