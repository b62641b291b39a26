"""Say in one sentence why a broker does not do what it was asked, and what helps. No I/O."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from redis import exceptions as redis_errors

from nova_torch.errors import BrokerUnavailable, KeyUnfit

RIGHTS = "Give it the rules of docs/broker.md."
_PERMISSION = ("ACL failure in script", "The user executing the script can't run", "NOPERM")
"""What Valkey, Redis and DragonflyDB say of a right that is missing inside a script."""

_OWN_TROUBLE: tuple[tuple[type[Exception], str, str], ...] = (
    (
        redis_errors.BusyLoadingError,
        "still reads its data",
        "It is tried again until it has. Nothing needs to be done.",
    ),
    (
        redis_errors.ReadOnlyError,
        "is a replica that only reads",
        "Lead broker.url to the master, or make this one the master: REPLICAOF NO ONE.",
    ),
    (
        redis_errors.OutOfMemoryError,
        "is full (maxmemory)",
        "Raise its maxmemory, or delete what it holds for others.",
    ),
    (
        redis_errors.MasterDownError,
        "is a replica that has lost its master",
        "Lead broker.url to the master, or make this one the master: REPLICAOF NO ONE.",
    ),
    (
        redis_errors.ClusterDownError,
        "is a cluster that is not whole",
        "Start the servers that are missing; a replica takes a shard over by itself.",
    ),
    (
        redis_errors.ClusterCrossSlotError,
        "is a cluster, and keys that belong together are on different shards",
        "Give them one hash tag: docs/broker.md says which.",
    ),
    (
        redis_errors.AskError,  # and MovedError
        "is a node of a cluster, and another one has what was asked for",
        "It is asked anew which has what. Its user needs the rights to ask: +cluster|slots +asking.",
    ),
    (
        redis_errors.TryAgainError,
        "is a cluster, and what was asked for is on its way to another shard",
        "It is tried again until it has arrived. Nothing needs to be done.",
    ),
)

_SAID = (
    (
        "is not supported in cluster mode",
        "has no channels, since it is in cluster mode",
        "Start DragonflyDB with --cluster_mode=emulated, or bridge by a stream (docs/broker.md).",
    ),
    ("MISCONF", "cannot save its data and takes nothing more", "Make room on its disk; its log says why."),
    ("NOREPLICAS", "has fewer replicas than it wants (min-replicas-to-write)", "Start them again."),
    ("BUSY ", "is busy with somebody's script", "End that: SCRIPT KILL."),
    ("unknown command", "does not know a command that is needed", "Update it: docs/broker.md says to what."),
    ("max number of clients", "has as many clients as it takes", "Raise its maxclients."),
)


def unavailable(shown: str, error: Exception) -> BrokerUnavailable:
    """Say what went wrong with the broker at `shown`, and what helps."""
    said = _short(error)
    broker = f"the broker at {shown}"
    if isinstance(error, redis_errors.AuthenticationError):
        if "required" in said:
            return BrokerUnavailable(f"{broker} wants a password.", "Give it one: broker.password_file.")
        return BrokerUnavailable(
            f"{broker} refused the password.",
            "Correct broker.password_file (it is read at each attempt) or the user in broker.url.",
        )
    if isinstance(error, redis_errors.NoPermissionError) or any(words in said for words in _PERMISSION):
        return BrokerUnavailable(f"{broker} does not allow its user what is needed: {said}.", RIGHTS)
    if isinstance(error, redis_errors.InvalidResponse):
        return BrokerUnavailable(
            f"what answers at {shown} is no broker: {said}.", "Correct broker.url: the host, or the port."
        )
    if "WRONGTYPE" in said:
        return KeyUnfit(f"{broker} has a key of ours with another type.", "See which: novactl doctor")
    for kind, what, cure in _OWN_TROUBLE:
        if isinstance(error, kind):
            return BrokerUnavailable(f"{broker} {what}.", cure)
    for start, what, cure in _SAID:
        if start in said:
            return BrokerUnavailable(f"{broker} {what}: {said}.", cure)
    if isinstance(error, (redis_errors.TimeoutError, TimeoutError)):
        tls = ", or without TLS at this port" if shown.startswith("rediss") else ""
        return BrokerUnavailable(f"{broker} does not answer in time.", f"Is it stopped, or cut off{tls}?")
    if isinstance(error, (redis_errors.ConnectionError, OSError)):
        why, cure = _unreached(error, said, tls=shown.startswith("rediss://"))
        return BrokerUnavailable(f"cannot reach {broker}: {why}.", cure)
    return BrokerUnavailable(f"{broker} refused: {said}.", "Its own log may say more.")


def _unreached(error: Exception, said: str, *, tls: bool) -> tuple[str, str]:
    """Return why there is no connection, and what helps."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "its host name is not known", "Correct broker.url, or ask the name server."
        if isinstance(cause, ssl.SSLError):
            return _tls(cause)
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there", "Is it running?"
    if tls and ("closed" in said or "reset by peer" in said):
        # with TLS 1.3 the end of the connection may overtake the word that says why
        return (
            said,
            "Is it just ending, or does it want (another) certificate of the client: broker.tls_cert_file?",
        )
    if "closed" in said or "reset by peer" in said:
        return said, "Is it just ending, or does it want TLS (rediss://)? Its own log may say."
    return said, "Is it running?"


def _tls(error: ssl.SSLError) -> tuple[str, str]:
    """Return what is wrong between a certificate and us, and what helps."""
    said = _short(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        if "expired" in why:
            return f"its certificate has expired ({why})", "Renew the broker's certificate."
        if "not yet valid" in why:
            return f"its certificate is not yet valid ({why})", "Compare the clocks of both machines."
        if "mismatch" in why or "doesn't match" in why:
            return (
                f"its certificate is for another name ({why})",
                "Write into broker.url the name that the certificate has, or make one for this name.",
            )
        return (
            f"its certificate is not signed by anybody who is trusted ({why})",
            "Name the file of the authority that signed it: broker.tls_ca_file.",
        )
    if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said:
        return "it does not speak TLS at this port", "Write redis:// for it, or name its TLS port."
    if "CERTIFICATE_REQUIRED" in said or "HANDSHAKE_FAILURE" in said:
        return (
            "it wants a certificate of the client",
            "Name one: broker.tls_cert_file and broker.tls_key_file.",
        )
    if "CERTIFICATE_EXPIRED" in said:
        return "it says that our certificate has expired", "Renew that of broker.tls_cert_file."
    if "UNKNOWN_CA" in said or "BAD_CERTIFICATE" in said:
        return (
            f"it does not accept our certificate ({said})",
            "Use one that its authority signed: broker.tls_cert_file.",
        )
    return f"TLS failed ({said})", "Are both sides set up for the same TLS?"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160].rstrip(". ") if str(error) else type(error).__name__
