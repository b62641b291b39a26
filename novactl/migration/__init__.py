"""From the original Tmux Orchestrator to Nova-Torch, and back: what `novactl migrate` is made of."""
