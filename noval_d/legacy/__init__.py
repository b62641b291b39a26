"""The roads of the drop-in scripts in `legacy/`: through the daemon when it is there, by plain tmux when not."""
