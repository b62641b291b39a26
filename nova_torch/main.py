"""`python -m nova_torch.main`: a development node in the foreground."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Replace this process by the daemon, with the same arguments."""
    os.execv(sys.executable, [sys.executable, "-m", "noval_d", *sys.argv[1:]])  # noqa: S606 - our own daemon


if __name__ == "__main__":
    main()
