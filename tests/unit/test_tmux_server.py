"""Which socket NOVA_TMUX means, and what a client of ours inherits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nova_torch.errors import ConfigInvalid, InvalidRequest
from noval_d.tmux.control import quote, session_name
from noval_d.tmux.server import client_environment, find_socket


def test_a_name_is_a_socket_in_the_folder_that_tmux_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    folder = f"{os.path.realpath(tmp_path)}/tmux-{os.getuid()}"
    assert find_socket("lab").path == f"{folder}/lab"
    assert find_socket("").path == f"{folder}/default"


def test_a_path_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_socket("/run/x/s").path == "/run/x/s"
    assert find_socket("./s").path == str(tmp_path / "s")


def test_without_a_usable_tmux_tmpdir_it_is_below_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX_TMPDIR", "/no/such/folder")
    assert find_socket("x").path == f"{os.path.realpath('/tmp')}/tmux-{os.getuid()}/x"
    monkeypatch.delenv("TMUX_TMPDIR")
    assert find_socket("x").path == f"{os.path.realpath('/tmp')}/tmux-{os.getuid()}/x"


def test_the_pane_that_the_daemon_was_started_in_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/somewhere/else,1,0")
    monkeypatch.delenv("TMUX_TMPDIR", raising=False)
    assert "somewhere" not in find_socket("").path
    assert client_environment({"TMUX": "x", "TMUX_PANE": "%1", "HOME": "/h"}) == {"HOME": "/h"}


def test_a_name_with_control_characters_is_refused() -> None:
    with pytest.raises(ConfigInvalid):
        find_socket("a\nb")


def test_a_server_is_never_started_by_a_client_of_ours() -> None:
    assert find_socket("/run/s").argv("ls") == ["tmux", "-u", "-N", "-S", "/run/s", "ls"]


def test_the_hidden_session_is_named_after_the_node() -> None:
    assert session_name("host-1") == "_nova-host-1"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_tmux_cannot_take_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        quote(text)


def test_a_quoted_argument_is_never_empty_nor_broken_over_lines() -> None:
    assert quote("") == "''"
    assert "\n" not in quote("a\nb")
