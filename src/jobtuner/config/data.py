"""The data: where rows come from, how they are cleaned, split and turned into prompts."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobtuner.config.quality import LeakageConfig, RuleConfig
from jobtuner.config.section import Count, Section, Share

__all__ = [
    "BUILT_IN_LANGUAGES",
    "EUROPEAN_LANGUAGES",
    "CleanConfig",
    "Columns",
    "DataConfig",
    "DeduplicateConfig",
    "GenerateConfig",
    "PromptConfig",
    "SplitConfig",
    "TaxonomyConfig",
]


BUILT_IN_LANGUAGES = ("en", "es", "fr", "de", "da")
"""Languages of the built-in templates of generated ads."""


EUROPEAN_LANGUAGES = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr", "hu", "is", "it", "lt", "lv", "nl", "no",
    "pl", "pt", "ro", "sk", "sl", "sv",
)  # fmt: skip
"""Languages of the European Union, Norway and Iceland but Maltese, for which there is no model."""


class Columns(Section):
    """Which column (or JSON key) of the input holds what."""

    text: str = "text"
    label: str = "label"
    """A code or title; or several, as a list or with "|" between them: the first is learnt, any is a right answer."""
    language: str | None = "language"
    """None: the input does not say; every row counts as "und"."""
    id: str | None = None
    """None: file name and row number serve as id."""
    group: str | None = None
    """Rows with the same value never cross a split (re-post id, campaign)."""
    employer: str | None = None
    """Who offers the job; with `title` it finds re-posts, and split.by can keep employers apart."""
    title: str | None = None
    """The job title, where the input has it apart from the text."""
    date: str | None = None
    """When the ad was posted, as 2026-01-31, with or without a time; for split.by = date."""
    translation_of: str | None = None
    """Id of the ad that this one is a translation of: both are in one cluster."""
    source: str | None = None
    """Where a row came from (job board, country, data set): results are told for each source apart."""


class GenerateConfig(Section):
    """The built-in generator of multilingual ads."""

    templates: str | None = None
    """JSON file with frames and occupations of one's own (form: `prepare/phrases.py`); None: the built-in ones."""
    languages: Sequence[Annotated[str, Field(pattern="^[a-z]{2}$")]] = BUILT_IN_LANGUAGES
    """The built-in templates have these five; a file may have others."""
    ads_per_unit: Count = 24
    """Ads per occupation *and* language."""
    noise: Share = 0.3
    """Share of ads with typos, HTML, shouting or emoji."""
    untitled: Share = 0.25
    """Share of ads whose heading does not name the occupation: the body must be read."""

    @model_validator(mode="after")
    def _known_languages(self) -> Self:
        unknown = sorted(set(self.languages) - set(BUILT_IN_LANGUAGES))
        if unknown and self.templates is None:
            raise ValueError(
                f"the built-in templates have no {', '.join(unknown)}, but {', '.join(BUILT_IN_LANGUAGES)}; set "
                "templates to a file that has them"
            )
        return self


class DataConfig(Section):
    """Where the labelled rows come from."""

    input: str | None = None
    """Path, file://, s3://bucket/key, or hf://NAME[:config][@revision][#split] of a file or folder; None: generate."""
    columns: Columns = Columns()
    label_by: Literal["code", "title", "alternative"] = "alternative"
    """What the label column holds: codes; or titles in any language, too; or alternative titles of the taxonomy, too.
    Titles are compared without case and punctuation; one that means several codes is rejected with their names."""
    detect_language: Literal["missing", "always", "never"] = "never"
    """Find the language of rows that do not say theirs, or of all; needs lingua, and about 1 ms an ad."""
    languages: Sequence[Annotated[str, Field(pattern="^[a-z]{2}$")]] = EUROPEAN_LANGUAGES
    """Languages that `detect_language` chooses from: fewer are faster and surer."""
    generate: GenerateConfig = GenerateConfig()
    max_rejected: Share = 0.5
    """Fail when a larger share of the rows is rejected: the mapping is probably wrong."""
    max_rows: Count | None = None
    """Read no more rows than this (a quick trial); None: all."""
    max_bytes: Count = 100_000_000_000
    """Bytes that the input's files may unfold to, together: a zip bomb ends here, not at a full disk or memory."""
    part_rows: Count = 10_000
    """Rows that are cleaned together: what a killed run loses at most. Fewer rows altogether are cleaned in one go."""
    workers: Count | None = None
    """Processes that clean, where there is more than one part; None: one a processor core."""
    min_label_coverage: Share = 0.0
    """Fail when training holds a smaller share of the taxonomy's labels."""
    hostile: Share = 0.0
    """Share of the training ads that get foreign text (an order to the model with a wrong code, chatter, shuffled words
    of other ads, letters of another script) and keep their label; validation and test stay as they are."""
    count_tokens: int = Field(default=0, ge=0)
    """Rows of each split whose tokens are counted for the data card, by the tokenizer of model.base; 0: none. Labelled
    ads only: for tasks that answer in text, training counts all of them."""
    rules: Sequence[RuleConfig] = ()
    """What a row must fulfil besides; rows that do not are rejected under the rule's name."""


