"""Read the version from the VERSION file, its one owner."""

from __future__ import annotations

import os


def _read() -> str:
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.path.join(here, "VERSION"), os.path.join(os.path.dirname(here), "VERSION")):
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                return file.read().strip()
    raise FileNotFoundError("the VERSION file is missing beside nova_torch")


VERSION: str = _read()
