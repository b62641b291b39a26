"""Make the Typer app from the table: help, completion and the sentences for usage errors."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import completion

from novactl import out
from novactl.light import expand
from novactl.main import COMPLETING, invoke
from novactl.options import CHOICE, COMMON, FLAG, INTEGER, LIST, Command, Param
from novactl.table.whole import COMMANDS, GROUPS

if TYPE_CHECKING:
    from novactl.options import Values

PROGRAM = "novactl"
ABOUT = "Deliver messages into terminal AI agents in tmux panes, exactly once, and prove it."
CONTEXT = {"help_option_names": ["--help", "-h"]}
COMMON_PANEL = "Everywhere"
USAGE = 2

# Typer 0.20 to 0.25 raise click's errors, later ones those of the click they carry; both have this ancestor.
_ClickError: Any = typer.BadParameter.__mro__[2]


def run(argv: list[str]) -> int:
    """Run `argv` through Typer and return the exit code. Raises NovaError and what the commands raise."""
    if COMPLETING in os.environ:
        os.environ["COLUMNS"] = "1000"  # a help text that is wrapped would be two completions
        completion.completion_init()  # type: ignore[attr-defined]  # Typer's classes for the shells
    program = typer.main.get_command(build())
    try:
        words = expand(argv, COMMANDS)
        code = program.main(args=words, prog_name=PROGRAM, standalone_mode=False, complete_var=COMPLETING)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _ClickError as error:
        return _usage_error(error)
    return code if isinstance(code, int) else 0


def build() -> typer.Typer:
    """Return the app, made from the table."""
    app = _group(ABOUT, invoke_without_command=False)
    app.callback()(_function(COMMON, _keep_common))
    groups: dict[str, typer.Typer] = {}
    for name, about in GROUPS.items():
        groups[name] = _group(about)
        app.add_typer(groups[name], name=name)
    for command in COMMANDS:
        home = groups[command.path[0]] if len(command.path) > 1 else app
        home.command(
            command.path[-1],
            help=command.help,
            short_help=command.help.split(". ")[0].rstrip("."),
            epilog=_epilog(command),
            context_settings=CONTEXT
            | ({"ignore_unknown_options": True, "allow_extra_args": True} if command.lenient else {}),
        )(_function(command.takes(), _runner(command), own=len(command.params)))
    return app


def _group(about: str, **more: Any) -> typer.Typer:
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        **more,
    )


def _epilog(command: Command) -> str:
    return "\n\n".join(("Examples:", *command.examples))


def _keep_common(ctx: typer.Context, values: Values) -> None:
    ctx.obj = values


def _runner(command: Command) -> Any:
    def runner(ctx: typer.Context, values: Values) -> int:
        before: Values = ctx.obj or {}
        for param in COMMON:
            if values[param.name] == param.empty:
                values[param.name] = before.get(param.name, param.empty)
        return invoke(command, values)

    return runner


def _function(params: tuple[Param, ...], work: Any, own: int | None = None) -> Any:
    """Return a function with the signature that Typer reads the parameters from."""

    def function(ctx: typer.Context, **values: Any) -> Any:
        return work(ctx, values)

    signature = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for index, param in enumerate(params):
        panel = COMMON_PANEL if own is not None and index >= own else None
        default = inspect.Parameter.empty if param.required else param.empty
        signature.append(
            inspect.Parameter(
                param.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=_annotation(param, panel),
            )
        )
    function.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in signature}
    return function


def _annotation(param: Param, panel: str | None) -> Any:
    kind: Any = {FLAG: bool, INTEGER: int, LIST: list[str]}.get(param.kind, str)
    if param.kind == CHOICE:
        kind = Literal[param.choices]
    if not param.required and param.kind not in (FLAG, LIST):
        kind = kind | None
    more: dict[str, Any] = {"help": param.help, "show_default": False}
    if param.metavar:
        more["metavar"] = param.metavar
    if param.completes == "agents":
        more["autocompletion"] = _agent_names
    if param.kind == INTEGER:
        more["min"] = 0
    if param.names:
        return Annotated[kind, typer.Option(*param.names, rich_help_panel=panel, **more)]
    return Annotated[kind, typer.Argument(**more)]


def _agent_names(incomplete: str) -> list[str]:
    """Return the agents whose names start so; none when no daemon answers."""
    from nova_torch.errors import NovaError
    from novactl.session import ask

    try:
        found = ask({"timeout": "1s"}, "agents")
    except NovaError:
        return []
    return [a["agent_id"] for a in found if str(a.get("agent_id", "")).startswith(incomplete)]


def _usage_error(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    message = error.format_message().strip().replace("Value error, ", "")
    if type(error).__name__ == "NoArgsIsHelpError":
        return USAGE  # the help has been printed
    sentence = message if message.endswith((".", "?")) else f"{message}."
    out.error(f"{sentence} See: {path} --help")
    return USAGE


def completion_script(shell: str) -> str:
    """Return Typer's own completion script of `shell`."""
    script: str = completion.get_completion_script(  # type: ignore[attr-defined]  # imported there, not listed
        prog_name=PROGRAM, complete_var=COMPLETING, shell=shell
    )
    return script
