"""How a node is, in words: `status`, and the checks of `doctor`. Reads, decides, changes nothing."""
