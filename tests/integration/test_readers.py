"""Other users of the machine, as real other users: what a reading group sees and does not, and who is kept out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from noval_d.calls.table import Answers
from noval_d.control.calls import Access
from tests.support.agents import raw, tui
from tests.support.node import ROOT, TestNode, node, until

GROUP, NOBODY = 4711, 65534
BODY, PANE, REPLY = "canary-body-7f3a", "canary-pane-7f3a", "canary-reply-7f3a"
CANARIES = (BODY, PANE, REPLY)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

AS_OTHER = """if True:
    import json, os, sys
    from nova_torch.errors import NovaError
    from nova_torch.protocol.client import Client
    import _socket, encodings.idna
    path, groups, calls = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.stdin.read())
    os.setgroups(groups); os.setgid(65534); os.setuid(65534)
    said = []
    try:
        with Client.connect(path, 10) as client:
            for name, args in calls:
                try:
                    said.append(["ok", client.call(name, args)])
                except NovaError as error:
                    said.append([error.code, str(error)])
    except NovaError as error:
        said = error.code
    print(json.dumps(said, default=str))
"""


def as_other(made: TestNode, calls: list[tuple[str, dict[str, Any]]], *groups: int) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", AS_OTHER, made.socket, json.dumps(groups)],
        cwd=ROOT,
        env={**made.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestNode, dict[str, str]]]:
    """A node with something private in every place that a call could show."""
    folder = tmp_path_factory.mktemp("full")
    config = folder / "config.toml"
    config.write_text(f'[agents.x]\ncommand = ["cat"]\nenv = {{ TOKEN = "{BODY}" }}\nprompt = "{BODY}"\n')
    env = {"NOVA_CONTROL_READ_GROUP": str(GROUP), "NOVA_TORCH_CONFIG": str(config)}
    with node(env=env) as made:
        os.chmod(made.state, 0o711)  # the way to the socket, for the group
        made.tmux.tmux("send-keys", "-t", raw(made, folder).pane, "-l", PANE)
        agent = tui(made, folder)
        sent = made.send_wait("raw", BODY)["id"]
        asked = made.send("raw", f"{BODY}?", answer="wanted")["id"]
        made.wait_state(asked, "submitted")
        made.call("reply", {"question": asked, "body": REPLY, "sender": "raw"})
        until(lambda: made.receipt(asked)["state"] == "replied", what="the answer")
        made.call("pause", {"agent_id": "raw"})
        held = made.send("raw", BODY, ttl_s=0.3)["id"]
        made.wait_state(held, "expired")
        made.call("resume", {"agent_id": "raw"})
        schedule = made.call("schedule_add", {"target": "raw", "body": BODY, "in_s": 3600})["id"]
        task = made.call("task_add", {"title": "a task", "body": BODY, "role": "nobody", "anyway": True})[
            "id"
        ]
        agent.draft(PANE)
        agent.wait_for(PANE)
        made.send("claude-1", BODY)
        until(lambda: made.call("status")["held"], what="the message behind the draft")
        yield made, {"sent": sent, "asked": asked, "schedule": schedule, "task": task}


def readable(ids: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    given: dict[str, list[dict[str, Any]]] = {
        "place": [{"agent_id": "raw"}],
        "trace": [{"id": ids["sent"]}, {"id": ids["asked"]}],
        "follow": [{"id": ids["asked"]}],
        "presence": [{"name": "raw"}],
        "occupies": [{"agent_id": "raw", "pane": "%2"}],
        "schedule_show": [{"id": ids["schedule"]}],
        "task_show": [{"id": ids["task"]}],
        "policy_check": [{"from": "user:x", "to": "raw"}],
        "schedule_list": [{"all": True}],
    }
    return [(name, args) for name in sorted(table(Access.READ)) for args in given.get(name, [{}])]


def table(access: Access) -> list[str]:
    calls = Answers.__new__(Answers).table()
    return [name for name, call in calls.items() if call.access is access]


def test_a_reader_sees_how_things_are_and_no_body_and_no_pane(full: tuple[TestNode, dict[str, str]]) -> None:
    made, ids = full
    calls = readable(ids)
    answers = as_other(made, calls, GROUP)
    assert len(answers) == len(calls)
    for (name, _), (code, answer) in zip(calls, answers, strict=True):
        assert code == "ok", (name, answer)
        for canary in CANARIES:
            assert canary not in json.dumps(answer), name
    writer = json.dumps([made.call(name, args) for name, args in calls], default=str)
    assert [canary for canary in CANARIES if canary in writer] == list(CANARIES)  # there was something to see


def test_a_reader_may_do_nothing(full: tuple[TestNode, dict[str, str]]) -> None:
    made, _ = full
    calls: list[tuple[str, dict[str, Any]]] = [(name, {"agent_id": "raw"}) for name in table(Access.WRITE)]
    codes = {code for code, _ in as_other(made, calls, GROUP)}
    assert codes == {"not_allowed"}
    refused = [entry for entry in made.call("audit") if entry["code"] == "not_allowed"]
    assert {entry["call"] for entry in refused} == {name for name, _ in calls}
    assert {entry["uid"] for entry in refused} == {NOBODY}


def test_another_user_is_kept_out_and_that_is_written(full: tuple[TestNode, dict[str, str]]) -> None:
    made, _ = full
    assert as_other(made, [("ping", {})], 12) == "daemon_unreachable"  # the file itself
    os.chmod(made.socket, 0o666)
    try:
        assert (
            as_other(made, [("ping", {})], 12) == "not_allowed"
        )  # and, should it be open, the kernel's word
    finally:
        os.chmod(made.socket, 0o660)
    assert [e for e in made.call("audit") if (e["call"], e["uid"]) == ("connect", NOBODY)]


def test_other_users_read_nothing_of_the_state_directory(full: tuple[TestNode, dict[str, str]]) -> None:
    made, _ = full
    of_the_test = {"daemon.log", "home", "bin"}
    found = [path for path in made.state.iterdir() if path.name not in of_the_test]
    assert {"state.db", "state.db-wal", "audit.log", "lock", "broker"} <= {path.name for path in found}
    for path in found:
        assert not path.lstat().st_mode & 0o007, path


def test_a_configured_user_writes_and_is_named_in_the_log() -> None:
    with node(env={"NOVA_CONTROL_WRITE_USERS": str(NOBODY)}) as made:
        os.chmod(made.state, 0o711)
        ((code, answer),) = as_other(made, [("pause", {"agent_id": "nobody"})])
        assert (code, "nobody" in answer) == ("agent_not_found", True)
        (entry,) = [entry for entry in made.call("audit") if entry["uid"] == NOBODY]
        assert (entry["call"], entry["code"]) == ("pause", "agent_not_found")
