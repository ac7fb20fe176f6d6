"""`jobtuner taxonomy`: make a taxonomy file of a published classification, look into it, move from one to another."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.taxonomy import Taxonomy

__all__ = ["add_to"]

_FORMS = ("esco", "onet", "csv", "jsonl")
_SHOWN = 10  # codes, and alternatives of a language

_TaxonomyOption = Annotated[
    Path | None, typer.Option("--taxonomy", "-t", help="Taxonomy file.", show_default="the built-in sample")
]
_LevelOption = Annotated[int | None, typer.Option(min=1, help="Level of the labels.", show_default="the deepest codes")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, help="Taxonomies: import, show, migrate.")
    group.command("import")(_import)
    group.command("show")(_show)
    group.command("migrate")(_migrate)
    app.add_typer(group, name="taxonomy")


def _import(
    form: Annotated[str, typer.Argument(metavar="esco|onet|csv|jsonl", help="What SOURCE is.")],
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Release as downloaded (zip or folder; ESCO: one a language), or tables."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .jsonl or .jsonl.gz.")],
    groups: Annotated[
        list[Path] | None,
        typer.Option("--groups", help="Table of headings that no ad is labelled with. May be repeated."),
    ] = None,
    soc: Annotated[bool, typer.Option("--soc", help="O*NET: merge details (11-1011.03) into SOC codes.")] = False,
    code_column: Annotated[
        str, typer.Option(help="Tables: column of the code; of several, the first a row has.")
    ] = "code",
    title_column: Annotated[str, typer.Option(help="Tables: column of the title, e.g. label,title.")] = "title",
    alternatives_column: Annotated[
        str | None, typer.Option(help="Tables: columns of other titles: lists, or text with | between them.")
    ] = None,
    language: Annotated[str, typer.Option(help="Tables: language of titles that do not say theirs.")] = "en",
) -> None:
    """Make a taxonomy file of ESCO's CSV release, O*NET's text release, or any tables of codes and titles."""
    from jobtuner.taxonomy_import import TableColumns, import_esco, import_onet, import_table, write_taxonomy

    if form not in _FORMS:
        raise ConfigError(f"'{form}' is no form of taxonomy; accepted are {', '.join(_FORMS)}.")
    columns = TableColumns(
        code=_names(code_column),
        title=_names(title_column),
        alternatives=_names(alternatives_column or ""),
        language=language,
    )
    _refuse_idle(form, columns == TableColumns(), soc, bool(groups))
    if form == "esco":
        found = import_esco(sources)
    elif form == "onet":
        found = import_onet(sources, soc)
    else:
        found = import_table(sources, columns, groups or ())
    taxonomy = write_taxonomy(output, found)
    titles = Counter(language for item in found for language, _ in item.all_titles())
    spoken = ", ".join(f"{language} {count:,}" for language, count in titles.most_common())
    typer.echo(
        f"{output}: {len(taxonomy):,} codes, {len(taxonomy.labels):,} of them labels; titles: {spoken or 'none'}; "
        f"version {taxonomy.version}"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _refuse_idle(form: str, plain: bool, soc: bool, groups: bool) -> None:
    """An option that the form does not use is a mistake."""
    if soc and form != "onet":
        raise ConfigError("--soc has an effect on onet alone.")
    if form in {"esco", "onet"} and (groups or not plain):
        raise ConfigError(f"{form} has columns and groups of its own: leave --…-column, --language and --groups out.")


def _load(path: Path | None, level: int | None = None) -> "Taxonomy":
    from jobtuner.taxonomy import Taxonomy, builtin_taxonomy, load_taxonomy

    if path is not None:
        return load_taxonomy(path, level)
    return Taxonomy(builtin_taxonomy().occupations.values(), level)


def _show(
    text: Annotated[str, typer.Argument(metavar="CODE|TEXT", help="A code, or (part of) a title in any language.")],
    taxonomy: _TaxonomyOption = None,
    level: _LevelOption = None,
) -> None:
    """Show a code with its place, titles and description, or the codes that a text may mean."""
    from jobtuner.taxonomy_search import find_codes

    loaded = _load(taxonomy, level)
    found = [text] if text in loaded else find_codes(loaded, text, _SHOWN)
    if not found:
        raise ConfigError(f"No code and no title is like '{text}' among {len(loaded):,} codes.")
    if len(found) == 1:
        _print_code(loaded, found[0])
        return
    for code in found:
        typer.echo(f"{code}  {loaded.title(code)}")


def _print_code(taxonomy: "Taxonomy", code: str) -> None:
    from jobtuner.taxonomy import ancestors

    for depth, part in enumerate(ancestors(code)):
        if part in taxonomy or part == code:
            typer.echo(f"{'  ' * depth}{part}  {taxonomy.title(part)}")
    item = taxonomy[code]
    if code not in taxonomy.labels:
        typer.echo("(no label: ads are labelled with codes below it)")
    for language in sorted(item.titles.keys() | item.alternatives.keys()):
        others = list(item.alternatives.get(language, ()))
        more = f" … {len(others):,} in all" if len(others) > _SHOWN else ""
        shown = f"  ({'; '.join(others[:_SHOWN])}{more})" if others else ""
        typer.echo(f"{language}: {item.titles.get(language, '')}{shown}")
    if item.description:
        typer.echo(item.description)


def _migrate(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Taxonomy file that rows are labelled with now.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Taxonomy file to move to.")],
    crosswalk: Annotated[Path, typer.Option("--crosswalk", help="Table of old and new codes, one pair a row.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for map.csv, review.csv and migrated rows.")],
    rows: Annotated[Path | None, typer.Option(help="Labelled rows to migrate.")] = None,
    label_column: Annotated[str, typer.Option(help="Column of the label in --rows.")] = "label",
    review: Annotated[
        Path | None, typer.Option(help="review.csv of an earlier call with the right codes marked in `choose`.")
    ] = None,
    old_column: Annotated[str, typer.Option(help="Column of the old code in --crosswalk.")] = "old",
    new_column: Annotated[str, typer.Option(help="Column of the new code in --crosswalk.")] = "new",
    old_level: Annotated[int | None, typer.Option(min=1, help="Level of OLD's labels.", show_default="deepest")] = None,
    new_level: Annotated[int | None, typer.Option(min=1, help="Level of NEW's labels.", show_default="deepest")] = None,
) -> None:
    """Move codes with one successor by themselves, list the others for review, give labelled rows their new codes."""
    from jobtuner.taxonomy_migrate import KINDS, migrate_rows, plan_moves, read_choices, read_crosswalk, write_plan

    before, after = _load(old, old_level), _load(new, new_level)
    choices = read_choices(review) if review else {}
    moves = plan_moves(before, after, read_crosswalk(crosswalk, old_column, new_column), choices)
    write_plan(output, moves, before, after)
    typer.echo(f"{len(moves):,} labels of version {before.version} → version {after.version}")
    for kind, count in Counter(move.kind for move in moves).most_common():
        typer.echo(f"  {count:>7,} {kind}: {KINDS[kind]}")
    if rows is not None:
        counts = migrate_rows(rows, label_column, moves, before, output)
        done = sum(counts.get(kind, 0) for kind in ("mapped", "chosen", "kept"))
        waiting = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("review", "gone", "unknown") if kind in counts)
        typer.echo(f"{done:,} of {sum(counts.values()):,} rows migrated: {output}/rows.jsonl")
        if waiting:
            typer.echo(f"  the others ({waiting}): {output}/rows_for_review.jsonl")
    if any(move.kind == "review" for move in moves):
        typer.echo(
            f"Next: mark the right code of each in {output}/review.csv (column choose), then add --review with it."
        )
