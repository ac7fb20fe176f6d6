"""The stand-in's tokenizer: Qwen2's pipeline, Qwen2.5's chat template, a vocabulary learnt from the texts at hand."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jobtuner.tasks import Task
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["SPECIAL", "label_texts", "learn_vocabulary", "titles_with_codes", "train_tokenizer"]

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Tokens that no text is split into."""


def titles_with_codes(taxonomy: Taxonomy) -> list[tuple[str, str]]:
    """Every title of every label in every language, beside its code."""
    return [(title, code) for code in taxonomy.labels for title in taxonomy[code].titles.values()]


def label_texts(task: Task, ads: Sequence[str], titles: Sequence[str]) -> list[str]:
    """What the vocabulary is learnt from: ads, titles, and the prompt as often as there are ads, so that its words
    become whole tokens."""
    prompt = " ".join(message["content"] for message in task.messages(""))
    return [*ads, *titles, *[f"{prompt}\nsystem\nuser\nassistant\n"] * len(ads)]


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> "PreTrainedTokenizerBase":
    """A Qwen2 tokenizer with its own vocabulary, learnt from the texts, and Qwen2.5's chat template.

    Args:
        texts: what it will read.
        vocab_size: entries, the 256 bytes and three special tokens included.
    """
    from trl.chat_template_utils import qwen2_5_chat_template

    tokenizer = learn_vocabulary(texts, vocab_size)
    tokenizer.chat_template = qwen2_5_chat_template
    return tokenizer


def learn_vocabulary(texts: Sequence[str], vocab_size: int) -> "PreTrainedTokenizerBase":
    """`train_tokenizer` without the chat template, whose import takes seconds: enough for counting."""
    from transformers import Qwen2Tokenizer

    base = Qwen2Tokenizer(additional_special_tokens=list(SPECIAL[1:]))
    tokenizer: PreTrainedTokenizerBase = base.train_new_from_iterator(
        _chunks(texts), vocab_size=vocab_size, show_progress=False
    )
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    return tokenizer


def _chunks(texts: Sequence[str], size: int = 1000) -> Iterator[list[str]]:
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])
