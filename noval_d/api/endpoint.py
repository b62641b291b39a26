"""One agent's HTTP API: the very process that serves it, and how it is asked. Speaks to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from noval_d.agents.driver import Driver
from noval_d.api.http import Answer, ApiFailed, Request, ask, events
from noval_d.api.ports import Socket, listening, port_named, variable
from noval_d.tmux.front import Front

ASK_S = 5.0
ANSWER_BYTES = 16 << 20
SILENT_S = 35.0  # opencode's events have a heartbeat every 10 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The API of the process `front`, at the socket that this process holds."""

    front: Front
    socket: Socket
    login: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return f"<Endpoint 127.0.0.1:{self.socket.port} of {self.front.pid}>"

    @property
    def name(self) -> str:
        """Names this very process: what it was asked, no other one has heard."""
        return f"{self.front.pid}.{self.front.started}"

    def is_of(self, front: Front | None) -> bool:
        """Tell whether it belongs to the process that leads the foreground of a pane."""
        return front is not None and self.front.is_same(front)

    async def ask(self, method: str, path: str, body: bytes = b"", *, within_s: float = ASK_S) -> Answer:
        """Return the answer to one request. Raises ApiFailed: then it is not known what became of it."""
        if not self.socket.held:
            raise ApiFailed("the agent does not listen any more")
        request = Request(method, path, body, self.login)
        return await ask(
            self.socket.port,
            request,
            owner=lambda: self.socket.held,
            within_s=within_s,
            max_bytes=ANSWER_BYTES,
        )

    async def get(self, path: str, *, within_s: float = ASK_S) -> bytes:
        """Return what is there. Raises ApiFailed, also for any answer but 200."""
        answer = await self.ask("GET", path, within_s=within_s)
        if answer.status != 200:
            raise ApiFailed(f"{path.partition('?')[0]} answers {answer.status}")
        return answer.body

    def events(self, path: str) -> AsyncIterator[bytes]:
        """Yield the events from now on. Raises ApiFailed at their end."""
        request = Request("GET", path, login=self.login)
        return events(
            self.socket.port, request, owner=lambda: self.socket.held, first_s=ASK_S, silent_s=SILENT_S
        )


def endpoints(driver: Driver, front: Front | None) -> list[Endpoint]:
    """Return where the process in front serves an API, as far as its sockets tell; most likely one or none."""
    if front is None or not driver.api_kind:
        return []
    wanted = port_named(front.argv, driver.api_port) if driver.api_port else None
    found = [socket for socket in listening(front.pid) if wanted in (None, socket.port)]
    if not found:
        return []
    password = variable(front.pid, driver.api_password) if driver.api_password else None
    login = f"{driver.api_user}:{password}" if password else ""
    return [Endpoint(front=front, socket=socket, login=login) for socket in found]
