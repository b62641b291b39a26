"""The daemon of a node: bridges mailboxes into tmux panes."""

import gc

from noval_d.memory import YOUNG

# Before the imports, all of which stay: with Python's own number they take a fifth longer.
gc.set_threshold(YOUNG)
