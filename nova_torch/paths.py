"""Say where the socket, the state directory and the configuration are. Light: `os` only.

Daemon, CLI, scripts and hook shim resolve through here, so that they meet: whoever looks for a daemon by
`find_socket` and `find_state_dir`, which heed the configuration's file. Source: ARCHITECTURE, sections 3 and 5.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_NAME = "control.sock"
SPOOL_NAME = "hooks.spool"
LOG_NAME = "daemon.log"
SYSTEM_CONFIG = "/etc/nova-torch/config.toml"


def control_socket(
    env: Mapping[str, str] | None = None, *, explicit: str = "", state_dir: str | None = None
) -> str:
    """Return the absolute path of the control socket.

    `explicit` (--socket), else `$NOVA_SOCKET`, else below the first directory of `$RUNTIME_DIRECTORY`, else
    below `$XDG_RUNTIME_DIR` when that is a directory of this user, else below `state_dir`.
    """
    environment = os.environ if env is None else env
    given = explicit or environment.get("NOVA_SOCKET")
    if given:
        return os.path.abspath(given)
    runtime = environment.get("RUNTIME_DIRECTORY", "").split(":", 1)[0]  # systemd may name several
    if runtime:
        return os.path.join(os.path.abspath(runtime), SOCKET_NAME)
    session = environment.get("XDG_RUNTIME_DIR", "")
    if session.startswith("/") and _is_own_directory(session):
        return os.path.join(session, "nova-torch", SOCKET_NAME)
    return os.path.join(_state_dir(environment) if state_dir is None else state_dir, SOCKET_NAME)


def state_dir(env: Mapping[str, str] | None = None) -> str:
    """Return the absolute state directory: `$NOVA_STATE_DIR`, else `nova-torch` below `$XDG_STATE_HOME`."""
    return _state_dir(os.environ if env is None else env)


def find_socket(env: Mapping[str, str] | None = None, *, explicit: str = "") -> str:
    """Return the control socket of the daemon that runs with this environment and its configuration's file."""
    environment = os.environ if env is None else env
    if explicit or environment.get("NOVA_SOCKET"):
        return control_socket(environment, explicit=explicit)
    named = _configured(environment, "control", "socket")
    return named or control_socket(environment, state_dir=find_state_dir(environment))


def find_state_dir(env: Mapping[str, str] | None = None) -> str:
    """Return the state directory of the daemon that runs with this environment and its configuration's file."""
    environment = os.environ if env is None else env
    named = "" if environment.get("NOVA_STATE_DIR") else _configured(environment, "state", "dir")
    return named or _state_dir(environment)


def config_candidates(env: Mapping[str, str] | None = None, *, explicit: str = "") -> tuple[str, ...]:
    """Return the configuration files in the order they are tried; one that is named stands alone."""
    environment = os.environ if env is None else env
    named = explicit or environment.get("NOVA_TORCH_CONFIG")
    if named:
        return (os.path.abspath(named),)
    home = environment.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):
        home = os.path.join(_home(environment), ".config")
    return (os.path.join(home, "nova-torch", "config.toml"), SYSTEM_CONFIG)


def hook_spool(env: Mapping[str, str] | None = None) -> str:
    """Return the file that keeps the hooks' events while no daemon answers."""
    return os.path.join(find_state_dir(env), SPOOL_NAME)


def _configured(environment: Mapping[str, str], section: str, key: str) -> str:
    """Return what the configuration's file says; "" when it says nothing or cannot be read: its daemon tells why.

    Without a file this costs no more than not finding two of them; TOML is read only if it names the section.
    """
    for path in config_candidates(environment):
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if section.encode() not in data:
            return ""
        try:
            text = data.decode()
            plain = _plainly(text, section, key)
            if plain is not None:
                return plain
            import tomllib  # 20 ms, a hook has 50

            value = tomllib.loads(text)[section][key]
        except (ValueError, KeyError, TypeError):
            return ""
        return value if isinstance(value, str) else ""
    return ""


def _plainly(text: str, section: str, key: str) -> str | None:
    """Return the value of `key = "value"` on a line below `[section]`, "" for none; None: only TOML can tell."""
    if '"""' in text or "'''" in text:
        return None
    inside = False
    for line in text.split("\n"):
        words = line.strip()
        if words.startswith("["):
            inside = words == f"[{section}]"
            if not inside and section in words:
                return None
            continue
        name, _, value = words.partition("=")
        if not inside and section in name and not words.startswith("#"):
            return None
        if inside and name.strip().strip("\"'") == key:
            value = value.strip()
            plain = len(value) > 1 and value[0] == value[-1] == '"' and not set(value[1:-1]) & {'"', "\\"}
            return value[1:-1] if plain else None
    return ""


def _state_dir(environment: Mapping[str, str]) -> str:
    given = environment.get("NOVA_STATE_DIR")
    if given:
        return os.path.abspath(given)
    base = environment.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative path is to be ignored
        base = os.path.join(_home(environment), ".local", "state")
    return os.path.join(base, "nova-torch")


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _is_own_directory(path: str) -> bool:
    # After `su`, $XDG_RUNTIME_DIR may still be the other user's; in a container it may not exist.
    try:
        return os.path.isdir(path) and os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False
