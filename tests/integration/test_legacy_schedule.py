"""`schedule_with_note.sh`: its three lines and note file, and each defect of the original fixed."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.tmux import PrivateTmux
from tests.support.daemon import FakeDaemon, fake_daemon
from tests.support.legacy import SCHEDULE, Said, Window, environment, run, running, window
from tests.support.node import until

LINES = re.compile(
    r"Scheduling check in (?P<minutes>\S+) minutes with note: (?P<note>.*)\n"
    r"Scheduled successfully - process detached \(PID: (?P<pid>\d+)\)\n"
    r"SCHEDULED TO RUN AT: (?P<at>\d\d:\d\d:\d\d) \(in (?P=minutes) minutes from (?P<now>\d\d:\d\d:\d\d)\)\n",
    re.DOTALL,
)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Window]:
    with PrivateTmux.create() as tmux:
        yield window(tmux, tmp_path, ("new-session", "-d", "-s", "tmux-orc"), "orc")


def env_of(target: Window, **more: str) -> dict[str, str]:
    return environment(target.tmux, **more)


def scheduled(said: Said) -> dict[str, str]:
    found = LINES.fullmatch(said.out.decode())
    assert found is not None, said
    assert said.code == 0
    return found.groupdict()


def notes(target: Window) -> Path:
    return target.tmux.root / "state" / "legacy"


def end(pid: str) -> None:
    os.kill(int(pid), signal.SIGTERM)
    until(lambda: not running(int(pid)), what="the end of the waiting process")


def clock(text: str) -> int:
    hours, minutes, seconds = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def test_it_prints_the_three_lines_writes_the_note_and_types_it_when_its_time_has_come(
    target: Window,
) -> None:
    began = time.monotonic()
    said = run(SCHEDULE, "0.06", "look at $HOME; `x`", "tmux-orc:0", env=env_of(target))
    assert time.monotonic() - began < 3.6  # 0.06 minutes: it does not wait for them
    told = scheduled(said)
    assert (told["minutes"], told["note"]) == ("0.06", "look at $HOME; `x`")
    assert (clock(told["at"]) - clock(told["now"])) % 86_400 in (3, 4)
    assert f"does not survive a reboot. To cancel it: kill {told['pid']}" in said.err
    current = (notes(target) / "next_check_note.txt").read_text()
    assert re.fullmatch(
        r"=== Next Check Note \(.+\) ===\nScheduled for: 0\.06 minutes\n\nlook at \$HOME; `x`\n", current
    )
    (own,) = set(notes(target).glob("next_check_note.*.txt"))
    assert own.read_text() == current
    typed = target.fresh().decode()
    took = time.monotonic() - began
    assert typed == f"Time for orchestrator check! look at $HOME; `x` (cat {own} && novactl status)\r"
    assert took >= 3.6
    until(lambda: not running(int(told["pid"])), what="the end of the waiting process")
    assert " 'tmux-orc:0' sent" in (notes(target) / "schedule.log").read_text()


def test_without_arguments_it_takes_the_originals(target: Window) -> None:
    told = scheduled(run(SCHEDULE, env=env_of(target)))
    assert (told["minutes"], told["note"]) == ("3", "Standard check-in")
    assert (clock(told["at"]) - clock(told["now"])) % 86_400 == 180
    assert running(int(told["pid"]))
    end(told["pid"])


def test_the_waiting_process_is_detached_and_shows_neither_note_nor_target(target: Window) -> None:
    pid = scheduled(run(SCHEDULE, "5", "a secret", "tmux-orc:0", env=env_of(target)))["pid"]
    assert os.getsid(int(pid)) == int(pid)
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"secret" not in line
    assert b"tmux-orc" not in line
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (1, 2)} == {"/dev/null"}
    end(pid)
    assert target.nothing()


def test_two_schedules_keep_their_own_notes(target: Window) -> None:
    first = scheduled(run(SCHEDULE, "5", "one", env=env_of(target)))
    second = scheduled(run(SCHEDULE, "6", "two", env=env_of(target)))
    texts = {path.read_text().splitlines()[-1] for path in notes(target).glob("next_check_note.*.txt")}
    assert texts == {"one", "two"}
    assert (notes(target) / "next_check_note.txt").read_text().endswith("\n\ntwo\n")
    end(first["pid"])
    end(second["pid"])


def test_the_note_stands_where_the_environment_says(target: Window, tmp_path: Path) -> None:
    note = tmp_path / "some where" / "note"
    told = scheduled(run(SCHEDULE, "9", "here", env=env_of(target, NOVA_LEGACY_NOTE=str(note))))
    assert note.read_text().splitlines()[1:] == ["Scheduled for: 9 minutes", "", "here"]
    end(told["pid"])


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("soon", "x", "tmux-orc:0"), 2, "'soon' is no number of minutes"),
        (("1e3", "x", "tmux-orc:0"), 2, "is no number of minutes"),
        (("-1", "x", "tmux-orc:0"), 2, "is no number of minutes"),
        (("3", "x", "nobody:0"), 5, "there is no session nobody"),
        (("3", "x", "tmux-orc:0; touch pwn; #"), 5, "there is no window 0; touch pwn; #"),
        (("3", "x", "$(touch pwn)"), 5, "there is no session $(touch pwn)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_scheduled_is_an_error_and_leaves_nothing(
    target: Window, tmp_path: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    said = run(SCHEDULE, *words, env=env_of(target))
    assert (said.out, said.code) == (b"", code)
    assert sentence in said.err
    assert not notes(target).exists()
    assert not Path("pwn").exists()
    assert not (tmp_path / "pwn").exists()


def test_control_bytes_of_a_note_reach_neither_its_file_nor_the_pane(target: Window) -> None:
    note = "look\x1b]0;x\x07 here\x1b[201~\rand\x00 there".replace("\x00", "\x02")
    said = run(SCHEDULE, "0.005", note, "tmux-orc:0", env=env_of(target))
    assert f"with note: {note}\n".encode() in said.out  # as the original says it
    (own,) = notes(target).glob("next_check_note.*.txt")
    assert own.read_text().endswith("\n\nlook]0;x here[201~\nand there\n")
    assert target.fresh().startswith(b"Time for orchestrator check! look]0;x here[201~\nand there (cat ")


def test_the_log_is_never_written_through_a_link_or_into_what_is_no_file(
    target: Window, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine\n")
    notes(target).mkdir(parents=True)
    log = notes(target) / "schedule.log"
    for fifo in (False, True):
        if fifo:
            os.mkfifo(log)
        else:
            log.symlink_to(precious)
        pid = scheduled(run(SCHEDULE, "0", "now", env=env_of(target)))["pid"]
        target.fresh()
        until(lambda pid=pid: not running(int(pid)), what="the end of the waiting process")  # type: ignore[misc]
        log.unlink()
    assert precious.read_text() == "mine\n"
    log.touch(0o666)
    log.chmod(0o666)
    pid = scheduled(run(SCHEDULE, "0", "now", env=env_of(target)))["pid"]
    target.fresh()
    until(lambda: not running(int(pid)), what="the end of the waiting process")
    assert (log.read_text().count(" sent"), log.stat().st_mode & 0o777) == (1, 0o600)


def test_what_went_wrong_later_is_in_the_log(target: Window) -> None:
    told = scheduled(run(SCHEDULE, "0.005", "too late", env=env_of(target)))
    target.tmux.tmux("rename-session", "-t", "=tmux-orc", "gone")
    until(lambda: not running(int(told["pid"])), what="the end of the waiting process")
    log = (notes(target) / "schedule.log").read_text()
    assert "failed: tmux-orc:0: there is no session tmux-orc." in log
    assert "too late" not in log
    assert target.nothing()


# -- with a daemon --


def with_agent(target: Window, daemon: FakeDaemon) -> dict[str, str]:
    target.tmux.tmux("set-option", "-p", "-t", target.pane, "@nova_agent", "orc")
    return env_of(target, NOVA_SOCKET=daemon.path)


def test_a_daemon_keeps_the_schedule_of_its_agent_and_killing_the_pid_cancels_it(target: Window) -> None:
    with fake_daemon(schedule_add={"id": "x"}, schedule_cancel={"id": "x"}) as daemon:
        said = run(SCHEDULE, "0.5", "check", env=with_agent(target, daemon))
        told = scheduled(said)
        (asked,) = daemon.asked("schedule_add")
        assert (asked["target"], asked["in_s"], asked["form"]) == ("orc", 30.0, "raw")
        assert asked["body"].startswith("Time for orchestrator check! check (cat ")
        assert said.err == (
            "schedule_with_note.sh: nova-torchd keeps it. "
            f"To cancel it: novactl schedule cancel {asked['id']}\n"
        )
        end(told["pid"])
        assert [each["id"] for each in daemon.asked("schedule_cancel")] == [asked["id"]]
        assert target.nothing()


def test_a_daemon_without_schedules_is_done_without(target: Window) -> None:
    with fake_daemon() as daemon:
        said = run(SCHEDULE, "5", "check", env=with_agent(target, daemon))
        assert "does not survive a reboot" in said.err
        end(scheduled(said)["pid"])
