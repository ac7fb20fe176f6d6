"""Is the model better than the baseline, and are its probabilities honest?"""
