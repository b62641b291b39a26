"""Read secrets from files, or from the credentials that systemd gives a service; no text of ours has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from nova_torch.errors import ConfigInvalid
from nova_torch.sections import SigningSection
from nova_torch.signing import Keyring, read_keys

FLEET_KEYS = "fleet-keys"
"""The name of the credential with the fleet's keys."""
MOST_BYTES = 1 << 16


def secret_path(named: str, credential: str, env: Mapping[str, str] | None = None) -> str:
    """Return the file that is named, else that of a systemd credential if there is one, else ''."""
    environment = os.environ if env is None else env
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if named or not directory:
        return named
    path = os.path.join(directory, credential)
    return path if os.path.isfile(path) else ""


def read_keyring(section: SigningSection, env: Mapping[str, str] | None = None) -> Keyring:
    """Return the keys of the fleet; none when no file is named and there is no credential. Raises ConfigInvalid."""
    path = secret_path(section.key_file, FLEET_KEYS, env)
    if path:
        return read_keys(_private(path).splitlines(), path)
    if section.mode != "off":
        raise ConfigInvalid(
            f"signing.mode is {section.mode}, and there is no key.",
            f"Name a file of keys: signing.key_file, or give the credential {FLEET_KEYS}.",
        )
    return Keyring()


def readable_by(path: str, env: Mapping[str, str] | None = None) -> str:
    """Return who but the daemon's user can read a file, `everybody` or `its group`; '' for nobody.

    A file of root that the daemon's own group reads is closed. So is a credential of systemd, whatever its mode
    shows: that is the mask of the list that names the one user.
    """
    directory = (os.environ if env is None else env).get("CREDENTIALS_DIRECTORY")
    try:
        found = os.stat(path)
    except OSError:
        return ""  # that it is not there is told elsewhere
    if directory and os.path.realpath(path).startswith(os.path.realpath(directory) + os.sep):
        return ""
    if found.st_mode & stat.S_IROTH:
        return "everybody"
    ours = found.st_uid == 0 and found.st_gid == os.getegid() and os.geteuid() != 0
    return "its group" if found.st_mode & stat.S_IRGRP and not ours else ""


def _private(path: str) -> str:
    """Return the text of a file that not everybody can read or write. Raises ConfigInvalid."""
    try:
        with open(path, encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o027:
                raise ConfigInvalid(
                    f"the key file {path} is open to others (mode {mode:o}).", f"Close it: chmod 600 {path}"
                )
            return file.read(MOST_BYTES)
    except OSError as error:
        raise ConfigInvalid(
            f"the key file {path} cannot be read: {error.strerror}.", "Correct signing.key_file."
        ) from None
    except UnicodeDecodeError:
        raise ConfigInvalid(f"the key file {path} is no text.", "Correct signing.key_file.") from None
