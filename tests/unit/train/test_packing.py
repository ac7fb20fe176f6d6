"""Packs give the loss and the gradients of the rows one by one: nothing leaks, nothing is lost."""

import random
from typing import Any

import pytest
import torch

from jobtuner.config import TrainingConfig
from jobtuner.models import load_quantized
from jobtuner.tasks.base import IGNORED
from jobtuner.train.batches import StepBatches, answer_loss, answer_metrics
from jobtuner.train.lora import add_adapter
from jobtuner.train.packing import best_fit, grain, pack, packed_attention, shared_prefix
from tests.conftest import LORA, NF4, Standin
from tests.unit.train.samples import plain_loss

Row = dict[str, list[int]]


def adapted(standin: Standin, checkpointing: bool = False) -> Any:
    """With an adapter that does something: B starts at zero, and A would get no gradient."""
    torch.manual_seed(0)
    model = add_adapter(load_quantized(str(standin.folder), None, NF4), LORA, checkpointing)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def synthetic(lengths: list[int], prefix: int = 9, answers: tuple[int, ...] = (1, 5, 3)) -> list[Row]:
    draw = random.Random(3)
    common = [draw.randrange(5, 300) for _ in range(prefix)]
    rows = []
    for index, length in enumerate(lengths):
        ids = common + [5 + index] + [draw.randrange(5, 300) for _ in range(length)]
        count = answers[index % len(answers)]
        rows.append({"input_ids": ids, "labels": [IGNORED] * (len(ids) - count) + ids[-count:]})
    return rows


def one_by_one(model: Any, rows: list[Row]) -> tuple[float, dict[str, torch.Tensor]]:
    """Each row by itself with transformers' own attention: the definition."""
    items = sum(label != IGNORED for row in rows for label in row["labels"][1:])
    total = 0.0
    for row in rows:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        wanted = torch.tensor(row["labels"][1:])
        loss = torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum") / items
        loss.backward()
        total += float(loss.detach())
    return total, gradients(model)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    return found


def in_passes(model: Any, rows: list[Row], settings: TrainingConfig) -> tuple[float, dict[str, torch.Tensor], int]:
    step, total = StepBatches(0, settings)(rows), 0.0
    with packed_attention(model):
        for each in step["passes"]:
            loss = answer_loss(model, each, step["items"])
            loss.backward()
            total += float(loss.detach())
    return total, gradients(model), len(step["passes"])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("packing", "pass_tokens", "passes"),
    [("none", None, 3), ("rows", None, 3), ("shared_prefix", None, 3), ("rows", 60, 4), ("shared_prefix", 60, 3)],
)
def test_loss_and_gradients_are_those_of_the_rows_one_by_one(
    standin: Standin, packing: Any, pass_tokens: int | None, passes: int, checkpointing: bool
) -> None:
    model = adapted(standin, checkpointing)
    rows = synthetic([30, 5, 17, 8, 29, 6, 12])
    settings = TrainingConfig(batch_size=3, packing=packing, pass_tokens=pass_tokens)
    expected, wanted = one_by_one(model, rows)
    loss, found, count = in_passes(model, rows, settings)
    assert count == passes
    assert loss == pytest.approx(expected, abs=1e-5)  # float32: other orders of sums, no other difference
    assert found.keys() == wanted.keys()
    assert len(wanted) == 28  # A and B of 14 layers
    for name, gradient in wanted.items():
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(found[name], gradient, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("prefix", [0, 1, 9])
def test_no_row_sees_another(standin: Standin, prefix: int) -> None:
    """Change one row and every other row's logits stay bit for bit what they were."""
    model = adapted(standin).eval()
    rows = synthetic([12, 9, 15], prefix)
    other = [rows[0], {**rows[1], "input_ids": rows[1]["input_ids"][:prefix] + [7] * 10}, rows[2]]
    logits = []
    for each in (rows, other):
        batch = pack(each, prefix)
        with packed_attention(model), torch.no_grad():
            out = model(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"],
                attention_mask={"full_attention": None}, layout=batch["layout"],
            ).logits[0]  # fmt: skip
        logits.append(out)
    changed = (logits[0] != logits[1]).any(dim=1)
    begin = len(rows[0]["input_ids"])
    assert changed[begin : begin + 10].all()
    assert not changed[:begin].any()
    assert not changed[begin + 10 :].any()


def test_the_prefix_stops_short_of_the_token_that_predicts_an_answer() -> None:
    row = {"input_ids": [1, 2, 3, 4], "labels": [IGNORED, IGNORED, 3, 4]}
    assert shared_prefix([row, row]) == 1
    assert shared_prefix([row, {"input_ids": [1, 9, 3], "labels": [IGNORED, IGNORED, 3]}]) == 1
    assert shared_prefix([row, {"input_ids": [8, 2, 3], "labels": [IGNORED, IGNORED, 3]}]) == 0
    assert shared_prefix([{"input_ids": [1, 2], "labels": [1, 2]}]) == 0


def test_equal_prompts_with_different_answers_pack(standin: Standin) -> None:
    rows = [
        {"input_ids": [5, 6, 7, 8], "labels": [IGNORED, IGNORED, IGNORED, 8]},
        {"input_ids": [5, 6, 7, 9], "labels": [IGNORED, IGNORED, IGNORED, 9]},
        {"input_ids": [5, 6], "labels": [IGNORED, 6]},
    ]
    model = adapted(standin)
    expected, _ = one_by_one(model, rows)
    loss, _, _ = in_passes(model, rows, TrainingConfig(batch_size=3))
    assert loss == pytest.approx(expected, abs=1e-5)


def test_a_pack_holds_the_prefix_once() -> None:
    rows = synthetic([30, 5, 17])
    assert pack(rows, 9)["input_ids"].shape == (1, 9 + 31 + 6 + 18)
    assert pack(rows, 0)["input_ids"].shape == (1, 40 + 15 + 27)


def test_packs_come_in_few_sizes_and_never_in_more_tokens_than_a_pass_has() -> None:
    made = [StepBatches(0, TrainingConfig(batch_size=3))(synthetic([n, 20 + n, 41]))["passes"][0] for n in range(40)]
    sizes = {each["input_ids"].shape[1] for each in made}
    assert len(sizes) < 12
    for number, each in enumerate(made):
        rows = (10 + number) + (30 + number) + 51 - 2 * each["layout"]["prefix"]
        assert rows + each["layout"]["fill"] == each["input_ids"].shape[1] < rows * 1.13
        assert {tensor.shape for tensor in (each["kept"], each["targets"], each["owner"])} == {(16,)}  # 1 + 5 + 3
        assert int((each["targets"] != IGNORED).sum()) == 9
    exact = TrainingConfig(batch_size=3, pass_tokens=76)  # the next size is 80
    assert StepBatches(0, exact)(synthetic([1, 21, 41]))["passes"][0]["input_ids"].shape == (1, 75)
    assert grain(175) == (8 if torch.cuda.is_available() else 16)


@pytest.mark.parametrize("longest", [20, 300])
def test_short_and_long_rows_are_attended_to_alike(standin: Standin, longest: int, monkeypatch: Any) -> None:
    """Plain products and SDPA's kernel, whichever the length chooses, against the other one."""
    model, rows = adapted(standin), synthetic([12, longest])
    chosen, wanted, _ = in_passes(model, rows, TrainingConfig(batch_size=2))
    monkeypatch.setattr("jobtuner.train.packing._SHORT", 0 if longest == 20 else 1000)
    other, found, _ = in_passes(model, rows, TrainingConfig(batch_size=2))
    assert chosen == pytest.approx(other, abs=1e-5)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-6, rtol=1e-4)


