"""Decide from the kernel's word who may use the control socket."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from nova_torch.errors import ConfigInvalid, NotAllowed
from nova_torch.nearest import suggestion
from noval_d.control.calls import Access, Peer

_UCRED = struct.Struct("3i")  # pid, uid, gid of unix(7)
_SO_PEERGROUPS = 59  # Linux 4.13; Python has no name for it
_GROUPS_BYTES = 1024  # 256 groups, the most that Python passes; beyond, the kernel says ERANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who connected, as of the moment of the connect."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Who may: `owner` (the daemon's user), root and `writers` write, members of `reading_group` read."""

    owner: int
    writers: frozenset[int] = frozenset()
    reading_group: int | None = None

    @classmethod
    def of(cls, users: Iterable[str] = (), group: str | None = None) -> Permissions:
        """Look up the configured names. Raises ConfigInvalid for one that this machine does not know."""
        return cls(
            owner=os.geteuid(),
            writers=frozenset(_uid(user) for user in users),
            reading_group=_gid(group) if group else None,
        )

    @property
    def mode(self) -> int:
        """The mode of the socket file: it only has to let in those whom `admit` then tells apart."""
        if self.writers - {self.owner, 0}:
            return 0o666
        return 0o600 if self.reading_group is None else 0o660

    def admit(self, who: Credentials) -> Peer:
        """Return the peer with its access. Raises NotAllowed for everybody else."""
        if who.uid in (self.owner, 0) or who.uid in self.writers:
            access = Access.WRITE
        elif self.reading_group is not None and self.reading_group in who.groups | {who.gid}:
            access = Access.READ
        else:
            raise NotAllowed(
                f"user {_user(who.uid)} may not use this daemon, which runs as {_user(self.owner)}.",
                "Run this as that user, or be named in the daemon's configuration.",
            )
        return Peer(uid=who.uid, gid=who.gid, pid=who.pid, groups=who.groups, access=access)


def read_credentials(sock: socket.socket) -> Credentials:
    """Ask the kernel who connected to this Unix socket, with the supplementary groups."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return Credentials(pid=pid, uid=uid, gid=gid, groups=_groups(sock, uid, gid))


def _groups(sock: socket.socket, uid: int, gid: int) -> frozenset[int]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:  # an older kernel, or more groups: what the user database says
        try:
            return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
        except (KeyError, OSError):
            return frozenset((gid,))
    return frozenset(group for (group,) in struct.iter_unpack("I", raw)) | {gid}


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        if name.isdecimal():
            return int(name)
        known = [entry.pw_name for entry in pwd.getpwall()]
        cure = suggestion(name, known, otherwise="Name a user of this machine.")
        raise ConfigInvalid(f"there is no user {name!r}.", cure) from None


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdecimal():
            return int(name)
        known = [entry.gr_name for entry in grp.getgrall()]
        cure = suggestion(name, known, otherwise="Name a group of this machine.")
        raise ConfigInvalid(f"there is no group {name!r}.", cure) from None
