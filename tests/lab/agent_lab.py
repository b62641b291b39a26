"""Run a real agent in a private tmux server, against the stub model, in a clean environment. One class an agent."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from noval_d.canary.kinds.kind import Kind
from noval_d.canary.model.stub_model import StubModel
from tests.lab.install import AGENTS, Installed
from tests.lab.tmux import LOOK_SELDOM_S, LabTimeout, PrivateTmux

START_LIMIT_S = 150.0  # on a machine ten times too busy opencode took more than 60 s


class AgentMissing(Exception):
    """The agent is not installed: run `python -m tests.lab.install NAME` or set NOVA_<NAME>_BIN."""


@dataclass(frozen=True, slots=True)
class AgentLab:
    """One agent in one pane; use it in a `with`, or call `stop`.

    A subclass says which kind of agent it is, and what its screen looks like.
    """

    kind: ClassVar[Kind]
    settled_s: ClassVar[float] = 1.0
    """How long the composer must have stood until the agent surely takes an Enter."""

    server: PrivateTmux
    pane: str

    # -- what a subclass says --

    @classmethod
    def settle(cls, home: Path, settings: Mapping[str, Any]) -> None:
        """Write `settings` (its hooks) into the agent's own files."""
        raise NotImplementedError

    @classmethod
    def hook_settings(cls) -> dict[str, Any]:
        """Return the `settings` with which the agent reports to our daemon; empty: it has no hooks."""
        return {}

    @classmethod
    def arguments(cls, stub: StubModel) -> tuple[str, ...]:
        """Return what stands behind the program's name."""
        return ()

    @staticmethod
    def composer(screen: str) -> str | None:
        """Return what the plain screen's composer shows, None when there is none."""
        raise NotImplementedError

    # -- what is the same for all --

    @classmethod
    def environment(cls, stub: StubModel) -> dict[str, str]:
        """Return the variables that lead the agent to the stub and keep it quiet."""
        return dict(cls.kind.environment(stub.url))

    @classmethod
    def furnish(
        cls, home: Path, directory: Path, stub: StubModel, settings: Mapping[str, Any] | None
    ) -> None:
        """Write the agent's own files: onboarding done, the folder trusted, `settings` (its hooks) if given."""
        cls.kind.furnish(home, directory, stub.url)
        if settings is not None:
            cls.settle(home, settings)

    @classmethod
    def installed(cls) -> Installed:
        return AGENTS[cls.kind.name]

    @classmethod
    def start(
        cls,
        directory: Path,
        stub: StubModel,
        *,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        columns: int = 200,
        lines: int = 50,
        wait_ready: bool = True,
        in_shell: bool = False,
    ) -> Self:
        """Start it in `directory`, which it then trusts.

        `env` adds to its environment; a PATH there goes in front. `in_shell` starts it from a shell, which
        remains when it exits. Raises AgentMissing, or LabTimeout when it shows no composer in time.
        """
        binary = cls.installed().find()
        if binary is None:
            raise AgentMissing(str(AgentMissing.__doc__))
        server = PrivateTmux.create(env={**cls.environment(stub), **(env or {})})
        try:
            cls.furnish(server.home, directory.resolve(), stub, settings)
            command = shlex.join([str(binary), *cls.arguments(stub), *arguments])
            size = {"columns": columns, "lines": lines}
            pane = server.open(
                "bash --noprofile --norc" if in_shell else command, directory=directory, **size
            )
            if in_shell:
                server.wait_for(pane, "$")
                server.tmux("send-keys", "-t", pane, "-l", command, ";", "send-keys", "-t", pane, "Enter")
            lab = cls(server, pane)
            if wait_ready:
                lab.wait_ready()
        except BaseException:
            server.stop()
            raise
        return lab

    @property
    def home(self) -> Path:
        return self.server.home

    @property
    def socket_path(self) -> Path:
        return self.server.socket_path

    def tmux(self, *arguments: str) -> str:
        """Run one tmux command line on the lab's server."""
        return self.server.tmux(*arguments)

    def capture(self, *, escapes: bool = False) -> str:
        """Return the pane's visible screen."""
        return self.server.capture(self.pane, escapes=escapes)

    def wait_for(self, wanted: str | Callable[[str], bool], timeout_s: float = 15.0) -> str:
        """Wait until the screen holds a text or satisfies a predicate; gives that screen."""
        return self.server.wait_for(self.pane, wanted, timeout_s)

    def wait_ready(self, timeout_s: float = START_LIMIT_S) -> None:
        """Wait until the composer has stood for `settled_s`, after which no Enter is swallowed."""
        until = time.monotonic() + timeout_s
        since: float | None = None
        while since is None or time.monotonic() - since < self.settled_s:
            screen = self.capture()
            if self.composer(screen) is None:
                since = None
            elif since is None:
                since = time.monotonic()
            if since is None and time.monotonic() > until:
                raise LabTimeout(
                    f"{self.installed().title} showed no composer in {timeout_s} s; the screen was\n{screen}"
                )
            time.sleep(LOOK_SELDOM_S)

    def stop(self) -> None:
        """End the agent, its tmux server and whatever it left running; remove its home."""
        self.server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
