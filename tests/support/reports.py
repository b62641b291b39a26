"""Read what `novactl bugreport` wrote."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.node import TestNode


@dataclass(frozen=True, slots=True)
class Report:
    """The members of an archive by their names, without its folder."""

    members: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Report:
        with tarfile.open(path) as archive:
            assert {member.mode for member in archive} == {0o600}
            files = {member.name: archive.extractfile(member) for member in archive}
            texts = {name: file.read().decode() for name, file in files.items() if file is not None}
        assert {name.partition("/")[0] for name in texts} == {path.name.removesuffix(".tar.gz")}
        return cls({name.partition("/")[2]: text for name, text in texts.items()})

    def json(self, name: str) -> Any:
        return json.loads(self.members[name])

    def missing(self) -> dict[str, str]:
        """Return why a section is not there, by its file."""
        return {s["file"]: s["missing"] for s in self.json("contents.json")["sections"] if s["missing"]}


def report(made: TestNode, path: Path, *more: str) -> Report:
    """Have a report of the node written; fail when that ends otherwise than with 0."""
    done = made.novactl("bugreport", "-o", str(path), *more)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return Report.read(path)
