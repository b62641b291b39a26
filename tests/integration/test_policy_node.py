"""A node with a policy: enforced where messages are delivered and calls are made, changed while it runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NotAllowed, NovaError
from tests.support.agents import raw
from tests.support.attacker import Attacker
from tests.support.node import ROOT, TestNode, node, until

POLICY = """
[[rule]]
allow = ["send"]
to = "closed"
kind = "reply"

[[rule]]
deny = ["send", "spawn", "stop", "adopt", "answer", "operate", "task"]
to = ["closed", "role:sealed"]
reason = "nobody in"

[[rule]]
deny = ["send"]
from = ["node:far"]
command = true

[[rule]]
deny = ["speak"]
from = "agent:*"

[[rule]]
allow = ["operate"]
to = "agent:open"

[[rule]]
deny = ["operate"]
to = "node:test-node"
reason = "nobody in"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policy")


@pytest.fixture(scope="module")
def ruled(place: Path) -> Iterator[TestNode]:
    (place / "policy.toml").write_text("")
    (place / "config.toml").write_text(f'[policy]\nfile = "{place}/policy.toml"\n')
    with node(env={"NOVA_TORCH_CONFIG": f"{place}/config.toml"}) as made:
        for name in ("open", "closed"):
            raw(made, place, name)
        (place / "policy.toml").write_text(POLICY)
        made.call("reload")
        yield made


def log_of(place: Path, agent: str) -> bytes:
    path = place / f"{agent}.bytes"
    return path.read_bytes() if path.exists() else b""


def test_what_is_denied_is_refused_before_it_is_taken(ruled: TestNode) -> None:
    with pytest.raises(NotAllowed, match="rule 2 of the policy denies it: nobody in") as caught:
        ruled.send("closed", "knock")
    assert "novactl policy check user:" in caught.value.hint
    with pytest.raises(NotAllowed):
        ruled.call("schedule_add", {"target": "closed", "body": "knock", "in_s": 60})
    assert ruled.send("open", "hello")["state"] == "accepted"
    assert ruled.novactl("send", "closed", "knock").returncode == 4


def test_what_comes_from_the_broker_is_judged_where_it_is_delivered(ruled: TestNode, place: Path) -> None:
    attacker = Attacker(ruled)
    knock = attacker.put("closed", attacker.message("closed", "knock"))
    command = attacker.put("open", attacker.message("open", "/x", headers={"form": "verbatim"}))
    plain = attacker.put("open", attacker.message("open", "plain"))
    until(lambda: b"plain\r" in log_of(place, "open"), what="the message that is allowed")

    def dead() -> dict[str, Any]:
        return {row["id"]: row for row in ruled.call("dead_list")}

    until(lambda: {knock.id, command.id} <= dead().keys(), what="the refusals")
    assert dead()[knock.id]["state"] == "failed"
    assert dead()[knock.id]["reason"] == "not allowed: rule 2 of the policy denies it: nobody in"
    assert "rule 3" in dead()[command.id]["reason"]
    assert plain.id not in dead()
    assert log_of(place, "closed") == b""
    assert b"/x" not in log_of(place, "open")
    ruled.call("dead_retry", {"id": knock.id})  # a person's order is past the limits, not past the policy
    until(lambda: knock.id in dead(), what="the second refusal")
    assert log_of(place, "closed") == b""
    denied = [entry for entry in ruled.call("audit") if entry["code"] == "policy_denied"]
    assert denied[0]["target"] == "closed"
    assert not ruled.call("status")["health"]


