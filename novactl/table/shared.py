"""Arguments and options that commands of several areas take."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, INTEGER, Param, option

PRIORITIES = ("urgent", "high", "normal", "low")

AGENT = Param("agent", required=True, metavar="AGENT", completes="agents", help="The agent's name.")
LAST = option("--limit -n", INTEGER, metavar="N", help="Only the last N.")
DEAD_AGENT = option("--agent", metavar="AGENT", completes="agents", help="Only this agent's.")
IN = option("--in", metavar="DURATION", help="Send it so much later: 30s, 15m, 2h.")
AT = option(
    "--at", metavar="TIME", help="Send it then: 17:30 (the next one), '2026-12-01 09:00', or with an offset."
)
ZONE = option("--tz", metavar="ZONE", help="Time zone of --at and --cron (default: the local one).")
PRIORITY = option("--priority -p", CHOICE, choices=PRIORITIES, help="How soon it should be typed (normal).")
RAW = option("--raw", FLAG, help="Type the body as it is, without a line that names the sender.")
COMMAND = option("--command", FLAG, help="The body is a command of the agent, such as /compact.")
