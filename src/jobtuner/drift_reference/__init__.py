"""The reference of a model: what its ads and answers look like when nothing has drifted, and how much that varies."""
