#!/bin/sh
# Types a message into a tmux window: send-claude-message.sh <session:window> <message>
# Part of Nova-Torch; docs/legacy.md says what it does otherwise than the original.
here=$(dirname -- "$(readlink -f -- "$0")") && . "$here/python.sh" && exec "$python" -I "$here/run.py" send "$0" "$@"
