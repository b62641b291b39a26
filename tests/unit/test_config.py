"""The configuration: file, environment over it, and a sentence for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.config import changes, load
from nova_torch.errors import ConfigInvalid
from nova_torch.redaction import without_password

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
        ("[agent.x]\n", "agent", "Did you mean agents?"),
        ("agents = 5", "agents", "[agents.NAME]"),
        ("[agents]\nreviewer = 'claude'", "agents.reviewer", "[agents.reviewer]"),
        ("[agents.'a b']\n", "a b", "letters"),
        ("[agents.x]\nrestrat = 'always'", "restrat", "Did you mean restart?"),
        ("[agents.x]\nrestart = 'alway'", "agents.x.restart", "Did you mean always?"),
        ("[agents.x]\ncommand = 'claude'", "agents.x.command", "a list of texts"),
        ("[agents.x]\nprompt = 5", "agents.x.prompt", "a text"),
        ("[agents.x]\nenv = { KEY = 5 }", "agents.x.env", "NAME"),
        ("[agents.x.env]\n'A B' = 'x'", "A B", "letters"),
        ("[life]\ntries = -1", "life.tries", "between"),
        ("bridges = 5", "bridges", "[bridges]"),
        ("[bridges]\ndialect = ['torch']", "dialect", "Did you mean dialects?"),
        ("[bridges]\ndialects = ['torhc']", "bridges.dialects", "Did you mean torch?"),
        ("[bridges]\ndialects = ['dot', 'dot']", "bridged twice", "Leave one"),
        ("[bridges]\nreceipts = 'every'", "bridges.receipts", "final"),
        ("[bridges]\nbacklog_s = true", "bridges.backlog_s", "between"),
        ("[bridges]\nmax_body_bytes = 0", "bridges.max_body_bytes", "between"),
        ("[bridges.stream]\nkey = 'x'", "bridges.stream", "[[bridges.stream]]"),
        ("[[bridges.stream]]\nkey = 'x'", "has no dialect", "key and dialect"),
        ("[[bridges.stream]]\nkye = 'x'", "kye", "Did you mean key?"),
        (
            "[[bridges.stream]]\nkey = 'x'\ndialect = 'wakes'",
            "dialect in [[bridges.stream]] number 1",
            "wake?",
        ),
        ("[[bridges.stream]]\nkey = 'x.{agnet}'\ndialect = 'dot'", "x.{agnet}", "{agent} or {role}"),
        ("[[bridges.stream]]\nkey = 'x.*'\ndialect = 'dot'", "x.*", "wildcards"),
        ("[[bridges.stream]]\nkey = 'x{'\ndialect = 'dot'", "x{", "Braces"),
        ("[[bridges.channel]]\nkey = 'x'\ndialect = 'dot'\nnotify = 'y'", "notify", "Known"),
        ("[[bridges.channel]]\nkey = 'x'\ndialect = 'dot'\nname = 'a:b'", "a:b", "letters"),
        ("[[bridges.channel]]\nkey = 'x'\ndialect = 'dot'\ntargets = 'b'", "targets", "a list of texts"),
        ("[bridges.registry]\nkey = 'x'", "bridges.registry.key", "{agent}"),
        ("[bridges.registry]\nbeat_s = 'x'", "bridges.registry.beat_s", "between"),
        ("[bridges.boomerang]\ntasks = 'x'\nevents = 'x'", "one stream", "Name two"),
        ("[life]\nback_off_s = 90", "life.back_off_most_s", "between"),
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
    text = "[broker]\nurl = 'redis://me:secret@host:1'\n[agents.a]\nenv = { A = 'secret' }"
    config = load(written(tmp_path, text), HOME)
    assert config.agents["a"].env == {"A": "secret"}
    assert "secret" not in str(config.shown())
    assert "secret" not in repr(config)
    assert without_password("redis://me:secret@host:1") == "redis://me:***@host:1"


def test_a_file_that_is_named_must_exist() -> None:
    with pytest.raises(ConfigInvalid, match="does not exist"):
        load("/nonexistent/config.toml", HOME)


TEMPLATE = """
[agents.reviewer]
driver = "claude"
skills = ["python", "sql"]
command = ["claude", "--model", "opus"]
env = { TOKEN = "secret" }
restart = "on-failure"
allow = ["trust"]
"""


def test_a_template_is_read_and_the_rest_of_it_is_empty(tmp_path: Path) -> None:
    template = load(written(tmp_path, TEMPLATE), HOME).agents["reviewer"]
    assert template.command == ("claude", "--model", "opus")
    assert (template.restart, template.allow, template.env) == ("on-failure", ("trust",), {"TOKEN": "secret"})
    assert (template.role, template.prompt, template.cwd) == ("", "", "")


def test_of_a_template_s_environment_only_the_names_are_shown(tmp_path: Path) -> None:
    shown = load(written(tmp_path, TEMPLATE), HOME).shown()
    assert shown["agents"]["reviewer"]["env"] == {"TOKEN": "***"}
    assert "secret" not in str(shown)


def test_a_template_that_changed_is_named(tmp_path: Path) -> None:
    before = load(written(tmp_path, TEMPLATE), HOME)
    after = load(written(tmp_path, TEMPLATE.replace("opus", "sonnet") + "[agents.other]\n"), HOME)
    assert changes(before, after) == ["agents.other", "agents.reviewer"]


def test_one_word_turns_a_dialect_on_and_nothing_is_on_without_one(tmp_path: Path) -> None:
    assert not load(written(tmp_path, "[bridges]\n"), HOME).bridges
    asked = "[bridges]\ndialects = ['torch', 'boomerang', 'registry']\ntargets = ['w-*']\n"
    bridges = load(written(tmp_path, asked), HOME).bridges
    assert {(rule.via, rule.key) for rule in bridges.rules} == {
        (via, key)
        for via in ("stream", "channel")
        for key in (
            "nova.torch.agents.direct.{agent}",
            "nova.torch.agents.{role}",
            "nova.torch.orchestrator",
        )
    }
    assert {rule.targets for rule in bridges.rules} == {("w-*",)}
    assert bridges.boomerang is not None
    assert bridges.boomerang.targets == ("w-*",)
    assert bridges.registry is not None


@pytest.mark.parametrize(
    "name", ["NOVA_DELIVERY_MAX_ATTEMPTS", "NOVA_LIFE_QUIT_S", "NOVA_BROKER_URL", "NOVA_NODE"]
)
def test_an_empty_variable_counts_as_not_set_where_nothing_can_be_empty(tmp_path: Path, name: str) -> None:
    home = {"HOME": str(tmp_path)}
    assert load(None, {**home, name: ""}) == load(None, home)


def test_an_empty_variable_empties_a_text_and_a_list(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[delivery]\ndrivers_dir = "/d"\nmay_answer = ["a"]\n')
    found = load(str(file), {"NOVA_DELIVERY_DRIVERS_DIR": "", "NOVA_DELIVERY_MAY_ANSWER": ""})
    assert (found.delivery.drivers_dir, found.delivery.may_answer) == ("", ())
