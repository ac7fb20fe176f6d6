import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobtuner.contracts import TrainedModel
from jobtuner.errors import ModelError
from jobtuner.generation import LocalWriter, Sampling, load_adapted_writer
from jobtuner.scoring import load_adapted
from jobtuner.taxonomy import Taxonomy
from tests.unit.chat.samples import Made

TEXTS = ["Nurse wanted: wound care.", "Cook.", "Clerk with payroll accounting and Excel for our office in town"]


@pytest.fixture(scope="module")
def writer(skills: Made) -> LocalWriter:
    return load_adapted_writer(skills.trained, 2)


def _chats(writer: LocalWriter) -> list[list[dict[str, str]]]:
    return [writer.prompts.chat(text) for text in TEXTS]


def test_a_batch_writes_what_each_chat_alone_gets_and_greedy_is_the_likeliest_token(writer: LocalWriter) -> None:
    import torch

    chats, sampling = _chats(writer), Sampling(max_tokens=12)
    together = writer.answers(chats, sampling)
    assert together == [writer.answers([chat], sampling)[0] for chat in chats]
    encoder = writer.prompts.encoder
    ids = encoder.prompt(chats[0])
    start = len(ids)
    while len(ids) < start + 12:
        ids.append(int(writer.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == encoder.end_id:
            ids.pop()
            break
    assert together[0] == str(writer.prompts.tokenizer.decode(ids[start:], skip_special_tokens=True)).strip()


def test_a_stream_is_the_answer_in_pieces_and_may_be_left_early(writer: LocalWriter) -> None:
    chat, sampling = _chats(writer)[0], Sampling(max_tokens=12)
    assert "".join(writer.stream(chat, sampling)).strip() == writer.answers([chat], sampling)[0]
    stream = writer.stream(chat, Sampling(max_tokens=100))
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator


def test_a_stream_tells_of_a_failure(writer: LocalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(writer, "_run", fail)
    with pytest.raises(ModelError, match="out of memory"):
        list(writer.stream(_chats(writer)[0]))


def test_sampling_follows_its_seed(writer: LocalWriter) -> None:
    chats = _chats(writer)
    first, again, other = (writer.answers(chats, Sampling(1.5, seed, 12)) for seed in (1, 1, 2))
    assert first == again != other


def test_measuring_gives_the_loss_of_training(writer: LocalWriter) -> None:
    import torch

    chats, answers = _chats(writer), ['["wound care"]', "[]", '["payroll accounting", "Excel"]']
    for chat, answer, found in zip(chats, answers, writer.measure(chats, answers), strict=True):
        prompt, right = writer.prompts.encoder.prompt(chat), writer.prompts.encoder.answer(answer)
        with torch.no_grad():
            logits = writer.model(input_ids=torch.tensor([prompt + right])).logits[0, len(prompt) - 1 : -1]
        wanted = logits.log_softmax(dim=1)[range(len(right)), right]
        assert found.log_probabilities == pytest.approx(wanted.tolist(), abs=1e-3)  # other sums in a padded batch
        assert found.choices == logits.argmax(dim=1).tolist()
        assert all(value <= 0 and math.isfinite(value) for value in found.log_probabilities)


def test_another_prompt_and_another_task_are_refused(skills: Made, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    shutil.copytree(skills.trained.folder, folder)
    path = folder / "inference.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    trained = TrainedModel.load(folder)
    for change, told in (
        ({"prompt_hash": "0" * 64}, "prompt hash is 000000000000"),
        ({"task": "cover_letter"}, "does not fit"),
        ({"task": "occupation"}, "writes no text"),
    ):
        path.write_text(json.dumps({**data, **change}), encoding="utf-8")
        with pytest.raises(ModelError, match=told):
            load_adapted_writer(trained)


def test_a_model_that_answers_in_text_scores_no_labels(skills: Made, taxonomy: Taxonomy) -> None:
    with pytest.raises(ModelError, match="scores no labels"):
        load_adapted(skills.trained, taxonomy)
