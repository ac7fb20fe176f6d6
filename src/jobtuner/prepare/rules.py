"""Rules of the recipe (`data.rules`) for columns of cleaned rows, checked by pandera."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jobtuner.config import RuleConfig
from jobtuner.prepare.parts import PartRow, reject

if TYPE_CHECKING:
    from pandera.pandas import Check, DataFrameSchema

__all__ = ["check_rules", "rule_kind"]

_SHOWN = 60  # characters of a value in a reason


def rule_kind(rule: RuleConfig) -> str:
    """The kind under which the rows of a rule are rejected."""
    return f"rule: {rule.name}"


def check_rules(rows: Sequence[PartRow], rules: Sequence[RuleConfig]) -> None:
    """Reject the rows that break a rule, each under the first one that it breaks; uniqueness is not looked at here.

    Empty text counts as no value.
    """
    rules = [
        rule for rule in rules if any((rule.min_length, rule.max_length, rule.allowed, rule.pattern, rule.not_null))
    ]
    if not rules:
        return
    import pandas as pd
    from pandera.errors import SchemaErrors

    named = {rule.name: rule for rule in rules}
    columns = sorted({rule.column for rule in rules})
    frame = pd.DataFrame({name: [row[name] or None for row in rows] for name in columns}, dtype=object)
    try:
        _schema(rules).validate(frame, lazy=True)
    except SchemaErrors as error:
        broken: dict[int, set[str]] = {}
        cases = error.failure_cases
        for name, place in zip(cases["check"], cases["index"], strict=True):
            broken.setdefault(int(place), set()).add(str(name))
        for place, names in broken.items():
            rule = next(rule for name, rule in named.items() if name in names)
            reject(rows[place], rule_kind(rule), _reason(rule, rows[place]))


def _reason(rule: RuleConfig, row: PartRow) -> str:
    value = row[rule.column]
    shown = f"'{value[:_SHOWN]}' of {len(value)} characters" if value else "nothing"
    return f"rule '{rule.name}': {rule.column} holds {shown}"


def _schema(rules: Sequence[RuleConfig]) -> "DataFrameSchema":
    from pandera.pandas import Column, DataFrameSchema

    by_column: dict[str, list[Any]] = {}
    for rule in rules:
        by_column.setdefault(rule.column, []).extend(_checks(rule))
    return DataFrameSchema({name: Column(checks=checks, nullable=True) for name, checks in by_column.items()})


def _checks(rule: RuleConfig) -> Iterable["Check"]:
    from pandera.pandas import Check

    if rule.min_length or rule.max_length:
        yield Check.str_length(min_value=rule.min_length, max_value=rule.max_length, error=rule.name)
    if rule.allowed:
        yield Check.isin(list(rule.allowed), error=rule.name)
    if rule.pattern is not None:
        yield Check.str_contains(rule.pattern, error=rule.name)
    if rule.not_null:
        yield Check(lambda values: values.notna(), ignore_na=False, error=rule.name)
