"""Whether an index serves the pages of a list, and which one would."""
