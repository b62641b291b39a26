"""Scaling: how many agents of a role there are, decided by one node for the fleet."""
