#!/bin/sh
# Run all tests: the ordinary ones on all cores, then those with the real Claude Code, which need their time.
set -eu
cd "$(dirname "$0")/../.."

# The developer's own node, tmux and broker are none of the tests' business.
for name in $(env | sed -n 's/^\(NOVA_[A-Z_]*\|DRAGONFLY_[A-Z_]*\|TMUX\|TMUX_PANE\)=.*/\1/p'); do
    case $name in NOVA_SEED | NOVA_CLAUDE_BIN) ;; *) unset "$name" ;; esac
done

failed=0
.venv/bin/python -m pytest -q -n auto tests/unit tests/integration tests/faults || failed=1

has_claude() {
    .venv/bin/python -c 'import sys; from tests.lab.claude import find_claude; sys.exit(find_claude() is None)'
}

if [ "${LIVE:-1}" = 0 ]; then
    echo "LIVE=0: the tests with the real Claude Code were left out."
elif has_claude || command -v npm >/dev/null; then
    if has_claude || .venv/bin/python -m tests.lab.install claude; then
        NOVA_REQUIRE_LIVE=1 .venv/bin/python -m pytest -q tests/live || failed=1
    else
        echo "The tests with the real Claude Code could not run. Without them: make test LIVE=0" >&2
        failed=1
    fi
else
    echo "SKIPPED tests/live: they need the real Claude Code, and npm to install it (Node.js 18 or newer)."
fi
exit "$failed"
