"""Commands for those who write drivers."""

from __future__ import annotations

from novactl.options import LIST, Command, Param, option

DRIVER = (
    Command(
        "driver list",
        "novactl.commands.driver:list_drivers",
        "List the drivers, and which of your own cannot be used. Needs no daemon.",
        examples=("novactl driver list", "novactl driver list --json"),
    ),
    Command(
        "driver show",
        "novactl.commands.driver:show",
        "Print a driver's file, to read or to begin your own with. Needs no daemon.",
        (Param("name", required=True, metavar="NAME", help="The driver's name."),),
        examples=("novactl driver show claude > drivers/claude.toml",),
    ),
    Command(
        "driver test",
        "novactl.commands.driver:test",
        "Run drivers against recorded screens and say which expectation fails and how. Needs no daemon.",
        (
            Param(
                "files",
                kind=LIST,
                required=True,
                metavar="FILE",
                help="A driver (.toml) with the screens of the directory beside it, or one screen (.screen).",
            ),
            option(
                "--driver", metavar="DRIVER", help="The driver of a screen (default: its directory's name)."
            ),
        ),
        examples=("novactl driver test drivers/mine.toml", "novactl driver test drivers/mine/idle.screen"),
    ),
    Command(
        "driver record",
        "novactl.commands.driver:record",
        "Record what a pane shows as a screen of a driver, with what the driver sees there now.",
        (
            Param("pane", required=True, metavar="PANE", help="The pane: %N or session:window.pane."),
            option("--driver", metavar="DRIVER", help="The driver (default: that of its agent or program)."),
            option("--out", metavar="FILE", help="Write it to this new file instead of standard output."),
        ),
        examples=("novactl driver record %3 --out drivers/mine/idle.screen",),
    ),
)
