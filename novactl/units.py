"""The systemd units of this installation: filled in, told apart from changed ones, written and removed.

The first line of a written unit holds the sum of the rest, so one that somebody changed is known by it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys

from nova_torch.errors import InvalidRequest, NotAllowed, NotFound, StoreFailed
from nova_torch.version import VERSION

NAMES = ("nova-tmux.service", "nova-torchd.service", "nova-torchd.socket")
PURPOSE = {
    "nova-tmux.service": "the tmux server that the agents live in, apart from the daemon",
    "nova-torchd.service": "the daemon: stopping or restarting it touches no agent",
    "nova-torchd.socket": "optional: systemd holds the control socket, callers wait over a restart",
}
SYSTEM = "/etc/systemd/system"
RUN_AS = "nova"
BACKUP = ".before-nova-torch"
SHIPPED = re.compile(
    r"(?:/opt/nova-torch|%h/\.local)/bin/"
)  # where the units that are shipped expect the programs
STAMP = re.compile(r"# Written by novactl install-service \S+, sum ([0-9a-f]{16})\.\n")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING, SAME, OLDER, CHANGED = "missing", "same", "older", "changed"


class Unit:
    """One unit in one directory. `programs` is the directory of novactl and nova-torchd."""

    def __init__(self, name: str, directory: str, *, user: bool, programs: str, run_as: str) -> None:
        self.name = name
        self.path = os.path.join(directory, name)
        self.text = _stamped(_filled(_shipped(name, user=user), programs, run_as))

    def __repr__(self) -> str:
        return f"<Unit {self.path} {self.state()}>"

    def state(self) -> str:
        """Return what is there: missing, same, older (ours, of another version or place), or changed."""
        there = self._there()
        if there is None:
            return MISSING
        if there == self.text:
            return SAME
        return OLDER if _is_ours(there) else CHANGED

    def write(self) -> str:
        """Put it there; return where what somebody had changed is kept now, "" for nothing. Raises NotAllowed."""
        kept = ""
        made = f"{self.path}.new-nova-torch"
        with _explained(self.path):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            if self.state() == CHANGED:
                kept = self._free_backup()
                os.link(self.path, kept)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(made)
            descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    os.fchmod(descriptor, 0o644)
                    file.write(self.text)
                os.replace(made, self.path)
            except OSError:
                os.unlink(made)
                raise
        return kept

    def remove(self) -> None:
        """Take it away. Raises NotAllowed."""
        with _explained(self.path):
            os.unlink(self.path)

    def _there(self) -> str | None:
        try:
            with open(self.path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return ""
        except OSError as error:
            raise NotAllowed(f"{self.path} cannot be read: {error.strerror}.") from None

    def _free_backup(self) -> str:
        for number in range(1000):
            kept = f"{self.path}{BACKUP}{f'.{number}' if number else ''}"
            if not os.path.lexists(kept):
                return kept
        raise StoreFailed(f"there are 1000 backups of {self.path}.", "Delete some.")


def programs_here() -> str:
    """Return the directory of the programs of the running Python. Raises NotFound."""
    directory = os.path.dirname(os.path.abspath(sys.executable))
    if not os.access(os.path.join(directory, "nova-torchd"), os.X_OK):
        raise NotFound(
            f"nova-torchd is not in {directory}, beside the Python that runs this.",
            "Install nova-torch into an environment: pipx install nova-torch",
        )
    if re.search(r"[^A-Za-z0-9_./+@:,=-]", directory):
        raise InvalidRequest(
            f"the directory {directory} has characters that a unit cannot name.", "Install it elsewhere."
        )
    return directory


def user_directory() -> str:
    """Return where units of this user are: `$XDG_CONFIG_HOME/systemd/user`, else `~/.config/systemd/user`."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not config.startswith("/"):
        config = os.path.expanduser("~/.config")
    return os.path.join(config, "systemd", "user")


def check_reach(run_as: str, programs: str) -> None:
    """Raise NotFound when there is no such user, InvalidRequest when it cannot reach the programs."""
    import pwd

    try:
        user = pwd.getpwnam(run_as)
    except KeyError:
        raise NotFound(
            f"there is no user {run_as}.",
            f"Make it: useradd --create-home {run_as}; or name another: --run-as USER",
        ) from None
    directory = os.path.realpath(programs)
    while True:
        found = os.stat(directory)
        bit = (
            stat.S_IXUSR
            if found.st_uid == user.pw_uid
            else stat.S_IXGRP
            if found.st_gid == user.pw_gid
            else stat.S_IXOTH
        )
        if user.pw_uid != 0 and not found.st_mode & bit:
            raise InvalidRequest(
                f"the user {run_as} cannot reach {programs}: {directory} is closed to it.",
                "Install nova-torch where it can: python3 -m venv /opt/nova-torch",
            )
        if directory == "/":
            return
        directory = os.path.dirname(directory)


def _shipped(name: str, *, user: bool) -> str:
    package = os.path.dirname(os.path.realpath(__file__))
    below = os.path.join("user", name) if user else name
    for directory in (os.path.join(package, "systemd"), os.path.join(os.path.dirname(package), "systemd")):
        path = os.path.join(directory, below)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return file.read()
    raise NotFound(f"the unit {name} is not part of this installation.", "Install nova-torch again.")


def _filled(text: str, programs: str, run_as: str) -> str:
    text = SHIPPED.sub(f"{programs}/", text)
    return re.sub(rf"^(User|SocketUser)={RUN_AS}$", rf"\1={run_as}", text, flags=re.MULTILINE)


def _stamped(text: str) -> str:
    return f"# Written by novactl install-service {VERSION}, sum {_sum(text)}.\n{text}"


def _is_ours(text: str) -> bool:
    stamp = STAMP.match(text)
    return stamp is not None and stamp[1] == _sum(text[stamp.end() :])


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotAllowed(
            f"{path} cannot be changed: {error.strerror}.",
            "Run this as root, or for yourself alone: novactl install-service --user",
        ) from None
