"""The matrices show what was answered, in the order of the codes, with rules between the groups."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.evaluate.charts import _figure
from jobtuner.evaluate.confusion import draw_codes, draw_groups
from jobtuner.records import Prediction
from jobtuner.taxonomy import MAJOR_GROUPS, Occupation, Taxonomy
from tests.unit.evaluate import samples


def predictions(pairs: Sequence[tuple[str, str]]) -> list[Prediction]:
    return [
        Prediction(f"ad-{number}", right, "en", answered, 0.5, [(answered, 0.5)], 1)
        for number, (right, answered) in enumerate(pairs)
    ]


PAIRS = [("1111", "1111"), ("2221", "2221"), ("2221", "2222"), ("2221", "2222"), ("2221", "9112"), ("2222", "2221")]


def test_rows_are_the_right_codes_and_add_up_to_one() -> None:
    (axes, *_) = draw_codes(_figure, predictions(PAIRS)).axes
    shown: NDArray[np.float64] = np.ma.filled(np.ma.asarray(axes.images[0].get_array()), 0.0)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1111", "2221", "2222", "9112"]
    # 9112 was answered, and never right.
    np.testing.assert_allclose(shown, np.array([[1, 0, 0, 0], [0, 0.25, 0.5, 0.25], [0, 1, 0, 0], [0, 0, 0, 0]]))
    assert {text.get_text() for text in axes.texts} == {"100", "25", "50"}


def test_major_groups_are_framed() -> None:
    (axes, *_) = draw_codes(_figure, predictions(PAIRS)).axes
    frames = [(patch.get_x(), patch.get_width()) for patch in axes.patches]  # type: ignore[attr-defined]
    assert frames == [(-0.5, 1.0), (0.5, 2.0), (2.5, 1.0)]


def test_groups_have_titles_counts_and_shares() -> None:
    groups = [Occupation(code, {"en": MAJOR_GROUPS[code]}, group=True) for code in "129"]
    taxonomy = Taxonomy([*samples.taxonomy().occupations.values(), *groups])
    (axes,) = draw_groups(_figure, predictions(PAIRS), taxonomy).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "1 Managers (1)",
        "2 Professionals (5)",
        "9 Elementary occupations (0)",
    ]
    assert sorted(text.get_text() for text in axes.texts) == ["100", "20", "80"]


@pytest.mark.parametrize("count", [5, 48, 436])
def test_every_code_has_whole_pixels(count: int) -> None:
    codes = [f"{1 + k // 50}{k % 50:03d}" for k in range(count)]
    figure = draw_codes(_figure, predictions([(code, code) for code in codes]))
    figure.savefig(io.BytesIO(), dpi=130)  # lays the figure out
    inches = figure.axes[0].get_window_extent().width / figure.dpi
    assert inches * 130 / count >= 3.0
