"""Try drivers on the agents that are installed, against a stub model on loopback."""
