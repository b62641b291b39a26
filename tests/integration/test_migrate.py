"""`novactl migrate`: scripts and agents of the original come over, and go back without a trace."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.tmux import PROGRAMS
from tests.support.cli import clean_environment, run_here
from tests.support.node import ROOT, TestNode, node, until
from tests.support.original import SCRIPTS, put, tree

READY = "? for shortcuts"
MIGRATE = ("migrate", "--from", "tmux-orchestrator")
SEND = "send-claude-message.sh"


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


class Shop:
    """A session of the original: a manager, a temporary reviewer and a shell."""

    def __init__(self, running: TestNode, folder: Path) -> None:
        self.node, self.folder = running, folder
        self.claude = folder / "claude"
        self.claude.symlink_to(os.path.realpath(sys.executable))
        self.scripts = put(folder / "Tmux-Orchestrator")
        self.panes: dict[str, str] = {}
        self.open_agent("Project-Manager", "new-session", "-d", "-s", "shop")
        self.open_agent("TEMP-Review", "new-window", "-d", "-t", "shop:")
        self.panes["Shell"] = self._open("new-window", "-d", "-t", "shop:", "-n", "Shell", "exec sh")

    def open_agent(self, name: str, *new: str) -> None:
        """Open a Claude-like program in a window of that name, and wait until it is ready."""
        log = str(self.folder / f"{name}.jsonl")
        words = [str(self.claude), str(PROGRAMS / "agent_tui.py"), "--log", log, "--name", name]
        self.panes[name] = self._open(*new, "-n", name, f"exec {shlex.join(words)}")
        self.node.tmux.wait_for(self.panes[name], READY)

    def _open(self, *words: str) -> str:
        place = ["-P", "-F", "#{pane_id}", "-x", "200", "-y", "50", "-c", str(self.scripts)]
        sized = place if words[0] == "new-session" else [*place[:3], *place[7:]]
        return self.node.tmux.tmux(words[0], *sized, *words[1:]).strip()

    def prompts(self, name: str) -> list[str]:
        rows = map(json.loads, (self.folder / f"{name}.jsonl").read_text().splitlines())
        return [row["text"] for row in rows if row["event"] == "prompt"]

    def marks(self) -> str:
        return self.node.tmux.tmux("list-panes", "-a", "-F", "#{pane_id} #{@nova_agent} #{@nova_spec}")

    def agents(self) -> dict[str, str]:
        return {record["agent_id"]: record["role"] for record in self.node.call("agents")}

    def state(self, agent: str) -> str:
        (record,) = (each for each in self.node.call("agents") if each["agent_id"] == agent)
        return str(record["state"])

    def migrate(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """Run it; return its rows that are about the session or the scripts."""
        done = self.node.novactl(*words, "--json")
        assert done.returncode == code, (done.stdout, done.stderr)
        rows = json.loads(done.stdout)["rows"]
        return [row for row in rows if row["kind"] != "pane" or "shop:" in row["where"]]

    def close(self) -> None:
        for agent in self.agents():
            self.node.call("unregister", {"agent_id": agent})
        self.node.tmux.tmux("kill-session", "-t", "shop")
        (self.node.state / "migration.json").unlink(missing_ok=True)


@pytest.fixture
def shop(running: TestNode, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(running, tmp_path)
    yield made
    made.close()


def done(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["name"] or row["where"].rpartition(":")[2]: row["done"] for row in rows}


REVIEWER = {"agent_id": "shop-TEMP-Review", "driver": "claude", "role": "reviewer", "skills": ["temporary"]}
AGENTS = {"shop-Project-Manager": "project-manager", "shop-TEMP-Review": "reviewer"}


def test_a_dry_run_says_everything_and_changes_nothing(shop: Shop) -> None:
    def files() -> set[str]:
        return set(os.listdir(shop.node.state)) - {"audit.log"}  # each call that may write is written there

    before = (shop.marks(), tree(shop.scripts), files())
    rows = shop.migrate(*MIGRATE, "--dry-run")
    assert done(rows) == {
        **dict.fromkeys(SCRIPTS, "would be replaced"),  # found where the panes work
        **dict.fromkeys(AGENTS, "would be registered"),
        "Shell": "left",
    }
    told = {row["name"]: row for row in rows}
    assert told["shop-TEMP-Review"]["role"] == "reviewer, temporary"
    assert told[""]["detail"] == "no driver claims sh"
    assert (shop.marks(), tree(shop.scripts), files()) == before
    assert shop.agents() == {}
    assert rows == shop.migrate(*MIGRATE, "--dry-run")


def test_what_comes_over_works_under_the_old_name_and_goes_back_without_a_trace(shop: Shop) -> None:
    before = (shop.marks(), tree(shop.scripts))
    rows = shop.migrate(*MIGRATE)
    assert done(rows) == {
        **dict.fromkeys(SCRIPTS, "replaced"), **dict.fromkeys(AGENTS, "registered"), "Shell": "left",
    }  # fmt: skip
    assert shop.agents() == AGENTS
    again = shop.migrate(*MIGRATE)
    assert {row["done"] for row in again} == {"left"}
    until(lambda: shop.state("shop-Project-Manager") == "idle", what="the agent's state")
    env = {**shop.node.environment, "NOVA_PYTHON": sys.executable}
    sent = subprocess.run(
        [shop.scripts / SEND, "shop:Project-Manager", "hello", "you"],
        env=env, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (sent.stdout, sent.stderr) == ("Message sent to shop:Project-Manager: hello you\n", "")
    until(lambda: shop.prompts("Project-Manager"), what="the prompt")
    (row,) = shop.node.call("inbox", {"agent": "shop-Project-Manager"})
    assert row["state"] in ("submitted", "acknowledged")
    would = shop.migrate("migrate", "--revert", "--dry-run", "--force")  # its hook may still be waited for
    assert {row["done"] for row in would} == {"would be put back", "would be unregistered"}
    assert shop.agents() == AGENTS
    back = shop.migrate("migrate", "--revert", "--force")
    assert done(back) == {**dict.fromkeys(SCRIPTS, "put back"), **dict.fromkeys(AGENTS, "unregistered")}
    unmarked = [" ".join(line.split()[:2]) for line in shop.marks().splitlines()]
    assert (unmarked, tree(shop.scripts)) == (before[0].replace("  ", "").splitlines(), before[1])
    assert shop.agents() == {}
    assert shop.migrate("migrate", "--revert") == []
    assert shop.prompts("Project-Manager") == ["hello you"]


def test_only_what_the_migration_made_is_taken_back(shop: Shop) -> None:
    own = {"agent_id": "mine", "pane": shop.panes["Shell"], "driver": "line"}
    shop.node.call("register", own)
    shop.migrate(*MIGRATE)
    (shop.scripts / SEND).unlink()
    (shop.scripts / SEND).write_text("another\n")
    moved = {
        "agent_id": "shop-TEMP-Review",
        "pane": shop.panes["TEMP-Review"],
        "driver": "claude",
        "role": "qa",
    }
    shop.node.call("register", moved)
    shop.node.call("pause", {"agent_id": "shop-Project-Manager"})
    shop.node.send("shop-Project-Manager", "wait")
    until(lambda: queued(shop, "shop-Project-Manager"), what="the message")
    back = {row["name"]: row for row in shop.migrate("migrate", "--revert", code=1)}
    assert back[SEND]["detail"].startswith("it was changed since; what was there before is ")
    assert back["shop-TEMP-Review"]["detail"] == "it was registered again since, otherwise"
    assert (
        back["shop-Project-Manager"]["detail"]
        == "messages in hand for it: 1; --force gives up those that wait"
    )
    assert (shop.scripts / SEND).read_text() == "another\n"
    assert shop.agents() == {**AGENTS, "shop-TEMP-Review": "qa", "mine": ""}
    (shop.scripts / SEND).unlink()
    back = {row["name"]: row for row in shop.migrate("migrate", "--revert", "--force", code=1)}
    assert back[SEND]["done"] == "put back"
    assert back["shop-Project-Manager"]["detail"] == "messages given up: 1"
    assert (shop.scripts / SEND).read_text() == SCRIPTS[SEND]
    assert shop.agents() == {"shop-TEMP-Review": "qa", "mine": ""}


def test_an_agent_that_lost_its_pane_gets_its_name_back_and_is_still_taken_back(shop: Shop) -> None:
    shop.migrate(*MIGRATE, "--only", "agents")
    shop.node.tmux.tmux("kill-pane", "-t", shop.panes["TEMP-Review"])
    until(lambda: shop.state("shop-TEMP-Review") == "lost", what="the loss")
    shop.open_agent("TEMP-Review", "new-window", "-d", "-t", "shop:")
    rows = shop.migrate(*MIGRATE, "--only", "agents")
    assert [row["name"] for row in rows if row["done"] == "registered"] == ["shop-TEMP-Review"]
    assert done(shop.migrate("migrate", "--revert")) == dict.fromkeys(AGENTS, "unregistered")
    shop.node.call(
        "register", {**REVIEWER, "pane": shop.panes["TEMP-Review"]}
    )  # by hand, before any migration
    shop.node.tmux.tmux("kill-pane", "-t", shop.panes["TEMP-Review"])
    until(lambda: shop.state("shop-TEMP-Review") == "lost", what="the loss")
    shop.open_agent("TEMP-Review", "new-window", "-d", "-t", "shop:")
    shop.migrate(*MIGRATE, "--only", "agents")
    back = done(shop.migrate("migrate", "--revert"))
    assert back["shop-TEMP-Review"] == "left, an agent before the migration"
    assert list(shop.agents()) == ["shop-TEMP-Review"]


def queued(shop: Shop, agent: str) -> int:
    (record,) = (each for each in shop.node.call("agents") if each["agent_id"] == agent)
    return int(record["queued"])


def killed(step: int, *words: str, env: dict[str, str]) -> bool:
    """Run novactl until right before a step; tell whether it came so far."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.dying_migrate", str(step), *words],
        cwd=ROOT, env=env, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode in (-9, 0), ended.stderr
    return ended.returncode == -9


