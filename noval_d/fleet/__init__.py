"""What a node tells the fleet of itself, and what it knows of the others."""
