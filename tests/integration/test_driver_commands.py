"""novactl driver: files are listed, shown, tested and recorded; a broken one stops nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nova_torch.errors import NovaError
from noval_d.agents.driver_file import BUILT_IN
from tests.support.agents import held, raw, tui
from tests.support.node import ROOT, TestNode, node

HERE = {"PYTHONPATH": str(ROOT)}  # the tool that novactl starts does not look into the working directory
CLAUDE = (BUILT_IN / "claude.toml").read_text()


def test_a_typo_in_a_driver_file_is_one_sentence_and_holds_its_own_agents_only(tmp_path: Path) -> None:
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    with node(env={**HERE, "NOVA_DELIVERY_DRIVERS_DIR": str(drivers)}) as running:
        agent = tui(running, tmp_path, "claude-1")
        other = raw(running, tmp_path)
        broken = drivers / "claude.toml"
        broken.write_text(CLAUDE.replace("prompts =", "promts ="))
        tested = running.novactl("driver", "test", str(broken))
        assert tested.returncode == 2
        assert tested.stderr == (f"novactl: {broken}: composer.promts is unknown. Did you mean prompts?\n")
        assert running.send_wait("claude-1", "the running daemon has read it before")["state"] == "submitted"
        assert running.stop() == 0
        running.capture = None
        running.start()
        running.wait_up()
        message = running.send("claude-1", "not with this driver")["id"]
        assert running.wait_state(message, "held")["reason"] == "no_agent"
        row = held(running, "claude-1")
        assert row is not None
        assert row["detail"] == "its driver claude cannot be used: novactl doctor"
        found = [finding for finding in running.call("doctor") if finding["code"] == "driver_broken"]
        assert [finding["severity"] for finding in found] == ["error"]
        assert "composer.promts is unknown" in found[0]["message"]
        before = running.call("agents")
        for call, args in (
            ("spawn", {"role": "more", "driver": "claude", "command": ["cat"], "here": "/"}),
            ("spawn", {"role": "claude", "here": "/"}),
            ("register", {"agent_id": "more", "pane": running.tmux.open("cat"), "driver": "claude"}),
        ):
            with pytest.raises(NovaError, match=r"composer\.promts is unknown") as caught:
                running.call(call, args)
            assert caught.value.hint == "Did you mean prompts?"
        assert [row["agent_id"] for row in running.call("agents")] == [row["agent_id"] for row in before]
        assert running.send_wait("raw", "still there")["state"] == "submitted"
        assert b"still there" in other.bytes()
        assert agent.prompts() == ["the running daemon has read it before"]


def test_drivers_are_listed_and_shown_without_a_daemon(tmp_path: Path) -> None:
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    (drivers / "mine.toml").write_text("[driver]\nname = 'mine'\nkind = 'lime'\n")
    with node(start=False, env={**HERE, "NOVA_DELIVERY_DRIVERS_DIR": str(drivers)}) as made:
        listed = made.novactl("driver", "list", "--json")
        assert listed.returncode == 1
        rows = {row["name"]: row for row in json.loads(listed.stdout)}
        assert {"claude", "generic", "line", "mine"} <= set(rows)
        assert rows["claude"]["problem"] is None
        assert "driver.kind must be one of composer, line" in rows["mine"]["problem"]
        assert made.novactl("driver", "show", "claude").stdout == CLAUDE
        missing = made.novactl("driver", "show", "claud")
        assert (missing.returncode, missing.stdout) == (5, "")
        assert "Did you mean claude?" in missing.stderr


def test_a_pane_is_recorded_and_its_screen_tested(tmp_path: Path) -> None:
    with node(env=HERE) as running:
        agent = tui(running, tmp_path, "claude-1")
        agent.draft("half a thought")
        agent.wait_for("half a thought")
        file = tmp_path / "claude" / "draft.screen"
        file.parent.mkdir()
        done = running.novactl("driver", "record", agent.pane, "--out", str(file))
        assert (done.returncode, done.stdout) == (0, "")
        assert '"composer": "half a thought"' in done.stderr
        assert running.novactl("driver", "test", str(file)).returncode == 0
        file.write_text(file.read_text().replace('"composer": "half a thought"', '"composer": ""'))
        tested = running.novactl("driver", "test", str(file))
        assert (tested.returncode, tested.stdout) == (
            1,
            f"{file}: composer: expected '', seen 'half a thought'\n",
        )
        again = running.novactl("driver", "record", agent.pane, "--out", str(file))
        assert again.returncode == 2
        assert "is there already" in again.stderr
        assert running.novactl("driver", "record", "%999").returncode == 5
        assert _printed(running, agent.pane).startswith('{"cursor_x"')


def _printed(running: TestNode, pane: str) -> str:
    return running.novactl("driver", "record", pane, "--driver", "generic").stdout


def test_a_directory_of_drivers_that_is_not_there_is_said_and_stops_nothing() -> None:
    with node(env={**HERE, "NOVA_DELIVERY_DRIVERS_DIR": "/nowhere/drivers"}) as running:
        told = "delivery.drivers_dir is /nowhere/drivers, and there is no such directory."
        assert "warning config.doubtful" in running.log()
        assert [f["message"] for f in running.call("doctor") if f["code"] == "config_doubtful"] == [told]
        done = running.novactl("config", "validate")
        assert (done.returncode, done.stderr) == (0, f"warning: {told} Make it, or correct the key.\n")
        assert told in running.novactl("config", "validate", "--json").stdout