class TaxonomyConfig(Section):
    """The label set."""

    path: str | None = None
    """JSONL or CSV with at least `code`; None: the built-in sample of ISCO-08 unit groups."""
    level: int | None = Field(default=None, ge=1)
    """Keep codes of this hierarchy level as labels (ISCO-08: 4 = unit groups); None: the deepest codes."""


class CleanConfig(Section):
    """Text cleaning."""

    min_chars: int = Field(default=3, ge=1)
    max_chars: Count = 2000
    """Longer texts are cut at a word; the data card counts them."""
    repeated_lines: bool = True
    """Drop a line of 20 characters or more that stands in the same ad before."""
    boilerplate: Sequence[str] = ()
    """Lines to drop from every ad; case, punctuation and numbers don't count. `jobtuner boilerplate` finds them."""
    orders: bool = True
    """Leave out sentences that speak to the machine that reads the ad ("ignore previous instructions") or name a code
    of the taxonomy, and blobs such as base64. Off for the task instruct, whose texts are instructions."""
    personal_data: bool = True
    """Replace e-mail and street addresses, URLs, handles, IBANs and phone numbers by [EMAIL], [ADDRESS] and so on."""
    names: str | None = None
    """Replace person names by [NAME]: GLiNER2 checkpoint, by name or folder, e.g. fastino/gliner2.5-base-v1. Needs the
    package gliner2[local] and takes far longer than all other cleaning; None: names stay."""
    job_parts: str | None = None
    """Keep of each ad only the passages that name its occupation, skills and tasks, one a line: GLiNER2 checkpoint as
    for `names`, and as slow. Ads in which it finds none are rejected as too short. None: the whole ad."""


class DeduplicateConfig(Section):
    """Near-duplicates by MinHash over character shingles, verified by exact Jaccard similarity."""

    threshold: Share = 0.85
    """Jaccard similarity from which two texts belong to one cluster."""
    shingle: int = Field(default=5, ge=2)
    """Characters a shingle."""
    permutations: int = Field(default=64, ge=16)
    """Hash functions; more find borderline pairs more surely and cost time."""
    repost_threshold: Share = 0.5
    """Jaccard similarity from which two ads of the same employer under the same title are one job posted again."""
    conflicts: Literal["reject", "accept"] = "reject"
    """What to do with the same text under different labels: reject all such rows, since nobody can say which is right;
    or accept each label as a right answer, and keep one row, with its most frequent label to learn."""


class SplitConfig(Section):
    """Train, validation, test: whole clusters only."""

    validation: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    test: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.15
    by: Literal["random", "employer", "date"] = "random"
    """What decides the side of a cluster: chance; chance with all ads of an employer in one cluster; or the date of its
    first ad, with training on the past, then validation, and test on the latest ads."""
    min_label_rows: int = Field(default=3, ge=1)
    """Labels with fewer rows are rejected, each row with its reason: they cannot be learnt and tested."""

    leakage: LeakageConfig = LeakageConfig()


class PromptConfig(Section):
    """How an ad becomes a prompt (the wording itself lives in `jobtuner.tasks`)."""

    max_ad_tokens: int = Field(default=512, ge=8)
    """Ads are cut to this many tokens; the answer never is."""
