from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp
from sklearn.metrics.pairwise import rbf_kernel

from jobtuner.drift_reference.distances import Pool, cells_of, group_of, kernel_width
from tests.unit.drift_reference.samples import LABELS, MEASURE, sample

OURS, THEIRS = sample(300, 1), sample(120, 2, labels=(0.1, 0.1, 0.5, 0.2, 0.1), sure=-2.0)
SCALE = np.sqrt(1 / 300 + 1 / 120)


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    """The distances of one division, in the statistics' own units."""
    inside = np.arange(420)[None, :] >= 300
    return {name: value[0] * SCALE for name, value in Pool(OURS.joined(THEIRS), MEASURE).distances(inside).items()}


@pytest.mark.parametrize(
    ("test", "column"), [("length", "characters"), ("unknown_words", "unknown_words"), ("confidence", "probability")]
)
def test_numbers_are_compared_as_scipy_does(found: dict[str, float], test: str, column: str) -> None:
    """Lengths and shares of words have ties."""
    assert found[test] == pytest.approx(ks_2samp(getattr(OURS, column), getattr(THEIRS, column)).statistic, abs=1e-12)


@pytest.mark.parametrize(("test", "names"), [("labels", LABELS), ("languages", ["da", "en"])])
def test_shares_are_compared_as_scipy_does(found: dict[str, float], test: str, names: list[str]) -> None:
    column = test.removesuffix("s")
    ours, theirs = ([np.mean(getattr(side, column) == name) for name in names] for side in (OURS, THEIRS))
    assert found[test] == pytest.approx(jensenshannon(ours, theirs, base=2.0), abs=1e-9)


def test_wording_is_the_maximum_mean_discrepancy(found: dict[str, float]) -> None:
    within, among, across = (
        rbf_kernel(left.sketch, right.sketch, gamma=1 / 2.0).mean()
        for left, right in ((OURS, OURS), (THEIRS, THEIRS), (OURS, THEIRS))
    )
    assert found["wording"] == pytest.approx(np.sqrt(within + among - 2 * across), rel=1e-3)  # float32 sums


def test_abstention_is_a_difference_of_shares(found: dict[str, float]) -> None:
    shares = [np.mean(side.probability < 0.3) for side in (OURS, THEIRS)]
    assert found["abstention"] == pytest.approx(abs(shares[0] - shares[1]))


def test_many_divisions_at_once_give_what_each_gives_alone() -> None:
    pool = Pool(OURS, MEASURE)
    generator = np.random.default_rng(3)
    windows = generator.random((203, 300)) < 0.4  # three blocks
    together = pool.distances(windows)
    for place in (0, 150, 202):
        alone = pool.distances(windows[place : place + 1])
        for name, values in alone.items():
            assert together[name][place] == pytest.approx(values[0], rel=1e-4)


@pytest.mark.filterwarnings("error")
def test_sides_that_are_too_small_are_not_compared() -> None:
    windows = np.zeros((3, 300), dtype=bool)
    windows[0, :29], windows[1, :271] = True, True  # and the third is empty, as a language's window may be
    assert all(np.isnan(values).all() for values in Pool(OURS, MEASURE).distances(windows).values())


def test_unknown_words_are_left_out_where_they_were_not_measured() -> None:
    rows = replace(OURS, unknown_words=np.full(300, np.nan))
    assert "unknown_words" not in Pool(rows, MEASURE).distances(np.arange(300)[None, :] < 100)


def test_labels_are_counted_at_the_finest_level_that_has_few_groups() -> None:
    assert cells_of(np.array(LABELS)) == tuple(sorted(LABELS))
    many = np.array([f"{a}{b}{c}" for a in "123" for b in "123456" for c in "123456789"])  # 162 codes in 18 groups
    assert cells_of(many) == tuple(f"{a}{b}" for a in "123" for b in "123456")
    flat = np.array([chr(200 + place) for place in range(100)] + [chr(200)])
    assert len(cells_of(flat)) == 63
    assert chr(200) in cells_of(flat)
    assert [group_of(label, {"22", "2512"}) for label in ("2221", "2512", "5120")] == ["22", "2512", "other"]


def test_the_kernels_width_is_the_median_squared_distance() -> None:
    squared = ((OURS.sketch[:, None] - OURS.sketch[None]) ** 2).sum(axis=2)[np.triu_indices(300, 1)]
    assert kernel_width(OURS.sketch) == pytest.approx(np.median(squared), rel=0.05)  # 5,000 pairs of 45,000
    assert kernel_width(np.ones((5, 64), dtype=np.float32)) == 1.0
