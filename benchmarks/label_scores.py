"""Claim: exact probabilities of all 3,007 ESCO codes cost a hundredth of scoring each code by itself.

One run, one stand-in, the same ads: all labels by the trie, each label by itself (a few ads at all labels), the search
for the 5 best, the greedy answer, and Hugging Face's unconstrained `generate`, whose one or five answers need be no
codes; the same on short titles, where the question is longer than the ad; then how the cost grows with the labels.
Times are processor seconds on a CPU (other processes change them little) and wall seconds on a GPU.

    .venv/bin/python benchmarks/label_scores.py --taxonomy esco_occupations.jsonl.gz
    .venv/bin/python benchmarks/label_scores.py --taxonomy esco_occupations.jsonl.gz --shape qwen2.5-0.5b

Without --taxonomy: random codes of the same shape. With --shape: the greedy answer, the 5 best and `generate` with
random weights of Qwen2.5-0.5B's shape in bfloat16, in batches of 1, 8 and 32. The time of a pass does not depend on the
weights; how many nodes the search for the 5 best looks into does, and random weights are sure of nothing.

`generate` has its key-value cache, the same weights and number type, the same batches, padded on the left, and stops
where all rows of a batch have ended: at the latest after as many tokens as the longest answer that the greedy search
gave in the same batch.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from jobtuner.config import load_config
from jobtuner.labels import prefix, search
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.scores import joint_log_probabilities, label_log_probabilities
from jobtuner.labels.search import search_labels
from jobtuner.labels.walk import LabelWalk
from jobtuner.models import load_tokenizer
from jobtuner.prepare.synthesize import generate_ads
from jobtuner.standin_tokenizer import label_texts, titles_with_codes, train_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.taxonomy import LabelTrie, Occupation, Taxonomy, load_taxonomy
from jobtuner.train.standin import Corpus, build_standin

BATCH, K, ESCO = 32, 5, 3007
GROWTH = (100, 300, 1000, 3000, 10_000)
SHAPES = {
    "qwen2.5-0.5b": {
        "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True, "rope_theta": 1_000_000.0,
    },
}  # fmt: skip
"""Name to the config of the published model."""
BATCHES = {1: 4, 8: 8, 32: 32}
"""With --shape: prompts at once to prompts in all."""
Prompts = list[list[int]]


def _synthetic(count: int, seed: int = 0) -> list[str]:
    """Codes such as 2512.4 and 2512.4.1: seven a group of four digits, every fifth with three codes below it."""
    generator = np.random.default_rng(seed)
    codes: list[str] = []
    for group in generator.permutation(np.arange(1000, 10_000)):
        for number in range(1, 8):
            deeper = number % 5 == 0
            codes += [f"{group}.{number}.{part}" for part in range(1, 4)] if deeper else [f"{group}.{number}"]
        if len(codes) >= count:
            break
    return sorted(codes[:count])


def _seconds(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _timed(
    device: str, work: Callable[[Prompts], object], prompts: Prompts, batch: int = BATCH, warm: int = BATCH
) -> float:
    """Seconds an ad; prompts sorted by length, the first ones once before the clock starts."""
    work(prompts[: min(batch, warm)])
    before = _seconds(device)
    for start in range(0, len(prompts), batch):
        work(prompts[start : start + batch])
    return (_seconds(device) - before) / len(prompts)


def _one_by_one(model: Any, prompt: list[int], answers: Sequence[list[int]], pad: int) -> np.ndarray[Any, Any]:
    """Log-probability of each answer, fed with the whole prompt by itself, 64 sequences a pass."""
    device, scores = model.device, []
    for start in range(0, len(answers), 64):
        part = answers[start : start + 64]
        width = max(map(len, part))
        ids = torch.tensor([[*prompt, *answer, *[pad] * (width - len(answer))] for answer in part], device=device)
        with torch.inference_mode():
            logits = model(ids, logits_to_keep=width + 1, use_cache=False).logits[:, :-1].float().log_softmax(-1)
        steps = logits.gather(2, ids[:, len(prompt) :, None])[..., 0].cpu().numpy()
        scores += [float(row[: len(answer)].sum()) for row, answer in zip(steps, part, strict=True)]
    return np.array(scores)


def _lengths(model: Any, encoder: PromptEncoder, layout: TrieLayout, labels: list[str]) -> Callable[[Prompts], int]:
    """Tokens of the longest answer that the greedy search gives in a batch, the end token included; looked up once."""
    known: dict[int, int] = {}

    def longest(prompts: Prompts) -> int:
        if id(prompts[0]) not in known:
            walks: list[LabelWalk] = []

            class Watched(LabelWalk):
                def __init__(self, *arguments: Any) -> None:
                    super().__init__(*arguments)
                    walks.append(self)

            search.LabelWalk = Watched  # type: ignore[misc]
            search_labels(model, prompts, layout, encoder.end_id, "greedy", 1)
            search.LabelWalk = LabelWalk  # type: ignore[misc]
            known[id(prompts[0])] = max(len(encoder.answer(labels[max(walk.found)[1]])) for walk in walks)
        return known[id(prompts[0])]

    return longest


def _generate(
    model: Any, pad: int, end: int, longest: Callable[[Prompts], int], beams: int = 1
) -> Callable[[Prompts], object]:
    def run(prompts: Prompts) -> object:
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), pad)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            return model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=longest(prompts),
                do_sample=False,
                num_beams=beams,
                num_return_sequences=beams,
                pad_token_id=pad,
                eos_token_id=end,
            )

    return run


def _standin(folder: Path, taxonomy: Taxonomy, ads: list[str]) -> tuple[Any, PromptEncoder]:
    config = load_config("smoke")
    task = get_task(config.task)
    settings = config.model.standin.model_copy(update={"pretrain_tokens": 150_000})
    build_standin(settings, Corpus.of(ads, taxonomy), task, config.seed, folder)
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), PromptEncoder(task, load_tokenizer(str(folder)), config.prompt.max_ad_tokens)


def _random_weights(shape: str, taxonomy: Taxonomy, ads: list[str]) -> tuple[Any, PromptEncoder]:
    """A model of the shape with random weights in bfloat16, and the stand-in's tokenizer: Qwen2.5's is not shipped."""
    config, task = load_config("smoke"), get_task("occupation")
    titles = [title for title, _ in titles_with_codes(taxonomy)]
    tokenizer = train_tokenizer(label_texts(task, ads, titles), config.model.standin.vocab_size)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model: Any = Qwen2ForCausalLM(Qwen2Config(**SHAPES[shape]))
    torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), PromptEncoder(task, tokenizer, config.prompt.max_ad_tokens)


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _compare(model: Any, encoder: PromptEncoder, labels: list[str], prompts: Prompts, brute_ads: int) -> None:
    device, pad = model.device.type, encoder.end_id
    answers = [encoder.answer(label) for label in labels]
    layout, start = TrieLayout(LabelTrie(answers, labels)), prefix.read_start(model, encoder.start)
    tokens, longest = float(np.mean([len(prompt) for prompt in prompts])), _lengths(model, encoder, layout, labels)
    for begin in range(0, len(prompts), BATCH):
        longest(prompts[begin : begin + BATCH])
    print(
        f"\n{len(labels)} labels, {len(layout.tokens)} nodes fed, {len(prompts)} prompts of {tokens:.0f} tokens (mean)"
    )
    works: dict[str, Callable[[Prompts], object]] = {
        "exact": lambda batch: label_log_probabilities(model, batch, layout, pad, start=start),
        f"top {K}": lambda batch: search_labels(model, batch, layout, pad, "top", K, start),
        "greedy": lambda batch: search_labels(model, batch, layout, pad, "greedy", K, start),
        "generate": _generate(model, pad, encoder.end_id, longest),
        f"generate, {K} beams": _generate(model, pad, encoder.end_id, longest, K),
    }
    seconds = {}
    for name, work in works.items():
        before = _peak_mib(device)
        seconds[name] = _timed(device, work, prompts)
        print(
            f"{name:<22}{seconds[name] * 1000:10.2f} ms an ad   peak memory {before:.0f} -> {_peak_mib(device):.0f} MiB"
        )
    for name, other in (("generate", "greedy"), ("generate", "exact"), (f"generate, {K} beams", f"top {K}")):
        print(f"RATIO {name} / {other}: {seconds[name] / seconds[other]:.2f}")
    print(f"RATIO exact / top {K}: {seconds['exact'] / seconds[f'top {K}']:.2f}")
    _sharing(model, prompts, pad)
    if brute_ads:
        middle = sorted(prompts, key=lambda prompt: abs(len(prompt) - tokens))[:brute_ads]
        _brute_force(model, middle, answers, pad, seconds["exact"])


def _at_shape(model: Any, encoder: PromptEncoder, labels: list[str], name: str, prompts: Prompts) -> None:
    """Greedy, top and `generate` by batch size; the prompts of each are spread evenly over all lengths."""
    device, pad = model.device.type, encoder.end_id
    layout = TrieLayout(LabelTrie([encoder.answer(label) for label in labels], labels))
    start, longest = prefix.read_start(model, encoder.start), _lengths(model, encoder, layout, labels)
    works: dict[str, Callable[[Prompts], object]] = {
        "greedy": lambda batch: search_labels(model, batch, layout, pad, "greedy", K, start),
        f"top {K}": lambda batch: search_labels(model, batch, layout, pad, "top", K, start),
        "generate": _generate(model, pad, encoder.end_id, longest),
    }
    for batch, count in BATCHES.items():
        chosen = [prompts[place] for place in np.linspace(0, len(prompts) - 1, count).round().astype(int)]
        parts = [chosen[begin : begin + batch] for begin in range(0, count, batch)]
        answered = float(np.mean([longest(part) for part in parts]))
        seconds = {kind: _timed(device, work, chosen, batch, warm=2) for kind, work in works.items()}
        told = ", ".join(f"{kind} {value * 1000:.0f}" for kind, value in seconds.items())
        print(
            f"{name} in batches of {batch}, {np.mean([len(prompt) for prompt in chosen]):.0f} tokens, answers of up to "
            f"{answered:.1f}: ms a prompt {told}   RATIO generate / greedy: "
            f"{seconds['generate'] / seconds['greedy']:.2f}, / top {K}: "
            f"{seconds['generate'] / seconds[f'top {K}']:.2f}",
            flush=True,
        )


def _brute_force(model: Any, prompts: Prompts, answers: list[list[int]], pad: int, exact: float) -> None:
    device = model.device.type
    before = _seconds(device)
    found = [_one_by_one(model, prompt, answers, pad) for prompt in prompts]
    brute = (_seconds(device) - before) / len(prompts)
    print(f"each label by itself  {brute * 1000:10.2f} ms an ad, all labels, on {len(prompts)} ads of mean length")
    layout = TrieLayout(LabelTrie(answers), every_node=True)
    ours = joint_log_probabilities(model, prompts, layout, pad)
    print(f"largest difference of joint log-probabilities: {np.abs(ours - np.stack(found)).max():.1e}")
    print(f"RATIO each by itself / exact: {brute / exact:.0f}")


def _sharing(model: Any, prompts: Prompts, pad: int) -> None:
    """Reading the prompts with their common beginning computed once, and without."""

    def read(batch: Prompts) -> None:
        with torch.inference_mode():
            prefix.read_prompts(model, batch, pad)

    common = prefix._common_prefix
    shared = _timed(model.device.type, read, prompts)
    prefix._common_prefix = lambda _: 0
    alone = _timed(model.device.type, read, prompts)
    prefix._common_prefix = common
    print(f"reading the prompts    {shared * 1000:9.2f} ms an ad ({common(prompts[:BATCH])} tokens shared), unshared "
          f"{alone * 1000:.2f}: RATIO {alone / shared:.2f}")  # fmt: skip


def _growth(model: Any, encoder: PromptEncoder, prompts: Prompts) -> None:
    device, pad, seconds = model.device.type, encoder.end_id, []
    print("labels   nodes fed   exact ms an ad   top-5 ms an ad")
    for count in GROWTH:
        labels = _synthetic(count)
        layout = TrieLayout(LabelTrie([encoder.answer(label) for label in labels], labels))
        exact = _timed(device, lambda batch, to=layout: label_log_probabilities(model, batch, to, pad), prompts)  # type: ignore[misc]
        top = _timed(device, lambda batch, to=layout: search_labels(model, batch, to, pad, "top", K), prompts)  # type: ignore[misc]
        seconds.append(exact)
        print(f"{count:6}   {len(layout.tokens):9}   {exact * 1000:14.2f}   {top * 1000:14.2f}", flush=True)
    slope = np.polyfit(np.log(GROWTH), np.log(seconds), 1)[0]
    print(f"exact grows as labels^{slope:.2f} from {GROWTH[0]} to {GROWTH[-1]} labels")


def main() -> None:
    """Build the stand-in once, then compare and grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taxonomy", type=Path, help="JSONL or CSV with codes; left out: 3,007 random ones")
    parser.add_argument("--ads", type=int, default=256)
    parser.add_argument("--brute-ads", type=int, default=3, help="ads at which each label is scored by itself")
    parser.add_argument("--shape", choices=list(SHAPES), help="random weights of a published model's shape instead")
    arguments = parser.parse_args()
    if arguments.taxonomy:
        taxonomy = load_taxonomy(arguments.taxonomy)
    else:
        taxonomy = Taxonomy([Occupation(code, {"en": f"occupation {code}"}) for code in _synthetic(ESCO)])
    ads = [ad.text for ad in generate_ads(load_config("smoke").data.generate, 17)]
    ads = [ads[index] for index in np.random.default_rng(0).permutation(len(ads))[: max(1000, arguments.ads)]]
    titles = [next(iter(item.titles.values())) for item in taxonomy.occupations.values()][: arguments.ads]
    if arguments.shape:
        model, encoder = _random_weights(arguments.shape, taxonomy, ads)
        print(f"{model.num_parameters():,} random parameters, {model.dtype}, {torch.get_num_threads()} threads")
        for name, texts in (("ads", ads[: arguments.ads]), ("titles", titles)):
            prompts = sorted(encoder.prompts(texts), key=len)
            _at_shape(model, encoder, list(taxonomy.occupations), name, prompts)
        return
    with tempfile.TemporaryDirectory() as name:
        model, encoder = _standin(Path(name), taxonomy, ads)
        prompts = sorted(encoder.prompts(ads[: arguments.ads]), key=len)
        print(f"{model.num_parameters():,} parameters on {model.device}, {torch.get_num_threads()} threads")
        _compare(model, encoder, list(taxonomy.occupations), prompts, arguments.brute_ads)
        _compare(model, encoder, list(taxonomy.occupations), sorted(encoder.prompts(titles), key=len), 0)
        _growth(model, encoder, prompts[:BATCH])


if __name__ == "__main__":
    main()
