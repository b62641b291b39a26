"""The command line of Nova-Torch."""
