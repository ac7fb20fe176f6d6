"""From a trained model to an endpoint: evaluation, gate, registry, export, deployment."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobtuner.config.kserve import KServeConfig
from jobtuner.config.section import Count, Section, Share

__all__ = ["MODEL_NAMES", "DeployConfig", "EvaluateConfig", "ExportConfig", "GateConfig", "RegisterConfig"]


MODEL_NAMES = {
    "occupation": "jobtuner-occupation",
    "skills": "jobtuner-skills",
    "cover_letter": "jobtuner-letters",
    "instruct": "jobtuner-instruct",
}
"""Task to the name that its models have in the registry where a recipe gives none."""


class EvaluateConfig(Section):
    """Scoring of the test split."""

    batch_size: Count = 32
    """Prompts scored at once."""
    top_k: int = Field(default=5, ge=2)
    search: Literal["exact", "top", "greedy"] = "exact"
    """exact: the probability of every label. top: the `top_k` best labels, proven, theirs exact; the others share what
    is left evenly, so that accuracy and top-k accuracy are exact and log loss, Brier score and calibration are not.
    greedy: the best branch at each token."""
    scoring_memory_mib: int = Field(default=1024, ge=16)
    """Working memory of exact label scores, MiB, beside the weights. Less means smaller passes, not another result."""
    max_examples: Count | None = None
    """Score no more test examples than this (the first by id hash); None: all."""
    max_validation: int = Field(default=1000, ge=2)
    """Score no more validation examples than this: half of them give the temperatures, half the thresholds."""
    min_language_rows: int = Field(default=100, ge=10)
    """A language has a temperature of its own from so many validation examples on (of the half that temperatures are
    fitted to); others have the one of all languages."""
    target_precision: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Share of right answers wanted among those that are kept, where a model abstains below a threshold, and among the
    baseline's in the report's second cascade."""
    baseline_price: Annotated[float, Field(ge=0.0)] | None = None
    """Price of 1,000 answers of the baseline, in any one currency; with model_price the report tells what 1,000 ads
    cost along the cascade. None: no costs."""
    model_price: Annotated[float, Field(ge=0.0)] | None = None
    """Price of 1,000 answers of the model: price of an hour / (ads a second × 3.6); `jobtuner batch` tells the rate."""

    @model_validator(mode="after")
    def _both_prices(self) -> Self:
        if (self.baseline_price is None) != (self.model_price is None):
            raise ValueError("baseline_price and model_price go together: give both, or neither")
        return self


class GateConfig(Section):
    """When a challenger becomes champion."""

    metric: Literal["macro_f1", "accuracy"] = "macro_f1"
    min_gain: float = 0.0
    """The lower end of the gain's 95 % interval (paired bootstrap) must exceed this, against the baseline and against
    the champion."""
    min_examples: Count = 100
    """With fewer test examples nothing is promoted: an interval from so few says too little."""
    non_inferiority_margin: Share | None = None
    """Where set, a challenger with fewer parameters than the champion passes against it when the lower end of its gain
    exceeds minus this; None: it must gain, whatever its size."""
    max_language_loss: Share = 0.05
    """No language may lose more accuracy than this against the baseline or the champion."""
    max_level_loss: Share = 0.05
    """No level of the taxonomy's hierarchy may lose more accuracy than this against the baseline or the champion."""
    max_ece: Share = 0.1
    """Largest expected calibration error on the test split."""
    max_ece_increase: Share = 0.02
    """The expected calibration error may exceed the champion's by so much."""
    min_merge_agreement: Share = 0.97
    """Share of the export's parity prompts on which the merged model must answer as base and adapter do."""
    ignore_unmeasurable_champion: bool = False
    """True: a champion that cannot be measured on this test data (weights gone, other taxonomy) does not block; the
    decision records it."""


class RegisterConfig(Section):
    """Experiment and registry names."""

    experiment: str = "jobtuner"
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = MODEL_NAMES["occupation"]
    """Name in the registry; in a recipe of another task the default is that task's: jobtuner-skills, jobtuner-letters,
    jobtuner-instruct."""
    training_watts: Annotated[float, Field(gt=0.0)] | None = None
    """Power that the training machine draws, in watts, measured or of its data sheet; None: the model card estimates
    no energy."""


class ExportConfig(Section):
    """Merged weights."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    parity_examples: Count = 64
    """Validation prompts on which merged and base + adapter are compared."""
    min_label_agreement: Share = 0.97
    """Share of the prompts (of tasks in text: of the right answers' tokens) at which both find the same likeliest."""
    max_log_difference: Annotated[float, Field(gt=0.0)] = 0.1
    """Mean difference of log-probabilities, in nats: of the label that base + adapter find likeliest, or of the right
    answers' tokens."""


class DeployConfig(Section):
    """Where the registered model is served."""

    target: Literal["local", "kserve"] = "local"
    """local: an endpoint on this machine, started, asked and stopped. kserve: the cluster that KUBECONFIG, or the pod's
    own service account, points to; a champion stays deployed there."""
    host: str = "127.0.0.1"
    """Address of the local endpoint."""
    start_seconds: Annotated[float, Field(gt=0.0)] = 120.0
    """The local endpoint must be ready within this time."""
    kserve: KServeConfig = KServeConfig()
