"""Run the real Claude Code in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.lab.install import CLAUDE
from tests.lab.stub_model import StubModel
from tests.lab.tmux import LOOK_EVERY_S, LabTimeout, PrivateTmux

KEY = "sk-ant-stub-" + "0" * 20
SETTLED_S = 1.0  # at its first paint Claude may swallow an Enter; 16 of 16 were taken even there
PASTE_WINDOW_S = 0.15  # Claude joins an Enter within 100 ms to the paste
START_LIMIT_S = 30.0
RULE = "─" * 10


class ClaudeMissing(Exception):
    """Claude Code is not installed: run `python -m tests.lab.install claude` or set NOVA_CLAUDE_BIN."""


def find_claude() -> Path | None:
    """The binary: `$NOVA_CLAUDE_BIN`, else the one installed under `.lab`, else None."""
    named = os.environ.get("NOVA_CLAUDE_BIN")
    path = Path(named) if named else CLAUDE
    return path if os.access(path, os.X_OK) else None


@dataclass(frozen=True, slots=True)
class ClaudeLab:
    """One Claude Code in one pane; use it in a `with`, or call `stop`."""

    server: PrivateTmux
    pane: str

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

        `settings` becomes the home's `.claude/settings.json` (hooks and all). `env` adds to its environment;
        a PATH there goes in front. `in_shell` starts it from a shell, which remains when it exits.
        Raises ClaudeMissing, or LabTimeout when it shows no composer in time.
        """
        binary = find_claude()
        if binary is None:
            raise ClaudeMissing(str(ClaudeMissing.__doc__))
        server = PrivateTmux.create(env={**_environment(stub), **(env or {})})
        try:
            _furnish(server.home, directory.resolve(), settings)
            command = shlex.join([str(binary), *arguments])
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
        """The pane's visible screen."""
        return self.server.capture(self.pane, escapes=escapes)

    def wait_for(self, wanted: str | Callable[[str], bool], timeout_s: float = 15.0) -> str:
        """Wait until the screen holds a text or satisfies a predicate; gives that screen."""
        return self.server.wait_for(self.pane, wanted, timeout_s)

    def wait_ready(self, timeout_s: float = START_LIMIT_S) -> None:
        """Wait until the composer has stood for a second, after which no Enter is swallowed."""
        until = time.monotonic() + timeout_s
        since: float | None = None
        while since is None or time.monotonic() - since < SETTLED_S:
            screen = self.capture()
            if composer(screen) is None:
                since = None
            elif since is None:
                since = time.monotonic()
            if since is None and time.monotonic() > until:
                raise LabTimeout(f"Claude Code showed no composer in {timeout_s} s; the screen was\n{screen}")
            time.sleep(LOOK_EVERY_S)

    def submit(self, text: str) -> None:
        """Paste a prompt, see it land, and press Enter after Claude's paste window."""
        before = composer(self.capture())
        self.server.paste(self.pane, text)
        self.wait_for(lambda screen: composer(screen) not in (None, before))
        time.sleep(PASTE_WINDOW_S)
        self.server.press(self.pane, "Enter")

    def stop(self) -> None:
        """End the agent, its tmux server and whatever it left running; remove its home."""
        self.server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def composer(screen: str) -> str | None:
    """What stands between the last two rules, None when that is no composer (a dialog, a start screen)."""
    rows = screen.splitlines()
    rules = [index for index, row in enumerate(rows) if row.startswith(RULE)]
    inside = rows[rules[-2] + 1 : rules[-1]] if len(rules) > 1 else []
    return "\n".join(inside) if inside and inside[0].startswith("❯") else None


def _environment(stub: StubModel) -> dict[str, str]:
    quiet = (
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "DISABLE_BUG_COMMAND",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_TELEMETRY",
    )
    return {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": KEY, **dict.fromkeys(quiet, "1")}


def _furnish(home: Path, directory: Path, settings: Mapping[str, Any] | None) -> None:
    """Write the agent's own files: onboarding done, the key approved, the folder trusted."""
    state = {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
        "projects": {str(directory): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
    }
    (home / ".claude.json").write_text(json.dumps(state), encoding="utf-8")
    (home / ".claude").mkdir()
    if settings is not None:
        (home / ".claude" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
