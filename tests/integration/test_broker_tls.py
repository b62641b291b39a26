"""TLS to a real server: whom a node trusts, whom the broker does, and what is said when they do not agree."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable, ConfigInvalid, NovaError
from nova_torch.login import Login
from tests.support.agents import raw
from tests.support.aio import run
from tests.support.node import node, until
from tests.support.servers import PASSWORD, OwnServer, free_port, own_server

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server with a TLS port, and the authorities of both sides."""

    server: OwnServer
    port: int
    folder: Path
    ours: trustme.CA
    others: trustme.CA

    def url(self, host: str = "localhost") -> str:
        return f"rediss://{host}:{self.port}"

    def file(self, name: str, *blobs: trustme.Blob) -> str:
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def trusting(self, ca: trustme.CA) -> str:
        return self.file(f"ca-{'ours' if ca is self.ours else 'others'}.pem", ca.cert_pem)

    def named(self, ca: trustme.CA, name: str = "node") -> tuple[str, str]:
        """Return the files of a client's certificate and key."""
        made = ca.issue_cert(f"{name}.example")
        return (
            self.file(f"{name}.pem", *made.cert_chain_pems),
            self.file(f"{name}.key", made.private_key_pem),
        )

    def shows(self, cert: trustme.LeafCert, *, clients: str = "no") -> None:
        """Have the server show this certificate, and want one of its clients or not."""
        files = (
            ("tls-cert-file", self.file("server.pem", *cert.cert_chain_pems)),
            ("tls-key-file", self.file("server.key", cert.private_key_pem)),
        )
        self.server.ask(
            "CONFIG", "SET", *(word for pair in files for word in pair), "tls-auth-clients", clients
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Debian's redis-check-rdb is its redis-server under another name, in a package that starts no service
    binary = shutil.which("redis-check-rdb")
    if binary is None:
        pytest.skip("no server with TLS on this machine (Debian: redis-tools)")
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    ours, others = trustme.CA(), trustme.CA()
    cert = ours.issue_cert("localhost")
    site_files = {
        "ca.pem": ours.cert_pem,
        "first.pem": cert.cert_chain_pems[0],
        "first.key": cert.private_key_pem,
    }
    for name, blob in site_files.items():
        blob.write_to_path(str(folder / name))
    words = ["--tls-port", str(port), "--tls-cert-file", f"{folder}/first.pem"]
    words += ["--tls-key-file", f"{folder}/first.key", "--tls-ca-cert-file", f"{folder}/ca.pem"]
    with own_server(*words, "--tls-auth-clients", "no", binary=binary) as server:
        yield Site(server=server, port=port, folder=folder, ours=ours, others=others)


@pytest.fixture
def site(made: Site) -> Site:
    made.shows(made.ours.issue_cert("localhost"))
    return made


def failure(url: str, login: Login) -> NovaError:
    async def connected() -> None:
        async with await Broker.connect(url, login=login):
            pass

    with pytest.raises((BrokerUnavailable, ConfigInvalid)) as caught:
        run(connected())
    assert PASSWORD not in str(caught.value)
    return caught.value


def works(url: str, login: Login) -> bool:
    async def connected() -> bool:
        async with await Broker.connect(url, login=login) as broker:
            return (await broker.info()).kind == "redis"

    return run(connected())


def test_a_certificate_of_the_named_authority_for_the_name_of_the_url_is_accepted(site: Site) -> None:
    assert works(site.url(), Login(password=PASSWORD, ca_file=site.trusting(site.ours)))


@pytest.mark.parametrize("whom", ["others", "nobody in particular"])
def test_a_certificate_of_another_authority_is_refused(site: Site, whom: str) -> None:
    ca = site.trusting(site.others) if whom == "others" else ""
    error = failure(site.url(), Login(password=PASSWORD, ca_file=ca))
    assert "its certificate is not signed by anybody who is trusted" in error.message
    assert "broker.tls_ca_file" in error.hint


def test_a_certificate_for_another_name_is_refused(site: Site) -> None:
    error = failure(site.url("127.0.0.1"), Login(password=PASSWORD, ca_file=site.trusting(site.ours)))
    assert "its certificate is for another name" in error.message
    assert "127.0.0.1" in error.message
    assert "broker.url" in error.hint


def test_an_expired_certificate_is_refused(site: Site) -> None:
    site.shows(site.ours.issue_cert("localhost", not_before=PAST, not_after=PAST + dt.timedelta(days=9)))
    error = failure(site.url(), Login(password=PASSWORD, ca_file=site.trusting(site.ours)))
    assert "its certificate has expired" in error.message
    assert "Renew" in error.hint


def test_a_broker_that_wants_certificates_of_its_clients_gets_ours(site: Site) -> None:
    site.shows(site.ours.issue_cert("localhost"), clients="yes")
    ca = site.trusting(site.ours)
    cert, key = site.named(site.ours)
    assert works(site.url(), Login(password=PASSWORD, ca_file=ca, cert_file=cert, key_file=key))
    without = failure(site.url(), Login(password=PASSWORD, ca_file=ca))
    ended = ("reset by peer", "closed")  # with TLS 1.3 the end of the connection may overtake the alert
    assert any(why in without.message for why in ("it wants a certificate of the client", *ended))
    assert "broker.tls_cert_file" in without.hint
    cert, key = site.named(site.others, "stranger")
    strange = failure(site.url(), Login(password=PASSWORD, ca_file=ca, cert_file=cert, key_file=key))
    assert any(why in strange.message for why in ("it does not accept our certificate", *ended))
    assert "broker.tls_cert_file" in strange.hint
    old = site.ours.issue_cert("old.example", not_before=PAST, not_after=PAST + dt.timedelta(days=9))
    cert, key = site.file("old.pem", *old.cert_chain_pems), site.file("old.key", old.private_key_pem)
    expired = failure(site.url(), Login(password=PASSWORD, ca_file=ca, cert_file=cert, key_file=key))
    assert any(why in expired.message for why in ("it says that our certificate has expired", *ended))
    assert "broker.tls_cert_file" in expired.hint


def test_tls_at_a_port_without_it_and_the_other_way_round_are_told(site: Site) -> None:
    login = Login(password=PASSWORD, ca_file=site.trusting(site.ours))
    silent = failure(f"rediss://localhost:{site.server.port}", login)
    assert "without TLS at this port" in silent.hint
    error = failure(f"redis://localhost:{site.port}", Login(password=PASSWORD))
    assert "rediss://" in error.hint


def test_a_server_that_answers_in_plain_text_is_told() -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR in plain text\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(BrokerUnavailable, match="it does not speak TLS at this port"):
                await Broker.connect(f"rediss://127.0.0.1:{port}")

    run(scenario())


def test_files_that_cannot_be_used_are_named(site: Site) -> None:
    ca = site.trusting(site.ours)
    cert, key = site.named(site.ours)
    _, other_key = site.named(site.ours, "other")
    empty = site.folder / "empty.pem"
    empty.write_text("")
    for login, words in (
        (Login(ca_file=f"{site.folder}/nowhere.pem"), ("nowhere.pem", "No such file", "tls_ca_file")),
        (Login(ca_file=str(empty)), ("empty.pem", "not a PEM file", "tls_ca_file")),
        (
            Login(ca_file=ca, cert_file=f"{site.folder}/gone.pem"),
            ("gone.pem", "No such file", "tls_cert_file"),
        ),
        (Login(ca_file=ca, cert_file=cert, key_file=other_key), ("does not belong", "tls_key_file")),
        (Login(ca_file=ca, cert_file=cert, key_file=str(empty)), ("empty.pem", "tls_key_file")),
        (Login(ca_file=ca, cert_file=cert), ("node.pem", "tls_key_file")),
    ):
        said = str(failure(site.url(), login))
        assert [word for word in words if word not in said] == []
    assert key


def test_a_node_over_tls_says_what_is_wrong_and_takes_renewed_files_without_a_restart(
    site: Site, tmp_path: Path
) -> None:
    site.shows(site.ours.issue_cert("localhost"), clients="yes")
    cert, key = site.named(site.ours)
    ca = Path(site.trusting(site.others))
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(f"{PASSWORD}\n")
    env = {
        "NOVA_BROKER_URL": site.url(),
        "NOVA_BROKER_PASSWORD_FILE": str(password),
        "NOVA_BROKER_TLS_CA_FILE": str(ca),
        "NOVA_BROKER_TLS_CERT_FILE": cert,
        "NOVA_BROKER_TLS_KEY_FILE": key,
    }
    with node(start=False, env=env) as running:
        running.start()
        until(lambda: running.call("status")["tmux"][0]["state"] == "up", 45, "tmux")
        agent = raw(running, tmp_path)
        (finding,) = (c for c in running.call("status")["health"] if c["code"].startswith("broker"))
        assert "its certificate is not signed by anybody who is trusted" in finding["message"]
        assert "broker.tls_ca_file" in finding["hint"]
        assert running.send_wait("raw", "without it")["state"] == "submitted"
        ca.write_bytes(site.ours.cert_pem.bytes())
        until(lambda: running.call("status")["broker"]["state"] == "up", 45, "the broker")
        assert running.send_wait("raw", "over it")["state"] == "submitted"
        assert agent.bytes() == b"without it\rover it\r"
        assert running.process is not None
        told = [running.log(), *(running.novactl(*words).stdout for words in TELLING)]
        told += [Path(f"/proc/{running.process.pid}/{name}").read_text() for name in ("cmdline", "environ")]
        assert all(told)
        assert [text for text in told if PASSWORD in text] == []
        running.call("unregister", {"agent_id": "raw"})
        assert running.stop() == 0


TELLING = (("status",), ("status", "--json"), ("doctor",), ("config", "show"), ("health",))
