"""Fixtures that many tests share: a real, tiny, untrained stand-in with an adapter, made once a session."""

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobtuner.config import LoraSettings, QuantizationConfig, StandinConfig
from jobtuner.taxonomy import Occupation, Taxonomy

# A shell starts background jobs with SIGINT ignored, and processes inherit that: tests that send it would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)

ADS = [
    "Nurse wanted for the night shift. Give medicine, dress wounds, write the handover.",
    "Krankenpfleger gesucht. Wunden versorgen, Medikamente geben, Übergabe schreiben.",
    "Cook for a hotel kitchen. Prepare meals, season sauces, keep the kitchen clean.",
    "Koch für Hotelküche gesucht. Speisen zubereiten, Soßen abschmecken.",
    "Bus driver on city lines. Sell tickets, check the bus, keep to the timetable.",
]
TINY = StandinConfig(
    vocab_size=700,
    hidden_size=32,
    intermediate_size=64,
    layers=2,
    heads=2,
    kv_heads=1,
    pretrain_tokens=3000,
    pretrain_batch_tokens=512,
)
LORA = LoraSettings(r=8, alpha=16, dropout=0.0)
NF4 = QuantizationConfig(compute_dtype="float32")


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    """Five labels; two share three digits, so the trie branches at every level."""
    titles = {
        "2221": {"en": "Nurses", "de": "Krankenpfleger"},
        "2222": {"en": "Midwives", "de": "Hebammen"},
        "5120": {"en": "Cooks", "de": "Köche"},
        "5131": {"en": "Waiters", "de": "Kellner"},
        "8331": {"en": "Bus drivers", "de": "Busfahrer"},
    }
    return Taxonomy([Occupation(code, title) for code, title in titles.items()])


@dataclass(frozen=True)
class Standin:
    folder: Path
    built: dict[str, float]


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> Standin:
    """A real `Qwen2ForCausalLM` with its tokenizer on disk."""
    from jobtuner.tasks import get_task
    from jobtuner.train.standin import Corpus, build_standin

    folder = tmp_path_factory.mktemp("standin")
    return Standin(folder, build_standin(TINY, Corpus.of(ADS * 4, taxonomy), get_task("occupation"), 5, folder))
