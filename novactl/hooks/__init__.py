"""Our hooks in the settings of other programs."""
