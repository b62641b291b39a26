#!/bin/sh
# Types a note into a tmux window later: schedule_with_note.sh [minutes] [note] [session:window]
# Part of Nova-Torch; docs/legacy.md says what it does otherwise than the original.
here=$(dirname -- "$(readlink -f -- "$0")") || exit 1
if [ ! -r "$here/python.sh" ] || [ ! -r "$here/run.py" ]; then
    echo "$0 was copied away from the files that it needs. Link to it where Nova-Torch has it, or: novactl legacy install" >&2
    exit 1
fi
. "$here/python.sh" && exec "$python" -I "$here/run.py" schedule "$0" "$@"