@pytest.mark.parametrize(
    ("call", "args"),
    [
        ("stop_agent", {"agent_id": "closed"}),
        ("unregister", {"agent_id": "closed"}),
        ("register", {"agent_id": "closed", "pane": "%0", "driver": "line"}),
        ("register", {"agent_id": "another", "role": "sealed", "pane": "%0", "driver": "line"}),
        ("spawn", {"role": "sealed", "driver": "line", "command": ["cat"]}),
        ("dialog_answer", {"agent_id": "closed", "choice": "1"}),
        ("task_reassign", {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "to": "closed"}),
        ("pause", {"agent_id": "closed"}),
        ("resume", {"agent_id": "closed"}),
        ("node_drain", {"force": True}),
        ("node_resume", {}),
        ("node_remove", {"name": "test-node", "force": True}),
        ("stop", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_calls_are_judged_too(ruled: TestNode, call: str, args: dict[str, Any]) -> None:
    with pytest.raises(NotAllowed, match="nobody in"):
        ruled.call(call, args)


def test_an_agent_speaks_in_its_own_name_only(ruled: TestNode, place: Path) -> None:
    said, go = place / "said", place / "go"
    env = " ".join(f"{k}={v}" for k, v in ruled.environment.items() if k.startswith("NOVA_"))
    call = '{\\"target\\": \\"open\\", \\"body\\": \\"x\\", \\"sender\\": \\"user:boss\\"}'
    program = f'{sys.executable} -m novactl.main rpc send "{call}"'
    pane = ruled.tmux.open(
        f"sh -c 'cd {ROOT}; until [ -e {go} ]; do sleep 0.05; done;"
        f" env -u TMUX_PANE {env} {program} >{said} 2>&1; cat'"
    )
    ruled.register("liar", pane)
    go.touch()
    until(lambda: said.exists() and said.read_text().strip(), what="its words")
    assert "liar may not speak user:boss: rule 4 of the policy denies it" in said.read_text()
    assert ruled.call("send", {"target": "open", "body": "x", "sender": "user:boss"})["state"] == "accepted"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("user:ann", "open"),
            0,
            r"allowed: user:ann \(node test-node\) send open \(node test-node\): no rule",
        ),
        (("user:ann", "closed"), 4, "not allowed: .* rule 2 of the policy denies it: nobody in"),
        (("user:ann", "closed", "--kind", "reply"), 0, "rule 1 of the policy allows it"),
        (("x", "open", "--do", "answer"), 4, "only when delivery.may_answer names them"),
        (("x", "node:test-node", "--do", "operate"), 4, "rule 6 of the policy denies it: nobody in"),
        (("x", "node:far", "--do", "operate"), 0, "no rule is about it"),
        (("user:ann", "open", "--do", "anser"), 2, "answer"),
        (("user:ann", "open", "--file", "none.toml"), 2, "No such file"),
    ],
)
def test_novactl_says_which_rule_decides(
    ruled: TestNode, words: tuple[str, ...], code: int, said: str
) -> None:

    done = ruled.novactl("policy", "check", *words)
    assert done.returncode == code
    assert re.search(said, done.stdout + done.stderr), done


def test_a_file_is_tried_before_it_holds(ruled: TestNode, place: Path) -> None:
    tried = place / "tried.toml"
    tried.write_text('[[rule]]\ndeny = ["send"]\nfrom = "node:test-node"\n')
    done = ruled.novactl("policy", "check", "user:ann", "open", "--file", str(tried), "--json")
    assert done.returncode == 4
    assert '"rule": 1' in done.stdout.replace('":1', '": 1')


def test_a_broken_file_keeps_the_rules_before_it_and_a_good_one_holds_at_once(
    ruled: TestNode, place: Path
) -> None:
    policy = place / "policy.toml"
    ruled.call("pause", {"agent_id": "open"})
    waiting = ruled.send("open", "was allowed when it was sent")["id"]
    ruled.wait_state(waiting, "held")
    policy.write_text(POLICY.replace("deny", "dney", 1))
    assert ruled.process is not None
    with pytest.raises(NovaError, match="Did you mean deny"):
        ruled.call("reload")
    with pytest.raises(NotAllowed):
        ruled.send("closed", "knock")
    health = {check["code"]: check["message"] for check in ruled.call("status")["health"]}
    assert "unknown key: dney" in health["policy_broken"]
    policy.write_text('[[rule]]\ndeny = ["send"]\nto = "open"\n')
    ruled.call("reload")
    assert "policy_broken" not in {check["code"] for check in ruled.call("status")["health"]}
    ruled.call("resume", {"agent_id": "open"})
    assert "rule 1" in ruled.wait_state(waiting, "failed")["reason"]
    assert b"was allowed" not in log_of(place, "open")
    policy.write_text(POLICY)
    ruled.call("reload")


def test_a_node_does_not_start_with_a_policy_that_it_cannot_read(tmp_path: Path) -> None:
    broken = tmp_path / "policy.toml"
    broken.write_text("[[rule]]\nallow = ['sned']\n")
    with node(start=False, env={"NOVA_POLICY_FILE": str(broken)}) as made:
        done = subprocess.run(
            [sys.executable, "-m", "noval_d"], cwd=ROOT, env=made.environment, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "Did you mean send?" in done.stderr


def test_a_check_and_a_filter_of_a_name_that_nobody_has_say_so(ruled: TestNode) -> None:
    done = ruled.novactl("policy", "check", "opne", "node:test-nod", "--do", "operate")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "no agent 'opne' is registered. Did you mean open?",
        "no node 'test-nod' is known. Did you mean test-node?",
    ]
    assert ruled.novactl("policy", "check", "user:nobody", "open").stderr == ""
    for command in (("dead", "list"), ("schedule", "list"), ("task", "list")):
        done = ruled.novactl(*command, "--agent", "opne", "--json")
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done
        assert done.stderr == "no agent 'opne' is registered. Did you mean open?\n"
        assert "is registered" not in ruled.novactl(*command, "--agent", "open").stderr
    assert "nobody has the role 'tester'" in ruled.novactl("task", "list", "--role", "tester").stderr
    seen = ruled.novactl("watch", "--agent", "opne", "--timeout", "0.2s").stderr.splitlines()
    assert seen[1] == "no agent 'opne' is registered. Did you mean open?"
