"""Tell the original's scripts from others by what they contain. No I/O."""

from __future__ import annotations

ORIGINAL, NOVA, FOREIGN = "the original", "of Nova-Torch", "not the original"

_OURS = b"Part of Nova-Torch"
_FACTS = {
    "send-claude-message.sh": (b"tmux send-keys", b"sleep", b"Usage:", b"<session:window>"),
    "schedule_with_note.sh": (b"tmux send-keys", b"sleep", b"Scheduling check in"),
    "tmux_utils.py": (b"class TmuxOrchestrator", b"list-sessions", b"capture-pane"),
}
"""What a script of that name has in it however its user changed paths and pauses in it."""
_LINES = {"send-claude-message.sh": 16, "schedule_with_note.sh": 22}
"""How many lines of code it has at most: twelve and sixteen, and a few of its user's. Public variants that do more
(prefix or clean the message, take a third argument, try again) have 19 to 130; ours would not do that for them."""


def kind_of(name: str, content: bytes) -> str:
    """Return what a file of one of the scripts' names is."""
    if _OURS in content:
        return NOVA
    lines = sum(1 for line in content.splitlines() if line.strip() and not line.strip().startswith(b"#"))
    does_more = lines > _LINES.get(name, lines)
    return ORIGINAL if all(fact in content for fact in _FACTS[name]) and not does_more else FOREIGN
