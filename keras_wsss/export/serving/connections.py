"""HTTP connections that have their time for each of the things they do."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_wsss.export.serving.options import Options
from keras_wsss.export.serving.waiting_room import WaitingRoom


class Connection(H11Protocol):
    """uvicorn's connection, which by itself ends after an answer only, and waits otherwise.

    It is in the waiting room unless a whole request is at work. What it does there (nothing, to
    send a head or a body, to take an answer) has its time from its beginning on: a byte now and
    then wins no more of it.

    Args:
        room: of all connections.
        options: how long each may take.
        **given: what uvicorn gives.
    """

    def __init__(self, room: WaitingRoom, options: Options, **given: Any):
        super().__init__(**given)
        self._room = room
        self._seconds = {
            "idle": options.seconds_idle,
            "head": options.seconds_head,
            "body": options.seconds_body,
            "answer": options.seconds_answer,
        }
        self._max_body = options.max_body
        self._doing: str | None = None
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        self._look()
        if self._doing == "body":  # of a longer one nothing is kept
            self._room.hold(self._cut, min(self._received, self._max_body))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self._cut)
        self._doing = None
        super().connection_lost(exc)

    def _look(self) -> None:
        """Notes what it does now, if that is another thing."""
        doing = self._what()
        if doing == self._doing:
            return
        self._doing = doing
        if doing is None:
            self._received = 0
            self._room.leave(self._cut)
        else:
            unread = self.transport.get_write_buffer_size()
            self._room.enter(self._cut, self._seconds[doing], unread)

    def _what(self) -> str | None:
        if self.flow.write_paused:
            return "answer"
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        return "head" if self.conn.trailing_data[0] else "idle"

    def _cut(self) -> None:
        # To close it would be to wait until all has been read that was written.
        self.transport.abort()
