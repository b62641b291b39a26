"""The project's papers say what is true: version, keys, commands, calls, states; and no machine's paths."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import cast

import pytest

import nova_torch
from nova_torch.adopt import AdoptRule
from nova_torch.bridging import KEYS as BRIDGE_KEYS
from nova_torch.errors import NovaError
from nova_torch.policy import KEYS as RULE_KEYS
from nova_torch.scaling import ScaleRule, Scaling
from nova_torch.sections import SECTIONS
from nova_torch.templates import Template
from nova_torch.values import HoldReason, State
from novactl.options import COMMON, Command
from novactl.table.whole import COMMANDS
from noval_d.agents.driver_keys import DIALOG_KEYS, KEYS, START_KEYS
from noval_d.calls.table import Answers
from noval_d.node.node import Node

ROOT = Path(__file__).resolve().parents[2]
PAPERS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
KNOWN = {" ".join(command.path) for command in COMMANDS}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or higher."""
    rank = len(heading.split(" ", 1)[0])
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{rank}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but headings and rulers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    return [row for row in cells if not set(row[0]) <= set("- ")]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def tracked() -> list[Path]:
    """Files of the repository; outside one (an unpacked archive) those of the source directories."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0:
        names = [ROOT / name for name in done.stdout.decode().split("\0") if name]
        return [path for path in names if path.is_file() and not path.is_symlink()]
    parts = ("nova_torch", "noval_d", "novactl", "tests", "docs", "systemd")
    return [path for part in parts for path in (ROOT / part).rglob("*.*") if path.is_file()]


# -- the version --


def test_one_version_is_told_everywhere() -> None:
    version = text_of("VERSION").strip()
    assert nova_torch.__version__ == version
    assert metadata.version("nova-torch") == version
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d{2}-\d{2}$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert released[0] == version
    assert f'"version": "{version}"' in text_of("docs/protocol.md")


def test_the_changelog_has_room_for_what_comes_next() -> None:
    headings = re.findall(r"^## \[(.+?)\]", text_of("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert len(headings) == len(set(headings))


# -- configuration --


def test_every_key_is_documented_with_its_default() -> None:
    documented = {
        words(row[0])[0]: words(row[1])[0]
        for row in rows(section(text_of("docs/configuration.md"), "## Keys"))
        if row[0] != "key"
    }
    real = {
        f"{name}.{key.name}": json.dumps(list(key.default) if isinstance(key.default, tuple) else key.default)
        for name, kind in SECTIONS.items()
        for key in fields(kind)
    }
    assert documented == real


def test_every_key_of_a_template_is_documented() -> None:
    listed = rows(section(text_of("docs/configuration.md"), "## Templates of agents"))
    documented = {words(row[0])[0] for row in listed if row[0] != "key"}
    assert documented == {f"agents.NAME.{key.name}" for key in fields(Template)}


def test_every_key_of_bridges_is_documented() -> None:
    listed = rows(section(text_of("docs/configuration.md"), "## Bridges"))
    documented = {words(row[0])[0] for row in listed if row[0] != "key"}
    assert documented == {f"{name}.{key}" for name, keys in BRIDGE_KEYS.items() for key in keys}


def test_every_key_of_scaling_is_documented_with_its_default() -> None:
    listed = rows(section(text_of("docs/configuration.md"), "## Scaling"))
    documented = {words(row[0])[0]: row[1] for row in listed if row[0] != "key"}
    real = {f"scaling.{key.name}": key.default for key in fields(Scaling) if key.name != "rules"}
    real |= {f"scaling.ROLE.{key.name}": key.default for key in fields(ScaleRule)}
    assert set(documented) == set(real)
    for name, told in documented.items():
        if "Must be given" not in told and not name.endswith(".template"):
            default = real[name]
            assert f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`" in told, name


def test_every_key_of_a_policy_and_of_adoption_is_documented() -> None:
    about = text_of("docs/configuration.md")
    listed = rows(section(about, "## The policy"))
    named = {name for row in listed if row[0] != "key" for name in words(row[0])}
    assert named == {f"rule.{key}" for key in RULE_KEYS}
    listed = rows(section(about, "## Running agents"))
    named = {name for row in listed if row[0] != "key" for name in words(row[0])}
    assert named == {key.name for key in fields(AdoptRule)}


def test_the_example_configuration_has_only_keys_that_exist() -> None:
    example = re.search(r"```toml\n(.*?)```", text_of("docs/configuration.md"), re.DOTALL)
    assert example is not None
    given = tomllib.loads(example[1])
    assert given
    for name, table in given.items():
        assert set(table) <= {key.name for key in fields(SECTIONS[name])}


def test_every_key_of_a_driver_is_documented() -> None:
    documented = {
        key
        for row in rows(section(text_of("docs/drivers.md"), "## Keys"))
        for key in words(row[0])
        if row[0] != "key"
    }
    real = {f"{name}.{key}" for name, keys in KEYS.items() for key in keys}
    real |= {f"start.{key}" for key in START_KEYS} | {f"start.dialogs.NAME.{key}" for key in DIALOG_KEYS}
    assert documented == real | {"hooks.EVENT"}


# -- commands --


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.path))
def test_every_command_is_documented_with_its_options_and_examples(command: Command) -> None:
    about = section(text_of("docs/cli.md"), f"### novactl {' '.join(command.path)}")
    for param in command.params:
        for name in param.names or ((param.metavar or "|".join(param.choices)),):
            assert name in about, name
    for example in command.examples:
        assert example in about
    documented = {name for row in rows(about) for name in words(row[0]) if name.startswith("-")}
    assert documented == {name for param in command.params for name in param.names}


def test_what_every_command_takes_is_documented() -> None:
    about = section(text_of("docs/cli.md"), "## What holds everywhere")
    assert all(f"`{name}`" in about for param in COMMON for name in param.names)


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^### novactl (.+)$", text_of("docs/cli.md"), re.MULTILINE)) == KNOWN


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_command_line_in_a_paper_is_one_that_exists(paper: Path) -> None:
    named = re.findall(
        r"(?:^\s*|`|\$ |&& |\| )novactl ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", paper.read_text(), re.MULTILINE
    )
    unknown = [
        f"{one} {two}" for one, two in named if one not in KNOWN and f"{one} {two}".strip() not in KNOWN
    ]
    groups = {name.split()[0] for name in KNOWN if " " in name}
    assert [words for words in unknown if words.strip() not in groups] == []


def exit_codes(kinds: Iterable[type[NovaError]]) -> set[int]:
    return {kind.exit_code for kind in kinds}


def tree(root: type[NovaError]) -> list[type[NovaError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]


def test_every_exit_code_is_documented() -> None:
    listed = rows(section(text_of("docs/cli.md"), "## What holds everywhere"))
    codes = {int(row[0]) for row in listed if row[0].isdigit()}
    assert codes == exit_codes(tree(NovaError)) | {0, 130}


# -- the protocol --


def test_every_call_is_documented_with_its_access() -> None:
    documented = {
        name: (row[1], "*s*" in row[0])
        for row in rows(section(text_of("docs/protocol.md"), "## Calls"))
        for name in words(row[0])
    }
    real = Answers(cast("Node", None)).table()
    assert documented == {name: (call.access.name.lower(), call.streams) for name, call in real.items()}


def test_every_error_is_documented_with_its_exit_code() -> None:
    documented = {
        words(row[0])[0]: int(row[1])
        for row in rows(section(text_of("docs/protocol.md"), "## Errors"))
        if words(row[0])
    }
    assert documented == {kind.code: kind.exit_code for kind in tree(NovaError)}


# -- states --


def test_every_state_and_every_reason_to_hold_is_documented() -> None:
    about = text_of("docs/delivery.md")
    states = [words(row[0])[0] for row in rows(section(about, "## States")) if words(row[0])]
    assert states == [state.value for state in State]
    reasons = [words(row[0])[0] for row in rows(section(about, "## The gate")) if words(row[0])]
    assert sorted(reasons) == sorted(reason.value for reason in HoldReason)


def test_every_health_code_is_documented() -> None:
    said: set[str] = set()
    for room in (ROOT / "noval_d" / "health").glob("*.py"):
        said |= set(re.findall(r"Check\(\s*\"([a-z_]+)\"", room.read_text(encoding="utf-8")))
    said |= set(re.findall(r"_finding\(\s*\"([a-z_]+)\"", text_of("novactl/checks.py")))
    said |= set(re.findall(r"_finding\(\s*\"([a-z_]+)\"", text_of("novactl/commands/drivers.py")))
    listed = rows(section(text_of("docs/operations.md"), "## When something is wrong"))
    assert said == {code for row in listed for code in words(row[0])}


# -- the repository --


def test_every_link_between_papers_leads_somewhere() -> None:
    for paper in PAPERS:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", paper.read_text()):
            assert target.startswith("https://") or (paper.parent / target).exists(), (
                f"{paper.name}: {target}"
            )


def test_every_place_in_a_paper_that_a_link_names_is_a_heading() -> None:
    checked = 0
    for paper in PAPERS:
        for target, place in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", paper.read_text()):
            headings = re.findall(
                r"^#+ (.+)$", (paper.parent / target if target else paper).read_text(), re.MULTILINE
            )
            anchors = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
            assert anchors.count(place) == 1, f"{paper.name}: {target}#{place}"
            checked += 1
    assert checked > 20


def test_every_source_file_that_a_paper_names_exists() -> None:
    there = {path.relative_to(ROOT).as_posix() for path in tracked()}
    for paper in PAPERS:
        for name in re.findall(r"`([a-z_/]+\.(?:py|toml|sh|service))`", paper.read_text()):
            if name != "config.toml":
                assert any(path == name or path.endswith(f"/{name}") for path in there), (
                    f"{paper.name}: {name}"
                )


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    homes = "|".join(["/ro" + "ot/", "/wo" + "rk/", "/fa" + "rm/", "/Us" + "ers/", "bash" + "_jobs"])
    named = re.compile(rf"(?<![\w.)}}-])(?:{homes})")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:100]}"
        for path in tracked()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if named.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("target", ["help", "demo", "test", "lint", "bench", "setup", "soak", "clean"])
def test_make_has_what_the_papers_name(target: str) -> None:
    assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE)


def test_the_console_scripts_are_installed() -> None:
    scripts = tomllib.loads(text_of("pyproject.toml"))["project"]["scripts"]
    for name in scripts:
        done = subprocess.run(
            [Path(sys.executable).parent / name, "--help"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
