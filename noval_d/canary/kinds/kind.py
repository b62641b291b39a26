"""How one kind of agent is started against the stub model: in which environment, with which files. A value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = "/a-page"  # nobody asks the stub model for it who was not allowed to


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of agent. It needs no account, and nothing of the user's own settings, with what stands here.

    `url` is always that of the stub model, without a path.
    """

    name: str
    """That of its driver, too."""
    title: str
    environment: Callable[[str], Mapping[str, str]]
    """`environment(url)`: the variables that lead it to the stub and keep it quiet."""
    files: Callable[[str, str], Mapping[str, str]]
    """`files(directory, url)`: what stands in its HOME, by path: onboarding done, the directory trusted."""
    hooked: bool = False
    """Whether `novactl hooks install` knows it."""
    ask: str = "USETOOL"
    """The prompt that makes it ask for a permission; `{url}` is the stub model's."""
    by_hand: bool = False
    """Whether that is typed as by a person: where it is no proven message before the question is answered."""
    refuse: tuple[str, ...] = ("Escape",)
    """The keys that say no, by tmux's names."""

    def furnish(self, home: Path, directory: Path, url: str) -> None:
        """Write its files into a home."""
        for name, text in self.files(str(directory), url).items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
