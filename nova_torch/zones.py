"""Find the name of the local time zone: of the shell ($TZ), else of the machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping


def local_zone(env: Mapping[str, str] | None = None) -> str | None:
    """Return the name of the local zone, such as `Europe/Berlin`; None where it has none.

    `$TZ` may also hold rules (`CET-1CEST`), which have no name: nobody else could tell what they are.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from tzlocal import get_localzone_name

    named = (os.environ if env is None else env).get("TZ", "").removeprefix(":")
    if named:
        name = named.rpartition("/zoneinfo/")[2]
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that two files of the machine differ helps nobody here
                name = str(get_localzone_name() or "")
        except (LookupError, ValueError, OSError):
            return None
    try:
        return str(ZoneInfo(name)) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
