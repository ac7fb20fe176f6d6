"""Exact probabilities of all labels of a taxonomy: from a model in memory, or from a server."""
