"""`nova-torchd`: read the configuration, run the node and its control socket, follow the signals."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from nova_torch.config import Config, doubts, load
from nova_torch.errors import NovaError
from nova_torch.version import VERSION
from noval_d import core_files, environment, failpoints
from noval_d.calls.table import Answers
from noval_d.control.peers import Permissions
from noval_d.control.server import ControlServer
from noval_d.memory import kept
from noval_d.node import watchdog
from noval_d.node.node import Node
from noval_d.node.notify import feed, notify
from noval_d.node.pulse import idle
from noval_d.node.reload import reload
from noval_d.node.service import ready
from noval_d.node.watchdog import Watchdog
from noval_d.threads import take_turns

log = logging.getLogger("nova.daemon")

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; return its exit code."""
    options = _parser().parse_args(argv)
    _log_to_stderr(options.log_format, options.log_level)
    try:
        failpoints.check()
        config = load(options.config)
        if options.serve_tmux:
            from noval_d.tmux.serve import serve

            serve(config)
        core_files.leave_none()
        environment.take_secrets()
        with _runner() as runner:
            runner.run(_run(config))
    except (NovaError, BaseExceptionGroup) as problem:
        told = _leaves(problem)
        if not told:
            raise
        for error in told:
            print(f"nova-torchd: {error}", file=sys.stderr)
        return told[0].exit_code
    return 0


async def _run(config: Config) -> None:
    for doubt in doubts(config):
        log.warning("config.doubtful", extra={"problem": doubt.message, "cure": doubt.hint})
    limit_s = watchdog.limit_s()
    node = Node(config, watchdog=None if limit_s is None else Watchdog(limit_s, feed))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, node.stop)
    loop.add_signal_handler(signal.SIGHUP, _reload, node)
    await node.run(_serve)


async def _serve(node: Node) -> None:
    """Serve the control socket until the node stops; tell systemd when it answers."""
    control = node.config.control
    may = Permissions.of(control.write_users, control.read_group or None)
    calls = Answers(node).table()
    server = ControlServer(control.socket, calls, may, audit=node.guard.audit, settled=node.tmux.settled)
    async with server:
        kept()
        await ready(node)
        await idle(node.stopped_typing.wait)


def _reload(node: Node) -> None:
    notify("RELOADING=1")
    try:
        reload(node, environment.load_again(node.config.source))
    except NovaError as error:
        log.warning("node.reload_refused", extra={"problem": str(error)})
    notify("READY=1")


def _runner() -> asyncio.Runner:
    import uvloop

    take_turns()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _leaves(problem: BaseException) -> list[NovaError]:
    """Return the errors that can be told to a person; empty when anything else is among them."""
    if isinstance(problem, NovaError):
        return [problem]
    if not isinstance(problem, BaseExceptionGroup):
        return []
    inner = [_leaves(error) for error in problem.exceptions]
    return [error for errors in inner for error in errors] if all(inner) else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nova-torchd",
        description="The daemon of a node: delivers messages into the agents in its tmux panes.",
        epilog="Usually started by systemd or by: novactl up",
    )
    parser.add_argument("--config", help="configuration file (default: see `novactl config show`)")
    parser.add_argument(
        "--serve-tmux",
        action="store_true",
        help="be the tmux server of the configuration instead, in the foreground (nova-tmux.service)",
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument("--version", action="version", version=f"nova-torchd {VERSION}")
    return parser


def _log_to_stderr(form: str, level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Text(logging.Formatter):
    """`time level event key=value …`; under systemd without the time."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        stamp = "" if "JOURNAL_STREAM" in os.environ else self.formatTime(record) + " "
        line = f"{stamp}{record.levelname.lower()} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        data = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        data |= {key: str(value) for key, value in _fields(record).items()}
        if record.exc_info:
            data["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(data, ensure_ascii=False)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


if __name__ == "__main__":
    sys.exit(main())