def test_an_ordinary_batch_passes_through_packed_attention(standin: Standin) -> None:
    model, tokens = adapted(standin).eval(), torch.arange(5, 25).reshape(2, 10)
    mask = torch.ones_like(tokens)
    mask[1, :4] = 0
    before = model.config._attn_implementation
    with torch.no_grad():
        expected = model(input_ids=tokens, attention_mask=mask).logits
        with packed_attention(model):
            found = model(input_ids=tokens, attention_mask=mask).logits
    torch.testing.assert_close(found[:, 4:], expected[:, 4:], atol=1e-6, rtol=1e-5)
    assert model.config._attn_implementation == before


def test_best_fit_leaves_no_room_that_a_row_would_fill() -> None:
    sizes = [random.Random(seed).randrange(1, 60) for seed in range(200)]
    groups = best_fit(sizes, 64)
    assert sorted(index for group in groups for index in group) == list(range(200))
    assert all(sum(sizes[i] for i in group) <= 64 for group in groups)
    assert len(groups) <= -(-sum(sizes) // 64) * 11 / 9 + 6 / 9
    assert best_fit([100, 3], 64) == [[0], [1]]


@pytest.mark.parametrize("packing", ["none", "rows", "shared_prefix"])
def test_measured_loss_and_accuracy_are_those_of_the_rows(standin: Standin, packing: Any) -> None:
    model = adapted(standin)
    rows = synthetic([30, 5, 17, 8])
    with torch.no_grad():  # make two rows right: the answer is what the model says
        for row in rows[:2]:
            count = sum(label != IGNORED for label in row["labels"])
            for at in range(len(row["input_ids"]) - count, len(row["input_ids"])):
                said = int(model.eval()(input_ids=torch.tensor([row["input_ids"][:at]])).logits[0, -1].argmax())
                row["input_ids"][at] = row["labels"][at] = said
    with packed_attention(model):
        found = answer_metrics(model, StepBatches(0, TrainingConfig(batch_size=3, packing=packing)).passes(rows))
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx(plain_loss(model, rows), abs=1e-5)


def test_smoothing_raises_the_loss_of_a_sure_answer(standin: Standin) -> None:
    model, batch = adapted(standin), pack(synthetic([9, 9]), 9)
    with packed_attention(model), torch.no_grad():
        logits = model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"],
            attention_mask={"full_attention": None}, layout=batch["layout"], logits_to_keep=batch["kept"],
        ).logits[0]  # fmt: skip
        found = float(answer_loss(model, batch, smoothing=0.2))
    logs = logits.log_softmax(dim=1)
    likely = logs.gather(1, batch["targets"][:, None])[:, 0]
    assert found == pytest.approx(float(-(0.8 * likely + 0.2 * logs.mean(dim=1)).mean()), rel=1e-5)
