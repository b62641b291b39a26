#!/bin/sh
# Types a message into a tmux window: send-claude-message.sh <session:window> <message>
# Part of Nova-Torch; docs/legacy.md says what it does otherwise than the original.
here=$(dirname -- "$(readlink -f -- "$0")") || exit 1
if [ ! -r "$here/python.sh" ] || [ ! -r "$here/run.py" ]; then
    echo "$0 was copied away from the files that it needs. Link to it where Nova-Torch has it, or: novactl legacy install" >&2
    exit 1
fi
. "$here/python.sh" && exec "$python" -I "$here/run.py" send "$0" "$@"
