"""Show in a minute what Nova-Torch does: real novactl commands, two agents, and proof. `make demo`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from types import FrameType

from tests.lab.claude import find_claude
from tests.lab.demo_stage import Actor, DemoFailed, Stage, stage, wait
from tests.lab.install import AGENTS, InstallError, install
from tests.lab.tmux import LabTimeout

WIDTH = 78
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ULID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")
HELLO = "Good morning, alice: what is on your list today?"
TO_BOB = "The parser is finished; please review it."
TO_ALICE = "Reviewed: two remarks, both small."
TOOL = "USETOOL: create a file"
BEHIND_DIALOG = "When that is done, please write the changelog."
DRAFT = "half a sentence of a per"
BEHIND_DRAFT = "The build is green again."


@dataclass(slots=True)
class Teller:
    """Prints the story; in colours where somebody looks."""

    colours: bool
    chapter: int = 0

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self.chapter += 1
        line = f"── {self.chapter}. {text} ──"
        print(f"\n{self._dressed(line.ljust(WIDTH, '─'), '1')}", flush=True)

    def say(self, text: str) -> None:
        """Explain something."""
        print(self._dressed(f"   {text}", "2"), flush=True)

    def command(self, text: str) -> None:
        """Show a command line that runs now."""
        print(f"\n{self._dressed(text, '1;36')}", flush=True)

    def show(self, output: str) -> None:
        """Show what a command said."""
        print(output.rstrip("\n"), flush=True)

    def verdict(self, good: bool, text: str) -> None:
        """Show the result of a check."""
        mark = self._dressed("✔", "32") if good else self._dressed("✘", "31")
        print(f" {mark} {text}", flush=True)

    def _dressed(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text


@dataclass(slots=True)
class Demo:
    """The story, one method a chapter. Each checks what it shows; `sent` is what must have arrived once."""

    on: Stage
    tell: Teller
    sent: list[tuple[Actor, str, str]] = field(default_factory=list)

    def run(self) -> None:
        """Tell it all. Raises DemoFailed when anything is not as it should be."""
        self.node()
        self.both_ways()
        self.dialog()
        self.draft()
        self.look_closer()
        self.proof()

    def node(self) -> None:
        alice, bob = self.on.alice, self.on.bob
        self.tell.title("A node, and two agents that run in tmux already")
        self._novactl("up")
        self._novactl("register", alice.name, "--pane", alice.pane, "--role", "builder")
        self._novactl("register", bob.name, "--pane", bob.pane, "--role", "reviewer")
        self.on.wait_agent(alice, "idle")
        self.on.wait_agent(bob, "idle")

    def both_ways(self) -> None:
        alice, bob = self.on.alice, self.on.bob
        self.tell.title("Messages: from a person, and between the agents")
        self.tell.say("--wait=acknowledged ends when the agent's own hook has reported the prompt.")
        self._send(alice, HELLO, "--wait=acknowledged")
        self._send(bob, TO_BOB, "--wait=acknowledged", within=alice)
        self._send(alice, TO_ALICE, "--wait=acknowledged", within=bob)

    def dialog(self) -> None:
        alice = self.on.alice
        self.tell.title("An open permission dialog: nothing is typed into it")
        self.tell.say("An Enter here would approve the tool. So alice's next message has to wait.")
        self._send(alice, TOOL, "--wait=acknowledged")
        self.on.wait_agent(alice, "dialog")
        message = self._send(alice, BEHIND_DIALOG)
        self.on.wait_message(message, "held", "dialog")
        self._novactl("status")
        self._novactl("peek", alice.name, "--lines", "12")
        self._check(not self.on.tool_ran(), "alice's dialog is open and nobody has approved the tool")
        self._check(alice.received(BEHIND_DIALOG) == 0, "alice has not got the message yet")
        self.tell.say("Now a person answers the dialog, and the message goes in by itself:")
        self.on.tmux.press(alice.pane, "Enter")
        self.on.wait_message(message, "acknowledged")
        self._novactl("trace", message)
        self._check("held" in self._states(message), "it was held, and then delivered")
        self._check(self.on.tool_ran(), "the tool ran when the person said so")

    def draft(self) -> None:
        bob = self.on.bob
        self.tell.title("A person's half-typed line: it is not destroyed")
        self.tell.say(f"Somebody has begun to type into bob's box: {DRAFT!r}")
        self.on.tmux.press(bob.pane, "-l", DRAFT)
        self.on.tmux.wait_for(bob.pane, DRAFT)
        message = self._send(bob, BEHIND_DRAFT)
        self.on.wait_message(message, "held", "draft")
        self._novactl("agents")
        self._novactl("peek", bob.name, "--lines", "6")
        self._check(DRAFT in self.on.tmux.capture(bob.pane), "the draft stands as it was typed")
        self._check(bob.received(BEHIND_DRAFT) == 0, "bob has not got the message yet")
        self.tell.say("The person clears the line, and the message goes in:")
        self.on.tmux.press(bob.pane, "C-u")
        self.on.wait_message(message, "acknowledged")
        self._novactl("trace", message)
        self._check("held" in self._states(message), "it was held, and then delivered")

    def look_closer(self) -> None:
        self.tell.title("What the agents show now")
        for actor in (self.on.alice, self.on.bob):
            self.on.wait_agent(actor, "idle")
        self._novactl("agents")
        self._novactl("peek", self.on.bob.name, "--lines", "12")

    def proof(self) -> None:
        self.tell.title("The proof: what really arrived, counted behind the agents")
        for actor, text, message in self.sent:
            wait(lambda a=actor, t=text: a.received(t) > 0, 10.0, f"{text!r} arrived")  # type: ignore[misc]
            state = self.on.ask("trace", message)["state"]
            count = actor.received(text)
            self._check(
                (count, state) == (1, "acknowledged"), f"arrived {count}×, {state}: {actor.name} ← {text}"
            )
        self._novactl("down")

    # -- help --

    def _send(self, actor: Actor, text: str, *options: str, within: Actor | None = None) -> str:
        """Send as shown, note what must arrive, and return the message's id."""
        said = self._novactl("send", actor.name, text, *options, within=within)
        found = ULID.search(said)
        if found is None:
            raise DemoFailed(f"novactl send printed no id: {said.strip()}")
        self.sent.append((actor, text, found[0]))
        return found[0]

    def _novactl(self, *arguments: str, within: Actor | None = None) -> str:
        """Print a novactl command line, run it, and print what it said."""
        words = " ".join(word if re.fullmatch(r"[\w%=./:-]+", word) else f'"{word}"' for word in arguments)
        place = f"({within.name}'s pane) " if within is not None else ""
        self.tell.command(f"{place}$ novactl {words}")
        said = self.on.novactl(*arguments, within=within)
        self.tell.show(said)
        return said

    def _states(self, message: str) -> list[str]:
        return [hop["state"] for hop in self.on.ask("trace", message)["hops"]]

    def _check(self, good: bool, text: str) -> None:
        self.tell.verdict(good, text)
        if not good:
            raise DemoFailed(f"this should be: {text}")


