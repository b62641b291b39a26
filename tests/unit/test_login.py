"""How to log in at the broker: from a file or a credential, read anew, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.config import load
from nova_torch.errors import ConfigInvalid
from nova_torch.login import Login, read_login
from nova_torch.sections import BrokerSection


def test_a_password_comes_from_its_file_and_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "password"
    section = BrokerSection(password_file=str(file))
    for word in ("one", "two"):
        file.write_text(f"{word}\n")
        assert read_login(section, {}).password == word


def test_without_a_file_the_credential_of_systemd_is_taken(tmp_path: Path) -> None:
    (tmp_path / "broker-password").write_text("from systemd")
    assert read_login(BrokerSection(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}).password == "from systemd"
    assert read_login(BrokerSection(), {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}).password is None
    assert read_login(BrokerSection(), {}).password is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="nowhere cannot be read") as caught:
        read_login(BrokerSection(password_file=str(tmp_path / "nowhere")), {})
    assert "broker.password_file" in caught.value.hint


def test_a_login_prints_itself_without_its_password() -> None:
    assert repr(Login(password="geheim", ca_file="/ca.pem")) == "<Login password /ca.pem>"
    assert repr(Login()) == "<Login none>"


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("redis://h", "tls_ca_file", "Write rediss://"),
        ("embedded", "tls_cert_file", "Write rediss://"),
        ("rediss://h", "tls_key_file", "Add broker.tls_cert_file"),
    ],
)
def test_tls_files_that_make_no_sense_stop_the_start(tmp_path: Path, url: str, key: str, words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[broker]\nurl = "{url}"\n{key} = "/x.pem"\n')
    with pytest.raises(ConfigInvalid) as caught:
        load(str(file), {"HOME": str(tmp_path)})
    assert key in caught.value.message
    assert words in caught.value.hint
