"""The stub model: the four APIs that agents speak, and what they asked."""
