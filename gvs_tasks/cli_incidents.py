"""``gvs incidents``: look things up in the incident repository."""

import json
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gvs_tasks.errors import GVSError
from gvs_tasks.terms import Modality, Stage

__all__ = ["incidents_app"]

incidents_app = typer.Typer(
    help="Look things up in GVSIR, the incident repository.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Category = Annotated[str | None, typer.Option(help="Category of the scale; secondary ones count.")]
OfModality = Annotated[Modality | None, typer.Option(help="What the system put out.")]
AtStage = Annotated[Stage | None, typer.Option(help="Where in its life it went wrong.")]
Year = Annotated[int | None, typer.Option(help="Year of the incident.")]
Country = Annotated[str | None, typer.Option(help="ISO 3166 code, such as US; ZZ is worldwide.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Field(StrEnum):
    """What incidents are counted by."""

    category = "category"
    year = "year"
    modality = "modality"
    stage = "stage"
    country = "country"
    severity = "severity"
    status = "status"


@incidents_app.command("list")
def list_(
    category: Category = None,
    modality: OfModality = None,
    stage: AtStage = None,
    year: Year = None,
    country: Country = None,
    as_json: AsJson = False,
) -> None:
    """List incidents, a line each, or as JSON with everything that is known of them."""
    from gvs_tasks.incidents import load_incidents, select

    found = select(load_incidents(), category, modality, stage, year, country)
    if as_json:
        _print_json(_records(found))
        return
    for each in found:
        typer.echo(f"{each.id}  {each.date:10}  {each.category:18}  {each.title.en}")
    typer.echo(f"{len(found)} incidents", err=True)


@incidents_app.command()
def show(
    name: Annotated[str, typer.Argument(help="GVSIR-0001, or the number alone.")],
    as_json: AsJson = False,
) -> None:
    """Show one incident in both languages, with its sources and the items that rest on it."""
    from gvs_tasks.incidents import find_incident

    each = find_incident(name)
    (record,) = _records([each])
    if as_json:
        _print_json(record)
        return
    typer.echo(f"{each.id}  {each.title.en}\n{'':12}{each.title.zh}\n")
    typer.echo(f"{each.summary.en}\n\n{each.summary.zh}\n")
    lines = {
        "date": each.date,
        "where": ", ".join(each.countries),
        "category": ", ".join([f"{each.category}/{each.risk or '-'}", *each.secondary]),
        "codes": "; ".join(each.codes),
        "modality": f"{each.modality}, {each.stage} stage",
        "systems": ", ".join(each.systems) or "unknown",
        "developers": ", ".join(each.developers) or "unknown",
        "deployers": ", ".join(each.deployers) or "unknown",
        "harm": each.harm.en,
        "severity": f"{each.severity}: {each.severity_reason.en}",
        "status": each.status.replace("_", " "),
        "items": ", ".join(record["items"]) or "none",
        "AIID": str(each.aiid or "-"),
    }
    for label, value in lines.items():
        typer.echo(f"{label:12}{value}")
    for source in each.sources:
        typer.echo(f"{'source':12}{source.publisher}, {source.url}")


@incidents_app.command()
def count(
    by: Annotated[list[Field] | None, typer.Argument(help="One field, or two for a table.")] = None,
    category: Category = None,
    modality: OfModality = None,
    stage: AtStage = None,
    year: Year = None,
    country: Country = None,
    as_json: AsJson = False,
) -> None:
    """Count incidents by one field, or by two as a table."""
    from gvs_tasks.incidents import load_incidents, select

    fields = by or [Field.category, Field.year]
    if len(fields) > 2:
        raise GVSError("Count by one field or two.")
    found = select(load_incidents(), category, modality, stage, year, country)
    if len(fields) == 1:
        counts = Counter(value for each in found for value in _values(each, fields[0]))
        if as_json:
            _print_json(dict(sorted(counts.items())))
            return
        for value, times in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            typer.echo(f"{value:20}{times:>6}")
        return
    pairs = Counter(
        (row, column)
        for each in found
        for row in _values(each, fields[0])
        for column in _values(each, fields[1])
    )
    rows, columns = sorted({row for row, _ in pairs}), sorted({column for _, column in pairs})
    if as_json:
        _print_json({row: {c: pairs[row, c] for c in columns} for row in rows})
        return
    width = max(6, *(len(column) + 1 for column in columns)) if columns else 6
    typer.echo(f"{'':20}" + "".join(f"{column:>{width}}" for column in [*columns, "all"]))
    for row in rows:
        # Not the sum of the cells: an incident in two countries is one.
        total = sum(row in _values(each, fields[0]) for each in found)
        cells = [*(pairs[row, column] for column in columns), total]
        typer.echo(f"{row:20}" + "".join(f"{n or '.':>{width}}" for n in cells))


@incidents_app.command()
def add(
    category: Annotated[str, typer.Argument(help="Category of the scale.")],
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the incidents; by default the checkout's.")
    ] = None,
) -> None:
    """Append a new incident with the next free id, valid as it stands, to be filled in."""
    from gvs_tasks.incidents import append_template
    from gvs_tasks.taxonomy import CONTENT

    path, name = append_template(category, folder or CONTENT / "incidents")
    typer.echo(f"{name} added to {path}. Fill it in, then run gvs check.")


def _values(incident: Any, field: Field) -> Iterable[str]:
    if field is Field.country:
        return tuple(incident.countries)
    return (str(getattr(incident, field.value)),)


def _records(incidents: Iterable[Any]) -> list[dict[str, Any]]:
    from gvs_tasks.incidents import items_of
    from gvs_tasks.schema import load_items

    linked = items_of(load_items())
    return [each.model_dump(mode="json") | {"items": linked.get(each.id, [])} for each in incidents]


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
