#!/bin/sh
# Run all tests: the ordinary ones on all cores, then those with real agents, which need their time.
set -eu
cd "$(dirname "$0")/../.."

# The developer's own node, tmux and broker are none of the tests' business.
for name in $(env | sed -n 's/^\(NOVA_[A-Z_]*\|DRAGONFLY_[A-Z_]*\|TMUX\|TMUX_PANE\)=.*/\1/p'); do
    case $name in NOVA_SEED | NOVA_*_BIN) ;; *) unset "$name" ;; esac
done

# LIVE: 1 (or nothing) for the shorter tests with real agents, 0 for none, all for all of them and nothing else.
LIVE=${LIVE:-1}
failed=0
# The slow ones, which mostly wait, come first; there are more of them at once than cores.
workers=$(($(nproc) + 2))
[ "$LIVE" = all ] ||
    .venv/bin/python -m pytest -q -n "$workers" --dist worksteal tests/faults tests/integration tests/unit || failed=1

# Which agents are there, or could be installed; one that this machine has no room for is skipped, and said.
live=
if [ "$LIVE" = 0 ]; then
    echo "LIVE=0: the tests with real agents were left out."
else
    for agent in ${AGENTS:-claude codex gemini opencode aider}; do
        status=0
        .venv/bin/python -m tests.lab.install "$agent" || status=$?
        case $status in
        0) live="$live $agent" ;;
        3) echo "SKIPPED: the tests with the real $agent; the reason stands above." ;;
        *)
            echo "The tests with the real $agent could not run. Without all of them: make test LIVE=0" >&2
            failed=1
            ;;
        esac
    done
    # one after the other: two real agents at once starve each other on two cores
    which="not long"
    [ "$LIVE" != all ] || which=live
    NOVA_REQUIRE_LIVE=$live NOVA_ONLY_LIVE=${AGENTS:-} \
        .venv/bin/python -m pytest -q -m "$which" tests/live || failed=1
fi
exit "$failed"
