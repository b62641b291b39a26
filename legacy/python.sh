# Sets $python: $NOVA_PYTHON, else that of a checkout, else that of the environment it is installed in, else python3.
python=${NOVA_PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    for candidate in "$here/../.venv/bin/python" "$here/../../../../../bin/python3"; do
        if [ -x "$candidate" ]; then
            python=$candidate
            break
        fi
    done
fi
