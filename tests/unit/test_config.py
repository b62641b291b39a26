"""The configuration: file, environment over it, and a sentence for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.config import load, without_password
from nova_torch.errors import ConfigInvalid

HOME = {"HOME": "/home/nobody"}


def written(folder: Path, text: str) -> str:
    (folder / "config.toml").write_text(text)
    return str(folder / "config.toml")


@pytest.mark.parametrize(
    ("text", "sentence", "cure"),
    [
        ("[delivery]\nmax_atempts = 3", "max_atempts", "Did you mean max_attempts?"),
        ("[delivry]\n", "delivry", "Did you mean delivery?"),
        ("[delivery]\nmax_attempts = 'many'", "delivery.max_attempts", "a whole number"),
        ("[delivery]\nmax_attempts = true", "delivery.max_attempts", "a whole number"),
        ("[delivery]\nmax_attempts = 0", "delivery.max_attempts", "between"),
        ("[node]\nname = 7", "node.name", "a text"),
        ("[control]\nwrite_users = 7", "control.write_users", "a list of texts"),
        ("[broker]\nurl = 'http://x'", "broker.url", "redis://"),
        ("node = 5", "node", "[node]"),
        ("[node\n", "cannot be read", "novactl config validate"),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(tmp_path: Path, text: str, sentence: str, cure: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(written(tmp_path, text), HOME)
    assert sentence in caught.value.message
    assert cure in caught.value.hint


def test_the_environment_is_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[node]\nname = 'file'\n[delivery]\nmax_attempts = 3\n[broker]\nlease_s = 40")
    env = {**HOME, "NOVA_NODE": "env", "NOVA_DELIVERY_MAX_ATTEMPTS": "9", "NOVA_BROKER_URL": "redis://h:1"}
    config = load(file, env)
    assert (config.node.name, config.delivery.max_attempts) == ("env", 9)
    assert (config.broker.url, config.broker.lease_s) == ("redis://h:1", 40)
    with pytest.raises(ConfigInvalid, match="max_atempts"):
        load(file, {**HOME, "NOVA_DELIVERY_MAX_ATEMPTS": "9"})


def test_no_password_is_ever_shown(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[broker]\nurl = 'redis://me:secret@host:1'"), HOME)
    assert "secret" not in str(config.shown())
    assert without_password("redis://me:secret@host:1") == "redis://me:***@host:1"


def test_a_file_that_is_named_must_exist() -> None:
    with pytest.raises(ConfigInvalid, match="does not exist"):
        load("/nonexistent/config.toml", HOME)
