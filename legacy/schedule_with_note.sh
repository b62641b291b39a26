#!/bin/sh
# Types a note into a tmux window later: schedule_with_note.sh [minutes] [note] [session:window]
# Part of Nova-Torch; docs/legacy.md says what it does otherwise than the original.
here=$(dirname -- "$(readlink -f -- "$0")") && . "$here/python.sh" && exec "$python" -I "$here/run.py" schedule "$0" "$@"
