"""Administer a tmux server through libtmux, off the event loop and with a time limit.

libtmux forks a tmux process a call, waits for it without a limit, and would start a server: here its calls run
in a few threads, what blocks is ended by its pid, and `-N` keeps a server from being started.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from nova_torch.errors import NovaError, TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.tmux.control import HIDDEN
from noval_d.tmux.server import TmuxSocket
from noval_d.tmux.targets import PLACE_FORMAT, Place, parse_places, resolve

if TYPE_CHECKING:
    import libtmux

T = TypeVar("T")

THREADS = 2  # a stopped server blocks a thread for one time limit, never for longer
GIVE_UP_AGAIN_S = 0.05

_pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="nova-libtmux")


async def with_server(
    socket: TmuxSocket,
    work: Callable[[libtmux.Server], T],
    *,
    timeout_s: float = 5.0,
    may_start: bool = False,
) -> T:
    """Run `work` with a libtmux server in a worker thread and return what it returns.

    With `may_start` a command that starts a server starts one; without, none ever does.
    Raises TmuxUnavailable (no server, no tmux, libtmux's own errors) and TmuxNotAnswering, after which the
    tmux processes that `work` waits for are killed, one after another until it returns.
    """
    future = _pool.submit(_translated, socket, work, may_start)
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(future)
    except TimeoutError as error:
        raise TmuxNotAnswering(
            f"the tmux server at {socket.path} did not answer within {timeout_s:g} s.",
            "Is it stopped or under heavy load? See: ps -o pid,stat,args -C tmux",
        ) from error
    finally:
        if not future.done():
            _give_up(future, socket)


async def places(socket: TmuxSocket, *, timeout_s: float = 5.0) -> tuple[Place, ...]:
    """Return where every pane of the server is to be found, hidden sessions of Nova-Torch left out."""

    def listed(server: libtmux.Server) -> bytes:
        done = server.cmd("list-panes", "-a", "-F", PLACE_FORMAT)
        if done.returncode:
            raise socket.unavailable(" ".join(done.stderr))
        return "\n".join(done.stdout).encode()

    found = parse_places(await with_server(socket, listed, timeout_s=timeout_s))
    return tuple(place for place in found if not place.session.startswith(HIDDEN))


async def resolve_target(socket: TmuxSocket, target: str, *, timeout_s: float = 5.0) -> PaneId:
    """Return the pane that `session:window[.pane]` means; see `targets.resolve`. Raises PaneNotFound."""
    return resolve(await places(socket, timeout_s=timeout_s), target)


def _translated(socket: TmuxSocket, work: Callable[[libtmux.Server], T], may_start: bool) -> T:
    import libtmux
    from libtmux.common import tmux_cmd
    from libtmux.exc import LibTmuxException, TmuxCommandNotFound

    class QuietServer(libtmux.Server):
        """libtmux's server, in UTF-8 whatever the locale, and never starting one that was not asked for."""

        def cmd(self, cmd: str, *args: Any, target: str | int | None = None) -> tmux_cmd:
            to = () if target is None else ("-t", str(target))
            never = () if may_start else ("-N",)
            return tmux_cmd("-u", *never, _socket_argument(socket), cmd, *to, *args)

    if not may_start and not os.path.exists(socket.path):
        raise socket.unavailable("there is no socket")
    try:
        return work(QuietServer(socket_path=socket.path))
    except TmuxCommandNotFound as error:
        raise TmuxUnavailable("cannot run tmux: it is not on PATH.", "Install tmux 3.2 or later.") from error
    except LibTmuxException as error:
        raise TmuxUnavailable(f"tmux refused: {error}.") from error
    except NovaError:
        raise
    except OSError as error:
        raise TmuxUnavailable(f"cannot run tmux: {error.strerror}.") from error


def _socket_argument(socket: TmuxSocket) -> str:
    return f"-S{socket.path}"  # one word, unlike the control client's: so it tells a libtmux process


def _give_up(future: Future[Any], socket: TmuxSocket) -> None:
    """Let go of a call: off the queue if it is still there, otherwise without any process it waits for."""
    if future.cancel() or future.done():
        return
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if _socket_argument(socket) in itertools.islice(child.cmdline(), 1, 4):
                child.kill()
    # What it does may be several tmux processes, one after another.
    asyncio.get_running_loop().call_later(GIVE_UP_AGAIN_S, _give_up, future, socket)
