"""Where the socket, the state directory and the configuration are."""

from __future__ import annotations

from pathlib import Path

from nova_torch import paths


def test_the_socket_is_the_first_place_that_is_named(tmp_path: Path) -> None:
    run = str(tmp_path)
    env = {
        "NOVA_SOCKET": "/n/s",
        "RUNTIME_DIRECTORY": "/run/nova-torch:/run/other",
        "XDG_RUNTIME_DIR": run,
        "NOVA_STATE_DIR": "/state",
    }
    assert paths.control_socket(env, explicit="/e/s") == "/e/s"
    assert paths.control_socket(env) == "/n/s"
    del env["NOVA_SOCKET"]
    assert paths.control_socket(env) == "/run/nova-torch/control.sock"
    del env["RUNTIME_DIRECTORY"]
    assert paths.control_socket(env) == f"{run}/nova-torch/control.sock"
    del env["XDG_RUNTIME_DIR"]
    assert paths.control_socket(env) == "/state/control.sock"
    assert paths.control_socket(env, state_dir="/other") == "/other/control.sock"


def test_a_runtime_directory_that_is_not_ours_is_passed_over(tmp_path: Path) -> None:
    env = {"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path / "missing")}
    assert paths.control_socket(env) == "/h/.local/state/nova-torch/control.sock"
    env["XDG_RUNTIME_DIR"] = "relative"
    assert paths.control_socket(env) == "/h/.local/state/nova-torch/control.sock"


def test_relative_names_are_made_absolute_and_relative_xdg_is_ignored(tmp_path: Path) -> None:
    here = str(Path.cwd())
    assert paths.control_socket({"NOVA_SOCKET": "s"}) == f"{here}/s"
    assert paths.state_dir({"NOVA_STATE_DIR": "d"}) == f"{here}/d"
    assert paths.state_dir({"HOME": "/h", "XDG_STATE_HOME": "x"}) == "/h/.local/state/nova-torch"
    assert paths.state_dir({"HOME": "/h", "XDG_STATE_HOME": "/x"}) == "/x/nova-torch"


def test_who_looks_for_a_daemon_heeds_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    env = {"HOME": "/h", "NOVA_TORCH_CONFIG": str(file), "RUNTIME_DIRECTORY": "/run/x"}
    assert paths.find_socket(env) == "/run/x/control.sock"
    file.write_text('[control]\nsocket = "/c/s"\n[state]\ndir = "/c/state"\n')
    assert (paths.find_socket(env), paths.find_state_dir(env)) == ("/c/s", "/c/state")
    assert paths.hook_spool(env) == "/c/state/hooks.spool"
    assert paths.find_socket(env, explicit="/e/s") == "/e/s"
    named = {**env, "NOVA_SOCKET": "/n/s", "NOVA_STATE_DIR": "/n/state"}
    assert (paths.find_socket(named), paths.find_state_dir(named)) == ("/n/s", "/n/state")
    file.write_text('state = {dir = "/c/state"}\n')
    assert paths.find_socket({**env, "RUNTIME_DIRECTORY": ""}) == "/c/state/control.sock"
    for written in (
        '[control] # where it is\nsocket = "/c/s"',
        "[control]\nsocket = '/c/s' # here",
        '[control]\n# socket = "/no"\n"socket" = "/c/s"\n',
        'control.socket = "/c/\\u0073"',
        '[bridges]\nkey = """\n[control]\nsocket = "/no"\n"""\n[control]\nsocket = "/c/s"',
        '[ control ]\nsocket = "/c/s"\n',
    ):
        file.write_text(written)
        assert paths.find_socket(env) == "/c/s", written
    for broken in ("[control]\nsocket = ", "[control]\nsocket = 5", 'control = "s"', "[delivery]\n", "\xff"):
        file.write_bytes(broken.encode("latin-1"))
        assert paths.find_socket(env) == "/run/x/control.sock", broken


def test_a_named_configuration_stands_alone() -> None:
    env = {"HOME": "/h"}
    assert paths.config_candidates(env) == (
        "/h/.config/nova-torch/config.toml",
        "/etc/nova-torch/config.toml",
    )
    assert paths.config_candidates(env, explicit="/c") == ("/c",)
    assert paths.config_candidates({**env, "NOVA_TORCH_CONFIG": "/d"}) == ("/d",)
    assert paths.hook_spool({"NOVA_STATE_DIR": "/s"}) == "/s/hooks.spool"
