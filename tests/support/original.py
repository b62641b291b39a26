"""Stand-ins for the original's scripts: not its text, only what it is known by."""

from __future__ import annotations

from pathlib import Path

SCRIPTS = {
    "send-claude-message.sh": """#!/bin/bash
# a stand-in
if [ $# -lt 2 ]; then
    echo "Usage: $0 <session:window> <message>"
    exit 1
fi
where="$1"; shift
tmux send-keys -t "$where" "$*"
sleep 0.5
tmux send-keys -t "$where" Enter
echo "Message sent to $where: $*"
""",
    "schedule_with_note.sh": """#!/bin/bash
# a stand-in
echo "Scheduling check in $1 minutes with note: $2"
(sleep 1; tmux send-keys -t "$3" "check") &
""",
    "tmux_utils.py": """# a stand-in
class TmuxOrchestrator:
    LIST = ["tmux", "list-sessions"]
    CAPTURE = ["tmux", "capture-pane"]
""",
}


def put(directory: Path) -> Path:
    """Put the stand-ins into a directory, each with a mode of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for (name, text), mode in zip(SCRIPTS.items(), (0o755, 0o711, 0o640), strict=True):
        (directory / name).write_text(text)
        (directory / name).chmod(mode)
    return directory


def tree(directory: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """What is in a directory: modes, times of change, bytes, links."""
    return {
        path.name: (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            str(path.readlink()) if path.is_symlink() else path.read_bytes(),
        )
        for path in directory.iterdir()
    }
