"""The daemon of a node: bridges mailboxes into tmux panes."""
