"""Start the daemon in the background: one start at a time, its output in the log, its end noticed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from nova_torch.config import Config
from nova_torch.errors import NovaError, StoreFailed, TimedOut
from nova_torch.paths import LOG_NAME

LOCK_NAME = "up.lock"
TAIL_BYTES = 8192
LOG_BYTES = 64 << 20  # a larger log makes room before the next start
LOOK_S = 0.05
LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True, kw_only=True)
class Starting:
    """A start under way. As a context manager it holds the lock that keeps a second `up` waiting."""

    log: str
    _lock: int
    _offset: int
    _argv: list[str]
    _process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def command(config_file: str | None) -> list[str]:
        """Return the command line of the daemon."""
        argv = [sys.executable, "-P", "-m", "noval_d"]
        return [*argv, "--config", os.path.abspath(config_file)] if config_file else argv

    @classmethod
    def begin(cls, config: Config, config_file: str | None, deadline: float) -> Self:
        """Take the lock of the state directory, waiting for another `up` until `deadline`."""
        try:
            os.makedirs(config.state.dir, mode=0o700, exist_ok=True)
            lock = os.open(
                os.path.join(config.state.dir, LOCK_NAME),
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o600,
            )
            log = os.path.join(config.state.dir, LOG_NAME)
            if os.path.exists(log) and os.path.getsize(log) > LOG_BYTES:
                os.replace(log, f"{log}.1")
            offset = os.path.getsize(log) if os.path.exists(log) else 0
        except OSError as error:
            raise StoreFailed(
                f"the state directory {config.state.dir} cannot be used: {error.strerror}.",
                "Set NOVA_STATE_DIR to one that can.",
            ) from error
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline:
                    os.close(lock)
                    raise TimedOut("another novactl up is still at work.", f"See its log: {log}") from None
                time.sleep(LOOK_S)
                continue
            return cls(log=log, _lock=lock, _offset=offset, _argv=cls.command(config_file))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
        if self._process is not None:
            self._process.returncode = self._process.poll() or 0  # it is meant to outlive us

    @property
    def pid(self) -> int:
        """The daemon's process id, 0 before it was started."""
        return self._process.pid if self._process else 0

    def ended(self) -> int | None:
        """Start the daemon when this was not done yet; return its exit code once it has ended."""
        if self._process is None:
            self._process = self._start()
        return self._process.poll()

    def last_words(self, code: int) -> str:
        """Return the last line that this start wrote to the log, or how it ended."""
        with open(self.log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._offset, size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = said[-1] if said else f"it ended with {how} and said nothing."
        words = last.removeprefix("nova-torchd: ")
        return words if words.endswith((".", "?")) else f"{words}."

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            fd = os.open(self.log, LOG_FLAGS, 0o600)
        except OSError as error:
            raise StoreFailed(f"the log {self.log} cannot be written: {error.strerror}.") from error
        try:
            return subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=fd, stderr=fd, start_new_session=True, cwd="/"
            )
        except OSError as error:
            raise NovaError(f"{self._argv[0]} cannot be started: {error.strerror}.") from error
        finally:
            os.close(fd)
