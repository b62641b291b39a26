"""How a node is, in figures: what is measured, and what it means."""
