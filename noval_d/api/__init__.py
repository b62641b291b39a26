"""Talk to agents that serve an HTTP API of their own, on a port of this machine."""
