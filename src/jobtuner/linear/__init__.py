"""The baseline: what it is fitted on, its two kinds, its weights, and the classifier around them."""
