"""From the label of a row to a code of the taxonomy, or to the reason why there is none."""

import difflib
from typing import Literal

from jobtuner.taxonomy import Taxonomy, ancestors

__all__ = ["LabelForm", "LabelResolver"]

LabelForm = Literal["code", "title", "alternative"]

_CANDIDATES = 5  # codes named for a title that means several

_HINTS = 25  # distinct unknown labels that get a suggestion: comparing with every title of a taxonomy takes a while


class LabelResolver:
    """Resolves labels against one taxonomy, each distinct label of a language once.

    `padded` counts the rows whose label got its leading zeros back ("110" → "0110").

    Args:
        taxonomy: the codes and their titles.
        by: what a label may be: a code; or a title, too; or an alternative title, too.
    """

    def __init__(self, taxonomy: Taxonomy, by: LabelForm = "alternative", hints: int = _HINTS) -> None:
        self.padded = 0
        self._taxonomy = taxonomy
        self._by = by
        self._answers: dict[tuple[str, str | None], tuple[str | None, str, str]] = {}
        self._hints = hints
        self._padded_labels: set[str] = set()
        self._widths = sorted({len(code) for code in taxonomy.labels if code.isdecimal()})

    def resolve(self, label: str, language: str | None = None) -> tuple[str | None, str, str]:
        """The code, or None with the kind of the reason and the reason in words.

        Args:
            label: what the row says.
            language: the row's own; it decides where a title means different codes in different languages.
        """
        key = (label, language)
        if key not in self._answers:
            self._answers[key] = self._look_up(label, language)
        self.padded += label in self._padded_labels
        return self._answers[key]

    def resolve_all(self, label: str, language: str | None = None) -> tuple[list[str], str, str]:
        """As `resolve`, for a label that may be several with "|" between them: all must resolve, each counts once.

        Returns:
            The codes, in the label's order; none where one of them has no code, with the kind of the reason and the
            reason.
        """
        code, kind, reason = self.resolve(label, language)
        if code is not None:
            return [code], "", ""
        parts = [part.strip() for part in label.split("|") if part.strip()]
        if len(parts) < 2:  # a title may hold the sign itself
            return [], kind, reason
        codes = []
        for part in parts:
            code, kind, reason = self.resolve(part, language)
            if code is None:
                return [], kind, reason
            codes.append(code)
        return list(dict.fromkeys(codes)), "", ""

    def _look_up(self, label: str, language: str | None) -> tuple[str | None, str, str]:
        taxonomy = self._taxonomy
        if label in taxonomy:
            if taxonomy.resolve(label):
                return label, "", ""
            return None, "label of another level", self._of_another_level(label)
        if code := self._pad(label):
            return code, "", ""
        found = [] if self._by == "code" else taxonomy.candidates(label, language, alternatives=self._by != "title")
        if len(found) == 1:
            return found[0], "", ""
        if found:
            named = ", ".join(f"{code} ({taxonomy.title(code)})" for code in found[:_CANDIDATES])
            more = f" and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
            return None, "ambiguous label", f"label '{label}' is a title of {len(found)} codes: {named}{more}"
        near = self._near(label)
        hint = f"; did you mean {near}?" if near else ""
        return None, "unknown label", f"label '{label}' is not in the taxonomy{hint}"

    def _of_another_level(self, label: str) -> str:
        if self._taxonomy[label].group and not self._taxonomy.level:
            return f"label '{label}' ({self._taxonomy.title(label)}) is a group of codes, no code of its own"
        wanted = f"of level {self._taxonomy.level}" if self._taxonomy.level else "the deepest ones"
        return f"label '{label}' is a code of level {len(ancestors(label))}; labels are {wanted} (taxonomy.level)"

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
