"""What novactl's commands do. Each takes the values of its options and returns an exit code."""
