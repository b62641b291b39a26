"""The project's test lab: real agents in private tmux servers, talking to a stub model."""
