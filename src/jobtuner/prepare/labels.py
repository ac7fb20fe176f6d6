"""From the label of a row to a code of the taxonomy, or to the reason why there is none."""

import difflib

from jobtuner.taxonomy import Taxonomy, ancestors

__all__ = ["LabelResolver"]

_HINTS = 25  # distinct unknown labels that get a suggestion: comparing with every title of a taxonomy takes a while


class LabelResolver:
    """Resolves labels against one taxonomy, each distinct label once.

    `padded` counts the rows whose label got its leading zeros back ("110" → "0110").
    """

    def __init__(self, taxonomy: Taxonomy, hints: int = _HINTS) -> None:
        self.padded = 0
        self._taxonomy = taxonomy
        self._answers: dict[str, tuple[str | None, str, str]] = {}
        self._hints = hints
        self._padded_labels: set[str] = set()
        self._widths = sorted({len(code) for code in taxonomy.labels if code.isdecimal()})

    def resolve(self, label: str) -> tuple[str | None, str, str]:
        """The code, or None with the kind of the reason and the reason in words."""
        if label not in self._answers:
            self._answers[label] = self._look_up(label)
        self.padded += label in self._padded_labels
        return self._answers[label]

    def _look_up(self, label: str) -> tuple[str | None, str, str]:
        code = self._taxonomy.resolve(label)
        if code is None and label not in self._taxonomy:
            code = self._pad(label)
        if code is not None:
            return code, "", ""
        if label in self._taxonomy:
            wanted = f"of level {self._taxonomy.level}" if self._taxonomy.level else "the deepest ones"
            reason = f"label '{label}' is a code of level {len(ancestors(label))}; labels are {wanted} (taxonomy.level)"
            return None, "label of another level", reason
        near = self._near(label)
        hint = f"; did you mean {near}?" if near else ""
        return None, "unknown label", f"label '{label}' is not in the taxonomy{hint}"

    def _pad(self, label: str) -> str | None:
        """Spreadsheets and number columns drop leading zeros: put them back where that makes a label."""
        if label.isdecimal():
            for width in self._widths:
                if width > len(label) and (code := self._taxonomy.resolve(label.zfill(width))):
                    self._padded_labels.add(label)
                    return code
        return None

    def _near(self, label: str) -> str:
        if not self._hints:
            return ""
        self._hints -= 1
        code = self._near_code(label) or self._near_title(label)
        return f"{code} ({self._taxonomy.title(code)})" if code else ""

    def _near_code(self, label: str) -> str:
        begun = [code for code in self._taxonomy.labels if label.startswith(code)]
        close = difflib.get_close_matches(label, self._taxonomy.labels, n=1, cutoff=0.7)
        return max([*begun, *close[: not begun]], key=len, default="")

    def _near_title(self, label: str) -> str:
        titles = {
            title.casefold(): code for code in self._taxonomy.labels for title in self._taxonomy[code].titles.values()
        }
        close = difflib.get_close_matches(label.casefold(), titles, n=1, cutoff=0.75)
        return titles[close[0]] if close else ""
