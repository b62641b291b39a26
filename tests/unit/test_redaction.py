"""What is a secret, and that it is gone from whatever is shown."""

from __future__ import annotations

import pytest

from nova_torch import redaction

SECRET = "s3cret/with@all:of-it"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379", "redis://host:6379"),
        ("redis://me@host:1", "redis://me@host:1"),
        ("redis://me:word@host:1", "redis://me:***@host:1"),
        ("redis://:word@host:1", "redis://:***@host:1"),
        ("redis://me:wo@rd@host:1", "redis://me:***@host:1"),
        ("redis://me:wo/rd@host:1/0", "redis://me:***@host:1/0"),
        ("redis://me:wo:rd@host", "redis://me:***@host"),
        ("redis://me:two words@host", "redis://me:***@host"),
        ("redis://me:word@a:1,b:2/0", "redis://me:***@a:1,b:2/0"),
        ("redis+sentinel://me:word@a,b/mymaster", "redis+sentinel://me:***@a,b/mymaster"),
        ("unix:///run/a.sock", "unix:///run/a.sock"),
        ("embedded", "embedded"),
        ("me:word@host:1", "me:***@host:1"),
        ("redis:me:wo/rd@host:1", "redis:***@host:1"),
        ("host:6379", "host:6379"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redaction.without_password(url) == shown


def test_the_passwords_of_a_url_are_known_as_written_and_as_meant() -> None:
    assert set(redaction.passwords_of("redis://me:a%40b@host")) == {"a%40b", "a@b"}
    assert redaction.passwords_of("redis://me@host:1") == ()
    assert redaction.passwords_of("embedded") == ()


def test_variables_that_are_named_like_secrets_are_only_said_to_be_set() -> None:
    given = {
        "API_TOKEN": "a", "MyPassword": "b", "aws_secret": "c", "SSH_KEY": "d", "NOVA_NODE": "n",
        "NOVA_BROKER_URL": "redis://u:x@h",
    }  # fmt: skip
    hidden = dict.fromkeys(("API_TOKEN", "MyPassword", "aws_secret", "SSH_KEY"), "***")
    shown = {"NOVA_NODE": "n", "NOVA_BROKER_URL": "redis://u:***@h"}
    assert redaction.variables(given) == {**hidden, **shown}


@pytest.mark.parametrize(
    "text",
    [
        f"a line with {SECRET} in it",
        f"url=redis://me:{SECRET}@host:1 more",
        "url=redis://me:another-word@host:1 more",
        '{"url": "redis://me:another-word@host:1"}',
        "started: agent --api-key another-word --flag",
        "started: agent --token=another-word",
    ],
)
def test_no_secret_stays_in_a_text(text: str) -> None:
    shown = redaction.in_text(text, {SECRET})
    assert "***" in shown
    assert SECRET not in shown
    assert "another-word" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "broker.up url=redis://127.0.0.1:6379 lost=False epoch=3 by me@host",
        "the key file /etc/nova-torch/fleet-keys, can be read",
        "no broker at redis://h:1; ask somebody@example.org",
    ],
)
def test_what_is_no_secret_stays_in_a_text(text: str) -> None:
    assert redaction.in_text(text, {SECRET, "be"}) == text


def test_a_secret_within_a_secret_leaves_nothing_of_the_longer_one() -> None:
    assert redaction.in_text("password-and-more", {"password", "password-and-more"}) == "***"


def test_texts_are_found_wherever_they_are_in_a_value() -> None:
    value = {
        "a": [{SECRET: 1, "b": (f"x{SECRET}", None, 2.5, True)}],
        "argv": ["agent", "--api-key", "abc", "-v"],
    }
    assert redaction.in_value(value, [SECRET]) == {
        "a": [{"***": 1, "b": ["x***", None, 2.5, True]}],
        "argv": ["agent", "--api-key", "***", "-v"],
    }
