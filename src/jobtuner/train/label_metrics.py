"""How often the likeliest label is right, on validation rows, by the exact scores that the evaluation uses."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.scores import label_log_probabilities
from jobtuner.tasks import PromptEncoder
from jobtuner.taxonomy import LabelTrie
from jobtuner.train.group import ALONE, Group

__all__ = ["LabelJudge", "macro_f1"]

_BATCH = 32  # prompts scored at once


@dataclass(frozen=True)
class LabelJudge:
    """Validation rows as prompts and labels.

    Args:
        prompts: token ids of each row's prompt.
        wanted: label of each row, as its number among the layout's labels.
        layout: the labels' tokens.
        pad_id: any token id.
    """

    prompts: Sequence[Sequence[int]]
    wanted: Sequence[int]
    layout: TrieLayout
    pad_id: int

    @classmethod
    def of(
        cls, encoder: PromptEncoder, texts: Sequence[str], wanted: Sequence[str], labels: Sequence[str]
    ) -> "LabelJudge":
        """For these texts and their labels, out of all labels of a taxonomy."""
        layout = TrieLayout(LabelTrie([encoder.answer(label) for label in labels], list(labels)))
        place = {label: number for number, label in enumerate(labels)}
        return cls(encoder.prompts(list(texts)), [place[label] for label in wanted], layout, encoder.end_id)

    def measure(self, model: Any, rows: int, group: Group = ALONE) -> dict[str, float]:
        """label_accuracy and macro_f1 (over the labels that occur) of the model as it is.

        Args:
            model: causal language model.
            rows: the first so many are asked.
            group: the processes that share the rows; each calls this and has the same answer.
        """
        rows = min(rows, len(self.prompts))
        training = model.training
        model.eval()
        answered = self._answers(model, range(group.rank, rows, group.size))
        model.train(training)
        all_answers = group.gather([float(answered.get(row, 0)) for row in range(rows)]).sum(dim=0)
        answers, wanted = [int(each) for each in all_answers.tolist()], list(self.wanted[:rows])
        right = sum(one == other for one, other in zip(answers, wanted, strict=True))
        return {"label_accuracy": right / rows, "macro_f1": macro_f1(answers, wanted)}

    def _answers(self, model: Any, rows: Sequence[int]) -> dict[int, int]:
        """The likeliest label of each of these rows."""
        import torch

        found: dict[int, int] = {}
        by_length = sorted(rows, key=lambda row: len(self.prompts[row]))
        with torch.inference_mode():
            for start in range(0, len(by_length), _BATCH):
                batch = by_length[start : start + _BATCH]
                prompts = [self.prompts[row] for row in batch]
                scores = label_log_probabilities(model, prompts, self.layout, self.pad_id)
                found.update(zip(batch, scores.argmax(axis=1).tolist(), strict=True))
        return found


def macro_f1(answers: Sequence[int], wanted: Sequence[int]) -> float:
    """Mean F1 over the labels that are wanted somewhere."""
    hits = Counter(one for one, other in zip(answers, wanted, strict=True) if one == other)
    given, asked = Counter(answers), Counter(wanted)
    return sum(2 * hits[label] / (given[label] + asked[label]) for label in asked) / len(asked)
