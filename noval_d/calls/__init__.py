"""The daemon's side of every call of the control socket."""