def test_agents_are_registered_once_and_taken_back_whenever_it_is_killed(shop: Shop) -> None:
    step = 1
    while killed(step, *MIGRATE, "--only", "agents", env=shop.node.environment):
        rows = shop.migrate(*MIGRATE, "--only", "agents")
        assert {row["done"] for row in rows} <= {"registered", "left"}
        assert shop.agents() == AGENTS, step
        back = killed(step, "migrate", "--revert", env=shop.node.environment)
        assert shop.migrate("migrate", "--revert") == [] or back, step
        assert shop.agents() == {}, step
        assert not (shop.node.state / "migration.json").exists(), step
        step += 3  # before the first writing, with one registered, with both registered
    assert step == 10


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scripts of the original, and no daemon."""
    monkeypatch.setenv("NOVA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NOVA_SOCKET", str(tmp_path / "none.sock"))
    return put(tmp_path / "bin")


def over(directory: Path) -> list[str]:
    return [*MIGRATE, "--only", "scripts", "--scripts", str(directory)]


def test_scripts_come_and_go_whenever_it_is_killed(alone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in SCRIPTS:
        if name != SEND:
            (alone / name).unlink()
    before = tree(alone)
    env = clean_environment(NOVA_STATE_DIR=str(alone.parent / "state"))
    step = 1
    while killed(step, *over(alone), env=env):
        if step % 2:  # go on, and back; else back from what is half done
            assert run_here(capfd, over(alone)).code == 0, step
            assert (alone / SEND).is_symlink(), step
            assert not [name for name in os.listdir(alone) if name.endswith(".new-nova-torch")], step
            killed((step + 1) // 2, "migrate", "--revert", env=env)
        assert run_here(capfd, ["migrate", "--revert"]).code == 0, step
        assert tree(alone) == before, step
        assert os.listdir(alone.parent / "state") in ([], ["migration.json.new"]), step
        step += 1
    assert step == 8  # two of the journal, the new link, the backup, the rename, two of the journal


def test_other_scripts_of_these_names_are_replaced_only_with_force(
    alone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (alone / SEND).write_text("#!/bin/sh\necho mine\n")
    os.unlink(alone / "tmux_utils.py")
    os.mkfifo(alone / "tmux_utils.py")
    one = run_here(capfd, over(alone))
    assert (one.code, one.out.count("replaced: "), one.out.count("--force replaces it")) == (0, 1, 2)
    assert run_here(capfd, [*over(alone), "--force"]).out.count("replaced: ") == 2
    assert run_here(capfd, ["migrate", "--revert"]).out.count("put back") == 3
    assert (alone / SEND).read_text() == "#!/bin/sh\necho mine\n"
    assert (alone / "tmux_utils.py").is_fifo()


def test_one_directory_that_cannot_be_written_does_not_keep_the_others(
    alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked = put(tmp_path / "blocked")
    for name in SCRIPTS:
        (blocked / f"{name}.new-nova-torch").mkdir()  # where the link is made
    said = run_here(capfd, [*over(blocked), "--scripts", str(alone)])
    assert (said.code, said.out.count("failed: "), said.out.count("replaced: ")) == (1, 3, 3)
    assert {name: (blocked / name).read_text() for name in SCRIPTS} == SCRIPTS
    assert run_here(capfd, ["migrate", "--revert"]).code == 0
    assert not [path for path in (*alone.iterdir(), *blocked.iterdir()) if path.is_symlink()]


def test_without_a_daemon_agents_are_not_taken_back_and_scripts_are_if_that_is_said(
    alone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = tree(alone)
    assert run_here(capfd, over(alone)).code == 0
    journal = alone.parent / "state" / "migration.json"
    written = json.loads(journal.read_text())
    agent = {**REVIEWER, "kind": "agent", "state": "done", "pane": "%1", "node": "n", "known": False}
    written["steps"].append(agent)
    journal.write_text(json.dumps(written))
    here = tree(alone)
    refused = run_here(capfd, ["migrate", "--revert"])
    assert (refused.code, refused.out, tree(alone)) == (3, "", here)
    assert run_here(capfd, ["migrate", "--revert", "--only", "scripts"]).code == 0
    assert tree(alone) == before
    assert json.loads(journal.read_text())["steps"] == [agent]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["migrate"], 2, "needs to know from what. novactl migrate --from tmux-orchestrator"),
        (["migrate", "--from", "screen"], 2, "'tmux-orchestrator'"),
        (["migrate", "--revert", "--from", "tmux-orchestrator"], 2, "Leave --from and --scripts out."),
        ([*MIGRATE, "--scripts", "/no/such"], 5, "there is no directory /no/such."),
        ([*MIGRATE], 3, "Start it: novactl up"),
    ],
)
def test_wrong_use_is_one_sentence_and_nothing_is_done(
    alone: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    outcome = run_here(capfd, words)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (alone.parent / "state").exists()
