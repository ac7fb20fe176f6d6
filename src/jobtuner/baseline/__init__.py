"""The cheap model to beat: linear, on TF-IDF n-grams."""
