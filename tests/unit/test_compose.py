"""docker-compose.yml says what the design says. Read as text: no YAML parser is a dependency."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nova_torch.broker.server_info import DRAGONFLY_FLOOR

TEXT = (Path(__file__).resolve().parents[2] / "docker-compose.yml").read_text(encoding="utf-8")
LINES = [line.strip() for line in TEXT.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_the_image_is_pinned_to_the_floor() -> None:
    [image] = [line for line in LINES if line.startswith("image:")]
    assert image.endswith(":v" + ".".join(str(number) for number in DRAGONFLY_FLOOR))


@pytest.mark.parametrize(
    "flag",
    [
        "--cluster_mode=emulated",
        "--lock_on_hashtags",
        "--snapshot_cron=*/1 * * * *",
        "--dbfilename=nova-{timestamp}",
        "--pubsub_slow_subscriber_timeout_ms=5000",
    ],
)
def test_the_recommended_flags_are_given(flag: str) -> None:
    assert f"- {flag}" in LINES


def test_it_listens_on_loopback_only() -> None:
    published = [line for line in LINES if re.match(r'- "?[\d.:]+:\d+"?$', line)]
    assert published == ['- "127.0.0.1:6379:6379"']


def test_the_password_comes_from_a_file_and_is_no_argument() -> None:
    assert "file: ./secrets/broker_password" in LINES
    assert not [
        line
        for line in LINES
        if "requirepass=" in line and "$$(cat /run/secrets/broker_password)" not in line
    ]


def test_every_thread_has_the_memory_it_needs() -> None:
    threads = int(re.findall(r"--proactor_threads=(\d+)", TEXT)[0])
    gigabytes = int(re.findall(r"--maxmemory=(\d+)gb", TEXT)[0])
    assert gigabytes * 1024 >= threads * 256


def test_its_health_is_checked_and_its_data_are_kept() -> None:
    assert "healthcheck:" in LINES
    assert "- dragonfly-data:/data" in LINES


def test_no_tab_and_only_even_indents() -> None:
    assert "\t" not in TEXT
    assert all((len(line) - len(line.lstrip())) % 2 == 0 for line in TEXT.splitlines())
