"""How to log in at the broker: what proves who we are, and which files say so. Read anew at each attempt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nova_torch.errors import ConfigInvalid

if TYPE_CHECKING:
    from nova_torch.sections import BrokerSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How we prove who we are, and the broker who it is. Its repr holds no secret."""

    password: str | None = None
    ca_file: str = ""
    """The authorities that may have signed the broker's certificate; the machine's own when empty."""
    cert_file: str = ""
    key_file: str = ""

    def __repr__(self) -> str:
        given = ("password" if self.password else "", self.ca_file, self.cert_file)
        return f"<Login {' '.join(part for part in given if part) or 'none'}>"


NOBODY = Login()


def read_login(section: BrokerSection, env: Mapping[str, str] | None = None) -> Login:
    """Return how to log in at the broker: the files as they are now.

    The password is that of `password_file`, else systemd's credential `broker-password`. Raises ConfigInvalid when
    the file is named and cannot be read.
    """
    environment = os.environ if env is None else env
    path = section.password_file
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    if not path and credentials and Path(credentials, "broker-password").is_file():
        path = str(Path(credentials, "broker-password"))
    try:
        password = Path(path).read_text(encoding="utf-8").strip() if path else None
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or "it is not UTF-8"
        raise ConfigInvalid(
            f"the broker's password file {path} cannot be read: {why}.", "Correct broker.password_file."
        ) from None
    return Login(
        password=password,
        ca_file=section.tls_ca_file,
        cert_file=section.tls_cert_file,
        key_file=section.tls_key_file,
    )
