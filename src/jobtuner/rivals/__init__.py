"""The cheap models that fine-tuned ones must beat, for the tasks that answer in text."""

from jobtuner.rivals.rivals import Rival, fit_rival, load_rival

__all__ = ["Rival", "fit_rival", "load_rival"]
