"""Put the drop-in scripts into a directory as links, keeping what was there, and take them out again."""

from __future__ import annotations

import contextlib
import os

from nova_torch.errors import NotAllowed, NotFound, StoreFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("send-claude-message.sh", "schedule_with_note.sh", "tmux_utils.py")
DIRECTORY = "~/.local/bin"
BACKUP = ".before-nova-torch"
MOST = 1000  # backups of one name

OURS, MISSING, BROKEN, OTHER = "ours", "missing", "broken", "other"


def source(name: str) -> str:
    """Return where the script itself is: within this package, or beside it in a checkout. Raises NotFound."""
    package = os.path.dirname(os.path.realpath(__file__))
    for directory in (os.path.join(package, "legacy"), os.path.join(os.path.dirname(package), "legacy")):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return path
    raise NotFound(f"the script {name} is not part of this installation.", "Install nova-torch again.")


class DropIn:
    """One script in one directory."""

    def __init__(self, directory: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(os.path.abspath(os.path.expanduser(directory)), name)
        self.source = source(name)

    def __repr__(self) -> str:
        return f"<DropIn {self.path} {self.state()}>"

    def state(self) -> str:
        """Return what is there: ours, missing, broken (a link of ours to what is gone), or other."""
        if not os.path.lexists(self.path):
            return MISSING
        if os.path.realpath(self.path) == os.path.realpath(self.source):
            return OURS
        link = os.readlink(self.path) if os.path.islink(self.path) else ""
        ours = link.endswith(os.path.join("legacy", self.name))
        return BROKEN if ours and not os.path.exists(self.path) else OTHER

    def backups(self) -> list[str]:
        """Return what was kept of other scripts of this name, the oldest first."""
        return [path for path in map(self._backup, range(MOST)) if os.path.lexists(path)]

    def install(self, keep_as: str = "") -> str:
        """Put the link there; return where what was there is kept now, "" for nothing. Raises NotAllowed.

        `keep_as` is the backup's name if it has been settled before (`free_backup`): an install that died
        half-way is finished by the same call again.
        """
        kept = ""
        with _explained(self.path):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self.tidy()
            os.symlink(self.source, self._made)
            try:
                if self.state() == OTHER:
                    kept = self._keep_as(keep_as) if keep_as else self._keep()
                os.replace(self._made, self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self._made)
                raise
        return kept

    def tidy(self) -> None:
        """Take away the link that an install which died had made and not put in its place."""
        if os.path.islink(self._made):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._made)

    def remove(self) -> str:
        """Take our link away; return what was put back in its place, "" for nothing. Raises NotAllowed."""
        with _explained(self.path):
            backups = self.backups()
            if backups:
                os.replace(backups[-1], self.path)
                return backups[-1]
            os.unlink(self.path)
        return ""

    def free_backup(self) -> str:
        """Return the name under which the next install would keep what is there. Raises StoreFailed."""
        for kept in map(self._backup, range(MOST)):
            if not os.path.lexists(kept):
                return kept
        raise self._full()

    @property
    def _made(self) -> str:
        return f"{self.path}.new-nova-torch"

    def _backup(self, number: int) -> str:
        return f"{self.path}{BACKUP}{f'.{number}' if number else ''}"

    def _keep(self) -> str:
        """Keep what is there under a name that is free."""
        for kept in map(self._backup, range(MOST)):
            if os.path.lexists(kept):
                continue
            try:
                self._link(kept)
            except FileExistsError:
                continue  # somebody else was quicker
            return kept
        raise self._full()

    def _keep_as(self, kept: str) -> str:
        if not (os.path.lexists(kept) and os.path.samestat(os.lstat(kept), os.lstat(self.path))):
            self._link(kept)
        return kept

    def _link(self, kept: str) -> None:
        try:
            os.link(self.path, kept, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # a directory, or a file system without hard links
            os.rename(self.path, kept)

    def _full(self) -> StoreFailed:
        return StoreFailed(f"there are {MOST} backups of {self.path}.", "Delete some.")


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotAllowed(
            f"{path} cannot be changed: {error.strerror}.", "Name a directory of your own: --dir DIR"
        ) from None
