"""What a foreign entry is decoded into."""

from __future__ import annotations

from noval_d.bridges.draft import Draft, Task

MOST = 65536


def fields(**given: str | bytes) -> list[tuple[bytes, bytes]]:
    return [(k.strip("_").encode(), v.encode() if isinstance(v, str) else v) for k, v in given.items()]


def draft(decoded: Task) -> Draft:
    assert isinstance(decoded, Draft), decoded
    return decoded
