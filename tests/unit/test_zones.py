"""The name of the local time zone."""

from __future__ import annotations

import pytest

from nova_torch.zones import local_zone


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":America/New_York", "America/New_York"),
        ("/usr/share/zoneinfo/Asia/Kolkata", "Asia/Kolkata"),
        ("UTC", "UTC"),
        ("CET-1CEST", None),
        ("nonsense", None),
        ("../../etc/passwd", None),
        ("/etc/localtime", None),
        ("Europe", None),
    ],
)
def test_a_shells_zone_is_named_or_said_to_have_no_name(given: str, name: str | None) -> None:
    assert local_zone({"TZ": given}) == name


def test_without_one_it_is_the_machines() -> None:
    assert local_zone({}) == local_zone({"TZ": ""})
