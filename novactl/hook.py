"""Tell the daemon of an agent's hook; run as a script by the agent: `python -I -S …/novactl/hook.py EVENT`.

A second word names a server that several agents share, whose hooks do not know their pane: see `shim.report`.

Kept this short because a script is compiled at every run; the work is in `shim`, whose bytecode is cached.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    try:
        from novactl.shim import report

        event, shared = [*sys.argv[1:], "", ""][:2]
        report(event, shared)
    finally:
        os._exit(0)  # whatever happened: a hook never fails its agent, and prints nothing
