"""Make the TLS side of a connection from the files that were named: read anew for each broker that is connected."""

from __future__ import annotations

import ssl

from nova_torch.errors import ConfigInvalid
from nova_torch.login import Login


def tls_context(login: Login) -> ssl.SSLContext:
    """Return a context that trusts who signed with `ca_file` (or whom the machine trusts), and checks the name.

    Raises ConfigInvalid naming the file that is missing or not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=login.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(
            f"the certificates of {login.ca_file} cannot be used: {_why(error)}.",
            "Correct broker.tls_ca_file.",
        ) from None
    if login.cert_file:
        try:
            context.load_cert_chain(login.cert_file, login.key_file or None, password=_no_passphrase)
        except (OSError, ssl.SSLError, ConfigInvalid) as error:
            raise ConfigInvalid(
                f"the certificate {login.cert_file} with the key {login.key_file or login.cert_file}"
                f" cannot be used: {_why(error)}.",
                "Correct broker.tls_cert_file and broker.tls_key_file.",
            ) from None
    return context


def _no_passphrase() -> str:
    """Called for a key that has one: without this OpenSSL would ask at the terminal."""
    raise ConfigInvalid("the key has a passphrase, which nobody could type")


def _why(error: Exception) -> str:
    if isinstance(error, ConfigInvalid):
        return error.message
    if isinstance(error, ssl.SSLError):
        known = {"KEY_VALUES_MISMATCH": "the key does not belong to the certificate"}
        return known.get(error.reason or "", "it is not a PEM file of that kind")
    return getattr(error, "strerror", None) or str(error)
