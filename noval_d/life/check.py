"""Look what can be started: the directory, and commands on the agent's own PATH."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping

from nova_torch.errors import InvalidRequest, NotFound
from noval_d.agents.driver import Driver
from noval_d.life.plan import Plan
from noval_d.life.wish import argv_of
from noval_d.tmux.server import TmuxSocket


async def check(plan: Plan, driver: Driver, socket: TmuxSocket) -> None:
    """Raise NotFound when the plan's directory or command is not there. Nothing has happened yet then."""
    from noval_d.tmux.windows import search_path  # libtmux: 30 ms that only a start pays for

    path = plan.env.get("PATH") or await search_path(socket, plan.session)
    await asyncio.to_thread(_look, plan.cwd, argv_of(plan, driver)[0], path)


async def first_installed(
    role: str, commands: Mapping[str, str], env: Mapping[str, str], session: str, socket: TmuxSocket
) -> str | None:
    """Return the first driver whose command is on the PATH that its agent would have.

    Raises InvalidRequest for a role that is called like a program there: rather that was meant.
    """
    from noval_d.tmux.windows import search_path

    path = env.get("PATH") or await search_path(socket, session)

    def found() -> str | None:
        if shutil.which(role, path=path) is not None:
            raise InvalidRequest(
                f"{role!r} is a program on the agent's PATH, and neither a template nor a driver.",
                f"To start it: novactl spawn ROLE --driver line -- {role}. An agent of that role: --driver claude",
            )
        return next((name for name, word in commands.items() if shutil.which(word, path=path)), None)

    return await asyncio.to_thread(found)


def _look(cwd: str, program: str, path: str) -> None:
    if not os.path.isdir(cwd):
        what = "is no directory" if os.path.exists(cwd) else "is not there"
        raise NotFound(f"the working directory {cwd} {what}.", "Name another one: --cwd")
    if not os.access(cwd, os.X_OK):
        raise NotFound(f"the working directory {cwd} cannot be entered.", "Check its permissions.")
    if "/" in program:
        whole = os.path.join(cwd, program)
        if not (os.path.isfile(whole) and os.access(whole, os.X_OK)):
            raise NotFound(f"there is no program {whole}.", "Name one that can be run.")
    elif shutil.which(program, path=path) is None:
        raise NotFound(
            f"there is no command {program!r} on the agent's PATH.",
            "Name it with its path, or give the agent a PATH: --env PATH=…",
        )