def main() -> int:
    """Run the demo; 0 when everything was as it should be, 130 when it was interrupted."""
    for name in SIGNALS:
        signal.signal(name, _interrupt)
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    tell = Teller(colours)
    began = time.monotonic()
    try:
        agent = _agent()
        _introduce(tell, agent)
        with stage(agent, colours=colours) as on:
            try:
                Demo(on, tell).run()
            finally:
                _deaf()
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started is gone", file=sys.stderr)
        return 130
    except (DemoFailed, InstallError, LabTimeout) as problem:
        print(f"\nthe demo FAILED: {problem}", file=sys.stderr)
        return 1
    tell.title("Done")
    tell.verdict(True, f"all as it should be, in {time.monotonic() - began:.0f} s; nothing is left running")
    return 0


def _agent() -> str:
    """Which agents play: $DEMO_AGENT, else the real Claude Code when it is installed, else our stand-in."""
    wanted = os.environ.get("DEMO_AGENT", "")
    if wanted not in ("", "claude", "tui"):
        raise DemoFailed(f"DEMO_AGENT is {wanted!r}; it may be claude or tui.")
    if wanted == "claude" and find_claude() is None:
        install(AGENTS["claude"])
    return wanted or ("tui" if find_claude() is None else "claude")


def _introduce(tell: Teller, agent: str) -> None:
    if shutil.which("tmux") is None:
        raise DemoFailed("tmux is not installed: install tmux 3.2 or later, then run make demo again.")
    if agent == "claude":
        tell.say("Two real Claude Codes, talking to a stub model on this machine: no account, no cost.")
    else:
        tell.say("Two stand-ins that behave like Claude Code. With the real one: DEMO_AGENT=claude make demo")
    tell.say("Everything has its own home, tmux server and broker, and is removed at the end.")
    tell.say("Every line after a $ is really run.")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    _deaf()
    raise KeyboardInterrupt


def _deaf() -> None:
    """Hear no further signal: another Ctrl-C must not stop the cleaning up."""
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
