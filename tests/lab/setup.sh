#!/bin/sh
# Make .venv with the project and its test tools, and see that tmux is there. Quick when nothing has changed.
# What cannot be done by itself is said in one sentence.
set -eu
cd "$(dirname "$0")/../.."

STAMP=.venv/.installed

fail() {
    echo "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null
}

# quietly COMMAND...: its output is shown only when it fails
quietly() {
    log=$(mktemp)
    status=0
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# apt PACKAGE...
apt() {
    echo "setup: installing $* by apt-get"
    quietly as_root apt-get update -qq &&
        quietly as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" ||
        fail "apt-get could not install $*: its own words stand above."
}

pip() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"
}

good_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if good_python "$name"; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.11 or newer was found: install one, or name it: make PYTHON=/path/to/python3 setup"
}

# What is installed depends on these; a copied or moved .venv is not this one.
wanted() {
    pwd
    cat pyproject.toml VERSION
}

make_venv() {
    python=$(find_python) || exit 1
    rm -rf .venv
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then :; elif may_install; then
        apt "$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
    else
        fail "$python cannot make virtual environments: install its venv package (Debian: python3-venv)."
    fi
    "$python" -m venv .venv
    # A newer pip writes console scripts without `import re`: novactl starts some milliseconds earlier.
    quietly pip install --upgrade pip ||
        echo "setup: pip could not be upgraded; the one that is there does as well" >&2
}

command -v tmux >/dev/null || {
    if may_install; then apt tmux; else fail "tmux is not installed: install tmux 3.2 or newer."; fi
}

if [ -f "$STAMP" ] && wanted | cmp -s - "$STAMP" && good_python .venv/bin/python; then
    exit 0
fi
echo "setup: making .venv ready, once (a minute)"
if ! { good_python .venv/bin/python && head -n 1 .venv/bin/pip 2>/dev/null | grep -qF "#!$(pwd)/.venv/bin/"; }; then
    make_venv
fi
quietly pip install -e '.[test]' ||
    fail "pip could not install the project: its own words stand above."
wanted >"$STAMP"
