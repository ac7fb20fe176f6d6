"""What an environment costs, from the prices in prices.json: python terraform/costs.py [--write].

How many nodes always run is read from the environments themselves (min_nodes). --write puts the table into the README.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["idle_nodes", "main", "monthly", "table", "with_table"]

ROOT = Path(__file__).resolve().parent
_MARKS = ("<!-- costs -->", "<!-- /costs -->")


def idle_nodes(environment: str) -> int:
    """Nodes that run while nobody works: the sum of min_nodes in the environment's main.tf."""
    return sum(map(int, re.findall(r"min_nodes += (\d+)", (ROOT / "envs" / environment / "main.tf").read_text())))


def monthly(items: dict[str, float], prices: dict[str, Any]) -> float:
    """US dollars a month for quantities of priced things, all of them running all the time.

    Raises:
        ValueError: something has no price, or two.
    """
    total = 0.0
    for name, quantity in items.items():
        found = [(prices[unit][name], hours) for unit, hours in _units(prices) if name in prices[unit]]
        if len(found) != 1:
            raise ValueError(
                f"prices.json has {len(found)} prices for '{name}'; accepted is one, in per_hour or per_month."
            )
        price, times = found[0]
        total += quantity * price * times
    return total


def _units(prices: dict[str, Any]) -> list[tuple[str, float]]:
    return [("per_hour", prices["hours_per_month"]), ("per_month", 1)]


def table(prices: dict[str, Any]) -> str:
    """The costs of each environment as Markdown: idle a month, a busy GPU an hour, a training run."""
    rows = [
        "| environment | idle, a month | a busy GPU, an hour more | a training run, besides idle |",
        "|---|---|---|---|",
    ]
    for name, part in prices["environments"].items():
        nodes = idle_nodes(name)
        idle = monthly(part["always"], prices) + nodes * monthly(part["each_node_always"], prices)
        busy = monthly(part["gpu_node"], prices) / prices["hours_per_month"]
        run = monthly(part["run_node"], prices) / prices["hours_per_month"] * part["run_hours"]
        rows.append(
            f"| {name} | ${idle:,.0f} ({nodes} node{'s' if nodes > 1 else ''}, no GPU) "
            f"| ${busy:,.2f} ({part['gpu']}) | ${run:,.2f} ({part['run']}) |"
        )
    return "\n".join(rows)


def with_table(text: str, rows: str) -> str:
    """`text` with the table between its two marks."""
    before, _, rest = text.partition(_MARKS[0])
    _, _, after = rest.partition(_MARKS[1])
    return f"{before}{_MARKS[0]}\n{rows}\n{_MARKS[1]}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it into the README; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into terraform/README.md")
    options = parser.parse_args(arguments)
    prices = json.loads((ROOT / "prices.json").read_text())
    try:
        rows = table(prices)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if options.write:
        path = ROOT / "README.md"
        path.write_text(with_table(path.read_text(), rows))
        print(f"wrote {path}")
    else:
        print(f"{prices['about']}\n\n{rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
