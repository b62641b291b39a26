"""What a command and an option are: the words of the table in `table`. Light: plain classes, no imports."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Value = str | int | bool | list[str] | None
    Values = dict[str, Any]

TEXT, INTEGER, FLAG, LIST, CHOICE = "text", "integer", "flag", "list", "choice"


class Param:
    """One argument (no `names`) or option of a command."""

    __slots__ = ("bare", "choices", "completes", "help", "kind", "metavar", "name", "names", "required")

    def __init__(
        self,
        name: str,
        names: tuple[str, ...] = (),
        kind: str = TEXT,
        *,
        help: str,  # noqa: A002  # what Typer calls it
        metavar: str = "",
        choices: tuple[str, ...] = (),
        bare: str = "",
        required: bool = False,
        completes: str = "",
    ) -> None:
        self.name = name
        self.names = names
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.choices = choices
        self.bare = bare  # the value that the option stands for when it is given without one
        self.required = required
        self.completes = completes  # "agents": the agents' names

    def __repr__(self) -> str:
        return f"<Param {' '.join(self.names) or self.name.upper()} {self.kind}>"

    @property
    def empty(self) -> Value:
        """What the value is when it is not given."""
        return False if self.kind == FLAG else [] if self.kind == LIST else None


class Command:
    """One command: where it is (`("dead", "list")`), what it runs, what it takes and how it is explained."""

    __slots__ = ("examples", "help", "lenient", "params", "path", "run")

    def __init__(
        self,
        path: str,
        run: str,
        help: str,  # noqa: A002  # what Typer calls it
        params: tuple[Param, ...] = (),
        *,
        examples: tuple[str, ...],
        lenient: bool = False,
    ) -> None:
        self.path = tuple(path.split())
        self.run = run
        self.help = help
        self.params = params
        self.examples = examples
        self.lenient = lenient  # takes whatever it is given: a hook never fails its agent

    def __repr__(self) -> str:
        return f"<Command {' '.join(self.path)}>"

    def takes(self) -> tuple[Param, ...]:
        """Return its own parameters and those that every command has."""
        own = {param.name for param in self.params}
        return (*self.params, *(param for param in COMMON if param.name not in own))


def option(names: str, kind: str = TEXT, **more: Any) -> Param:
    """Return an option; its value's name is that of the first long name (`in_` for --in: that word is Python's)."""
    split = tuple(names.split())
    name = split[0].lstrip("-").replace("-", "_")
    return Param(f"{name}_" if name in ("in", "from") else name, split, kind, **more)


JSON = option("--json", FLAG, help="Print JSON (a line an entry for streams).")
SOCKET = option("--socket", metavar="PATH", help="Control socket of the daemon (default: $NOVA_SOCKET).")
TIMEOUT = option("--timeout", metavar="DURATION", help="How long to wait for the daemon: 500ms, 30s, 5m.")
QUIET = option("--quiet -q", FLAG, help="No notes on stderr; errors stay.")
COMMON = (JSON, SOCKET, TIMEOUT, QUIET)
