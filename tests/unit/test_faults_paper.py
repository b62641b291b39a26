"""docs/faults.md: every row names a fault once, its outcome in one of the known words, and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.unit.test_project import ROOT, rows, section, text_of, words

PAPER = text_of("docs/faults.md")
SECTIONS = (
    "Process deaths at each step",
    "Broker",
    "Node and machine",
    "tmux and pane",
    "Composer and dialogs",
    "Two daemons",
    "Bad input",
    "Hostile input",
)
LEAST = 240
OUTCOMES = frozenset({"once", "held", "refused", "reported", "unconfirmed", "unharmed"})
TEST = re.compile(r"(tests/\w+/test_\w+\.py)::(test_\w+)")


def faults() -> list[tuple[str, str, str]]:
    """Return every row of the tables: fault, what happens, shown by."""
    found = []
    for name in SECTIONS:
        head, *body = rows(section(PAPER, f"## {name}"))
        assert head == ["fault", "what happens", "shown by"], name
        assert body, name
        assert all(len(row) == 3 for row in body), name
        found += [(f"{name}: {row[0]}", row[1], row[2]) for row in body]
    return found


@cache
def functions_of(path: str) -> frozenset[str]:
    """Return the names of the test functions that pytest collects from a file."""
    file = ROOT / path
    assert file.is_file(), path
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    plain = {node.name for node in tree.body if isinstance(node, kinds)}
    grouped = {
        node.name
        for group in tree.body
        if isinstance(group, ast.ClassDef) and group.name.startswith("Test")
        for node in group.body
        if isinstance(node, kinds)
    }
    return frozenset(plain | grouped)


def test_no_other_sections_hold_rows() -> None:
    assert re.findall(r"^## (.+)$", PAPER, re.MULTILINE) == list(SECTIONS)


def test_there_are_enough_faults_and_each_is_told_once() -> None:
    names = [name for name, _, _ in faults()]
    assert len(names) == len(set(names))
    assert len(names) >= LEAST


def test_each_outcome_begins_with_a_word_that_is_explained() -> None:
    explained = {words(row[0])[0] for row in rows(PAPER.split("\n## ", 1)[0]) if row[0] != "word"}
    assert explained == OUTCOMES
    for name, outcome, _ in faults():
        assert outcome.startswith("`"), name
        assert words(outcome)[0] in OUTCOMES, name


def test_each_test_that_is_named_exists() -> None:
    for name, _, shown in faults():
        named = words(shown)
        assert named, name
        for one in named:
            found = TEST.fullmatch(one)
            assert found is not None, f"{name}: {one}"
            assert found[2] in functions_of(found[1]), f"{name}: {one}"


def test_the_paper_is_linked() -> None:
    assert any("faults.md" in path.read_text(encoding="utf-8") for path in Path(ROOT).glob("*.md"))
