from datetime import timedelta

from jobtuner.drift_reference.calibration import calibrate
from jobtuner.drift_reference.files import Reference
from jobtuner.monitor.charts import draw
from jobtuner.monitor.drift import compare
from jobtuner.monitor.quality import Judged, measure
from jobtuner.monitor.window import Window
from tests.unit.drift_reference.samples import MEASURE, sample
from tests.unit.prediction_log.samples import NOON


def test_every_picture_is_drawn_from_what_there_is() -> None:
    rows = sample(220, 1)
    reference = Reference(rows, MEASURE, calibrate(rows, MEASURE, 0.05, 5, 150), None, 0.05, {"accuracy": 0.9})
    answers = sample(150, 2, danish=0.9)
    window = Window(NOON - timedelta(days=7), NOON, 150, answers, {"m1": 150}, 3, {"2026-11-19": 150})
    quality = measure([Judged(NOON, "en", "2221", 0.9, "2221")] * 30)
    pictures = draw(reference, window, compare(reference, answers), quality)
    assert set(pictures) == {"scores", "labels", "languages", "confidence", "length", "map", "accuracy"}
    for png, text in pictures.values():
        assert png.startswith(b"\x89PNG")
        assert text
    nothing = sample(0, 3)
    empty = Window(NOON - timedelta(days=7), NOON, 0, nothing, {}, 0, {})
    assert draw(reference, empty, compare(reference, nothing), measure([])) == {}
