"""Fuzz the targets by coverage, each for its share of the time: `make fuzz FUZZ_MINUTES=10`. Needs atheris.

What breaks a target is written to tests/fuzz/crashers/TARGET: from then on every test run tries it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
INPUT_BYTES = 4096
HANG_S = 10
MEMORY_MIB = 1024


def main() -> int:
    """Run every target in a process of its own; 1 when any was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--one", metavar="TARGET", help="be the process of one target, for all the time")
    parser.add_argument("--corpus", metavar="DIRECTORY", help="where that process keeps its inputs")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these")
    options = parser.parse_args()
    if options.one:
        return fuzz(options.one, options.minutes * 60, Path(options.corpus))
    from tests.fuzz.targets import TARGETS

    if unknown := sorted({*options.targets} - TARGETS.keys()):
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    share = options.minutes / len(names)
    broken = []
    for name in names:
        with tempfile.TemporaryDirectory(
            prefix="nova-fuzz-"
        ) as corpus:  # libFuzzer ends without a word to Python
            command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--minutes", str(share)]
            command += ["--corpus", corpus]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        told = [line for line in done.stderr.splitlines() if " exec/s: " in line]
        print(f"{name}: {'ok' if done.returncode == 0 else 'BROKEN'} {told[-1] if told else ''}", flush=True)
        if done.returncode:
            broken.append(name)
            print(done.stderr[-4000:], flush=True)
    return int(bool(broken))


def fuzz(name: str, seconds: float, corpus: Path) -> int:
    """Fuzz one target; libFuzzer ends the process when it is broken.

    Nothing of ours is imported before it is instrumented.
    """
    import atheris

    with atheris.instrument_imports(include=["nova_torch", "noval_d", "novactl"]):
        from tests.fuzz.targets import TARGETS, samples
    crashers = HERE / "crashers" / name
    crashers.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples(name)):
        (corpus / str(number)).write_bytes(sample)
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={INPUT_BYTES}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-artifact_prefix={crashers}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
