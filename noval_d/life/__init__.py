"""The life of spawned agents: started, got ready, watched, started again, stopped."""
