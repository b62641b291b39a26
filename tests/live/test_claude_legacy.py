"""A real Claude Code gets what `send-claude-message.sh` sends it: with a daemon, and by plain tmux without one."""

from __future__ import annotations

import sys

import pytest

from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import claude_node
from tests.support.legacy import SEND, Said, run
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), needs(ClaudeLab)]


def test_a_message_and_a_command_reach_claude_with_the_daemon_and_without_it() -> None:
    with claude_node(hooked=True) as claude:
        env = {**claude.node.environment, "NOVA_PYTHON": sys.executable}
        target = claude.lab.server.value(claude.lab.pane, "session_name") + ":0"

        def sent(text: str) -> None:
            said = run(SEND, target, text, env=env)
            assert (said.out, said.code) == (f"Message sent to {target}: {text}\n".encode(), 0), said

        claude.wait_idle()
        for with_daemon in (True, False):
            if not with_daemon:
                claude.node.kill()
            mark = f"[[daemon {with_daemon}]]"
            sent(f"{mark} please; go on")
            claude.wait_received(mark)
            sent("/clear")  # Claude's own command: it clears the screen, and no model hears of it
            until(lambda: "please" not in claude.lab.capture(), 15, "an empty screen")
        assert claude.received("/clear") == 0
        assert run(SEND, "nobody:0", "x", env=env) == Said(
            b"",
            "send-claude-message.sh: nobody:0: there is no session nobody. List them: tmux list-sessions\n",
            5,
        )
