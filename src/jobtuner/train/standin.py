"""The stand-in: a small Qwen2.5-shaped base model, built where no real weights are.

Tokenizer: the Qwen2 pipeline (NFC, Qwen2's split pattern, byte-level BPE, digits one by one) with a vocabulary learnt
from the texts at hand, and Qwen2.5's chat template. Model: a real `Qwen2ForCausalLM`, trained from scratch for
next-token prediction on unlabelled ads and on the taxonomy's own lines. It is cached by the content that it was
built from.
"""

import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import StandinConfig
from jobtuner.progress import track
from jobtuner.records import ChatExample
from jobtuner.standin_tokenizer import SPECIAL, label_texts, titles_with_codes, train_tokenizer
from jobtuner.tasks import CHAT_TASKS, ChatEncoder, ChatTask, PromptEncoder, Task, get_chat_task, get_label_task
from jobtuner.tasks.base import IGNORED
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

__all__ = ["Corpus", "build_standin"]

_Row = tuple[list[int], int]
"""Token ids, and the index of the first one that carries loss."""

_AD_TOKENS = 128
_CHAT_TOKENS = 256  # of a text, and of an answer
_SORTED_TOGETHER = 2048  # rows: a window large enough for little padding, small enough for random batches


@dataclass(frozen=True)
class Corpus:
    """What the stand-in reads: unlabelled ads, and the taxonomy as questions (a title) with answers (its code).

    A model that never saw a digit in pretraining cannot be taught by an adapter to answer in digits; the taxonomy's own
    lines teach it the codes, in the very form in which it will be asked.
    """

    ads: list[str]
    titles: list[str]
    codes: list[str]
    chats: Sequence[ChatExample] = ()
    """Of tasks that answer in text, in place of titles and codes: training chats, which teach the form of an answer."""

    @classmethod
    def of(cls, ads: Sequence[str], taxonomy: Taxonomy) -> "Corpus":
        """All ads, and every title of every label in every language."""
        lines = titles_with_codes(taxonomy)
        return cls(list(ads), [title for title, _ in lines], [code for _, code in lines])

    def digest(self, config: StandinConfig, seed: int) -> str:
        """SHA-256 over everything that decides what the stand-in becomes."""
        digest = hashlib.sha256(json.dumps([config.model_dump(mode="json"), seed]).encode())
        chats = [json.dumps([row.text, row.facts, row.answer]) for row in self.chats]
        for text in (*self.ads, "", *self.titles, "", *self.codes, *chats):
            digest.update(text.encode() + b"\0")
        return digest.hexdigest()


