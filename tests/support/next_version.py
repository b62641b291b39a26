"""Run the daemon as a version that knows one schema of messages more."""

from __future__ import annotations

import sys

from nova_torch import codec
from noval_d.__main__ import main

if __name__ == "__main__":
    codec.SCHEMA = 2  # type: ignore[attr-defined]
    sys.exit(main())
