"""The template letter writer: references where there are no real letters, and the baseline to beat."""

from jobtuner.letters.writer import VARIANTS, known_language, write_letter

__all__ = ["VARIANTS", "known_language", "write_letter"]