def build_standin(
    config: StandinConfig, corpus: Corpus, task: Task | ChatTask, seed: int, out: Path
) -> dict[str, float]:
    """Build, pretrain and save the stand-in.

    Args:
        config: size and schedule.
        corpus: repeated in random order until `pretrain_tokens` are seen.
        task: whose prompt frames the taxonomy's lines, or the chats.
        seed: decides the initial weights and the order.
        out: folder for the model and tokenizer, as Hugging Face stores them (safetensors).

    Returns:
        pretrain_loss (nats a token, mean of the last tenth), pretrain_tokens, pretrain_seconds, parameters.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

    set_seed(seed)
    tokenizer = train_tokenizer(_tokenizer_texts(corpus, task), config.vocab_size)
    ids = {name: int(tokenizer.encode(name)[0]) for name in SPECIAL}
    model: Any = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=math.ceil(len(tokenizer) / 64) * 64,  # Qwen2.5 pads its embedding too; kernels like it
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=4096,
            initializer_range=config.init_std,
            tie_word_embeddings=False,  # as in Qwen2.5 from 7B on; an adapter on tied embeddings could not be merged
            bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|im_end|>"],
            pad_token_id=ids["<|endoftext|>"],
        )
    )
    started = time.monotonic()
    losses, seen = _pretrain(model, _rows(tokenizer, corpus, task), config, seed)
    tail = losses[-max(1, len(losses) // 10) :]
    model.to(torch.float32).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {
        "pretrain_loss": sum(tail) / len(tail),
        "pretrain_tokens": float(seen),
        "pretrain_seconds": time.monotonic() - started,
        "parameters": float(model.num_parameters()),
    }


def _tokenizer_texts(corpus: Corpus, task: Task | ChatTask) -> list[str]:
    """The ads, titles and chats, and the prompt as often as there are ads: its words become whole tokens."""
    if task.name in CHAT_TASKS:
        chats = [get_chat_task(task.name).prompt(row.text, row.facts) for row in corpus.chats]
        told = [turn["content"] for chat in chats for turn in chat]
        return [*told, *(row.answer for row in corpus.chats), *["\nsystem\nuser\nassistant\n"] * len(chats)]
    return label_texts(get_label_task(task.name), corpus.ads, corpus.titles)


def _rows(tokenizer: "PreTrainedTokenizerBase", corpus: Corpus, task: Task | ChatTask) -> list[_Row]:
    """Pretraining rows: every ad as plain text, and the taxonomy's questions, repeated to about a fifth of the rows, or
    the chats."""
    ads = tokenizer(corpus.ads, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    end = int(tokenizer.encode("<|endoftext|>")[0])
    rows: list[_Row] = [([*ids[:_AD_TOKENS], end], 1) for ids in ads]
    questions = _questions(tokenizer, corpus, task)
    repeats = max(1, round(len(rows) / 4 / max(1, len(questions))))
    return rows + [(row["input_ids"], row["labels"].count(IGNORED)) for row in questions] * repeats


def _questions(
    tokenizer: "PreTrainedTokenizerBase", corpus: Corpus, task: Task | ChatTask
) -> list[dict[str, list[int]]]:
    if task.name in CHAT_TASKS:
        encoder = ChatEncoder(get_chat_task(task.name), tokenizer, _CHAT_TOKENS, _CHAT_TOKENS)
        return encoder.examples(corpus.chats).rows
    return PromptEncoder(get_label_task(task.name), tokenizer, _AD_TOKENS).examples(corpus.titles, corpus.codes)


def _batches(rows: Sequence[_Row], seed: int, batch_tokens: int) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """Endless batches of ids and labels, shape [rows, length]: a new order each round, rows of like length together."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        groups: list[list[int]] = []
        for start in range(0, len(order), _SORTED_TOGETHER):
            groups += _grouped(
                sorted(order[start : start + _SORTED_TOGETHER], key=lambda i: len(rows[i][0])), rows, batch_tokens
            )
        for index in torch.randperm(len(groups), generator=generator).tolist():
            yield _padded([rows[i] for i in groups[index]])


def _grouped(order: Sequence[int], rows: Sequence[_Row], batch_tokens: int) -> list[list[int]]:
    groups: list[list[int]] = [[]]
    for index in order:  # ascending length: the newest row is the longest of its group
        if groups[-1] and (len(groups[-1]) + 1) * len(rows[index][0]) > batch_tokens:
            groups.append([])
        groups[-1].append(index)
    return groups


def _padded(rows: Sequence[_Row]) -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    length = max(len(ids) for ids, _ in rows)
    tokens = torch.zeros(
        len(rows), length, dtype=torch.long
    )  # padding stands behind the text: causal attention never sees it
    labels = torch.full((len(rows), length), IGNORED)
    for index, (ids, begin) in enumerate(rows):
        tokens[index, : len(ids)] = torch.tensor(ids)
        labels[index, begin : len(ids)] = torch.tensor(ids[begin:])
    return tokens, labels


def _pretrain(model: Any, rows: Sequence[_Row], config: StandinConfig, seed: int) -> tuple[list[float], int]:
    """Train all weights until `pretrain_tokens` are seen; return the losses and the number of tokens."""
    import torch

    mean_length = sum(len(ids) for ids, _ in rows) / len(rows)
    tokens_a_batch = max(1, int(config.pretrain_batch_tokens // mean_length)) * mean_length
    steps = max(1, round(config.pretrain_tokens / tokens_a_batch))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.pretrain_learning_rate, betas=(0.9, 0.95), fused=True)
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    losses, seen = [], 0
    with track("Pretraining the stand-in", total=steps, unit="steps") as bar:
        for tokens, labels in itertools.islice(_batches(rows, seed, config.pretrain_batch_tokens), steps):
            wanted = labels[:, 1:] != IGNORED
            with torch.autocast(device, dtype=torch.bfloat16):
                hidden = model.model(input_ids=tokens.to(device), use_cache=False).last_hidden_state
                logits = model.lm_head(hidden[:, :-1][wanted.to(device)])  # only where there is a loss
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][wanted].to(device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            seen += tokens.numel()
            bar.advance(loss=round(losses[-1], 3))
    model.to("cpu")
    return losses, seen
