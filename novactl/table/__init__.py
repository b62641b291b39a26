"""The one table of novactl's commands, a file an area. The light road and the Typer app are both made from it.

What a command does is named as `module:function` and loaded when it runs. `hot.py` is all that the light road
reads, so nothing is imported here; `whole.py` is the table.
"""
