"""Write a report into one file for its owner alone: a new one, or over an old one in one step."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from nova_torch.errors import Conflict

SUFFIX = ".tar.gz"
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def default_name(now_s: float) -> str:
    """Return the name of a report that was made then."""
    return f"nova-torch-bugreport-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_s))}{SUFFIX}"


def packed(members: Sequence[tuple[str, str]], folder: str, now_s: float) -> bytes:
    """Return a tar.gz with these (name, text) below `folder`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in members:
            data = text.encode()
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mtime, info.mode = len(data), int(now_s), 0o600
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@contextlib.contextmanager
def new_file(path: str, *, force: bool) -> Iterator[BinaryIO]:
    """Give a new file of mode 0600, so that a place that cannot be written is told before any work.

    What fails, or is interrupted, leaves nothing and an old file as it was. Raises Conflict, OSError.
    """
    made = f"{path}.{os.getpid()}.new" if force else path
    try:
        descriptor = os.open(made, FLAGS, 0o600)
    except FileExistsError:
        raise Conflict(f"{made} is there already.", "Choose another with -o, or say --force.") from None
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            yield file
        if force:
            os.replace(made, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made)
        raise
