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

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
trap 'exit 130' INT TERM

# run_tests NAME ARGUMENTS...: run pytest. A few tests that failed beside the others are run again, one after the
# other, with nothing beside them, and are named: those that pass then have a race that is to be mended, and stop
# nobody. What fails again, or more than that, is a failure.
run_tests() {
    cache=$said/$1
    shift
    .venv/bin/python -m pytest -q -o cache_dir="$cache" "$@" && return 0
    [ $? = 1 ] || return 1
    .venv/bin/python -c 'import json, sys; print("\n".join(json.load(sys.stdin)))' \
        <"$cache/v/cache/lastfailed" >"$cache/again"
    [ "$(wc -l <"$cache/again")" -le 4 ] || return 1
    echo "== once more, alone:"
    sed 's/^/UNSTEADY /' "$cache/again"
    .venv/bin/python -m pytest -q -o cache_dir="$cache" "@$cache/again"
}

# The agents are installed while the ordinary tests run; what that says is shown when it is their turn.
if [ "$LIVE" != 0 ]; then
    agents=${AGENTS:-claude codex gemini opencode aider}
    for agent in $agents; do
        status=0
        .venv/bin/python -m tests.lab.install "$agent" >"$said/$agent" 2>&1 || status=$?
        echo "$status" >"$said/$agent.status"
    done &
    installing=$!
    trap 'kill "$installing" 2>/dev/null || :; rm -rf "$said"' EXIT
fi

# The slow ones, which mostly wait, come first; there are more of them at once than cores.
workers=$(($(nproc) * 4))
[ "$LIVE" = all ] ||
    run_tests ordinary -n "$workers" --dist worksteal tests/faults tests/integration tests/unit || failed=1

# Which agents are there, or could be installed; one that this machine has no room for is skipped, and said.
live=
if [ "$LIVE" = 0 ]; then
    echo "LIVE=0: the tests with real agents were left out."
else
    wait "$installing"
    for agent in $agents; do
        cat "$said/$agent"
        case $(cat "$said/$agent.status") in
        0) live="$live $agent" ;;
        3) echo "SKIPPED: the tests with the real $agent; the reason stands above." ;;
        *)
            echo "The tests with the real $agent could not run. Without all of them: make test LIVE=0" >&2
            failed=1
            ;;
        esac
    done
    # The shorter ones in a lane more than there are cores: two on two cores leave a third of them idle. All of them
    # one after the other: some put their agent under load.
    which="not long" lanes="-n $(($(nproc) + 1)) --dist worksteal"
    [ "$LIVE" != all ] || { which=live lanes=; }
    export NOVA_REQUIRE_LIVE="$live" NOVA_ONLY_LIVE="${AGENTS:-}"
    # shellcheck disable=SC2086 # two words, or none
    run_tests live $lanes -m "$which" tests/live || failed=1
fi
exit "$failed"
