"""The alerts against Prometheus' own promtool, where it is installed: each fires when it should, and only then."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests import alerts

FILES = sorted(alerts.TESTS.glob("*.yaml"))
RULES = [rule for group in alerts.rule_groups() for rule in group["rules"]]

_BOARDS = "manifests/base/monitoring/*.json"

needs_promtool = pytest.mark.skipif(alerts.promtool() is None, reason="promtool is not installed (PROMTOOL=path)")


def _cases(path: Path) -> list[dict[str, Any]]:
    tests = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    return [case for test in tests for case in test["alert_rule_test"]]


@needs_promtool
def test_every_alert_fires_when_it_should() -> None:
    assert alerts.judge(alerts.rule_groups(), FILES) == []


def test_every_alert_is_shown_to_fire_and_to_be_silent() -> None:
    cases = [case for path in FILES for case in _cases(path)]
    names = {rule["alert"] for rule in RULES}
    assert len(names) == len(RULES) == 24
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_the_advice_names_no_label_that_the_summary_lacks() -> None:
    """promtool's tests show that the summary's labels are there; the advice is not part of them."""
    for rule in RULES:
        said = {name: set(re.findall(r"\$labels\.(\w+)", rule["annotations"][name])) for name in ("summary", "action")}
        assert said["action"] <= said["summary"], rule["alert"]


def _never(rule: dict[str, Any]) -> None:
    rule["expr"] = f"({rule['expr']}) and on () vector(0) > 1"


def _always(rule: dict[str, Any]) -> None:
    rule["expr"] = f"({rule['expr']}) or vector(1)"


def _at_once(rule: dict[str, Any]) -> None:
    rule["for"] = "0s"


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("spoil", [_never, _always, _at_once])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spoiled_alert_is_seen(path: Path, spoil: Callable[[dict[str, Any]], None]) -> None:
    """Each alert of a file spoiled alone: that file's tests must see it."""
    for name in sorted({case["alertname"] for case in _cases(path)}):
        groups = copy.deepcopy(alerts.rule_groups())
        (rule,) = [rule for group in groups for rule in group["rules"] if rule["alert"] == name]
        spoil(rule)
        assert any("FAILED" in line for line in alerts.judge(groups, [path])), name


@needs_promtool
@pytest.mark.parametrize("line", ["rate(jobtuner_ads_total)", "sum by pod (x)", "x{le=}"])
def test_a_rule_that_prometheus_would_refuse_is_told(line: str) -> None:
    rule = {"alert": "Broken", "expr": line, "annotations": {"summary": "no"}}
    assert alerts.judge([{"name": "broken", "rules": [rule]}], [])


@needs_promtool
def test_the_dashboards_queries_are_prometheus_own() -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in alerts.TESTS.parents[2].glob(_BOARDS)]
    asked = [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{i}", "expr": expr.replace("$price", "1")} for i, expr in enumerate(asked)]
    assert len(boards) == 4 and len(rules) > 40
    assert alerts.judge([{"name": "dashboards", "rules": rules}], []) == []


def test_without_promtool_a_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PROMTOOL", "/no/such/tool")
    assert alerts.main([]) == 0
    assert "Skipped: promtool is not installed" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="PROMTOOL"):
        alerts.judge([], [])


def test_the_rules_can_be_written_as_prometheus_reads_them(tmp_path: Path) -> None:
    assert alerts.main(["rules", str(tmp_path / "rules.yaml")]) == 0
    content = yaml.safe_load((tmp_path / "rules.yaml").read_text(encoding="utf-8"))
    assert content == {"groups": alerts.rule_groups()}
    assert alerts.main(["nonsense"]) == 2
