"""`thalweg knowledge`: which embedding model a knowledge base has, which no contract lets anybody choose.

Everything is imported when a command runs, so that `thalweg --help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

app = typer.Typer()
knowledge = typer.Typer(help="Knowledge bases and their embedding models.", no_args_is_help=True)
app.add_typer(knowledge, name="knowledge")

Organisation = Annotated[str, typer.Option("--organisation", "-o", help="The organisation, by its slug.")]
Data = Annotated[Path | None, typer.Option(help="The data folder of the installation.", show_default=".data")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@knowledge.command("list")
def list_bases(organisation: Organisation, as_json: AsJson = False, data: Data = None) -> None:
    """An organisation's knowledge bases by name, with their models and how far an indexing is."""
    from domain import knowledge as bases
    from domain.kernel.pages import OffsetPage
    from handlers.commands import _organisation, _show

    rows: list[dict[str, str]] = []
    with _organisation(organisation, data) as ctx:
        while True:
            page = bases.list_collections(ctx, bases.bases.KIND, OffsetPage(100, len(rows)))
            for held in page.items:
                done = held.indexing
                rows.append(
                    {
                        "id": str(held.collection.id),
                        "name": held.collection.name,
                        "model": held.collection.model,
                        "chosen": "yes" if held.settings.model else "no",
                        "documents": str(held.documents),
                        "state": held.state if done is None else f"{held.state} {done[0]}/{done[1]}",
                    }
                )
            if len(page.items) < 100:
                break
    _show(rows, as_json, "There are no knowledge bases.")


@knowledge.command("model")
def choose_model(
    base_id: Annotated[UUID, typer.Argument(metavar="ID")],
    model: Annotated[
        str | None,
        typer.Argument(help="As `thalweg knowledge list` writes it.", show_default="the first of the setting"),
    ] = None,
    *,
    organisation: Organisation,
    data: Data = None,
) -> None:
    """Give a knowledge base an embedding model and have it indexed anew. Searches go on with its old vectors until the
    new ones of a document are whole. Without a model: the one that new knowledge bases get."""
    from domain import knowledge as bases
    from domain import startup
    from handlers.commands import _organisation
    from thalweg.config import load
    from thalweg.installation import project_root

    startup.bind_models(load(root=project_root(), overrides={"data_dir": data}))
    with _organisation(organisation, data) as ctx:
        held = bases.update_collection(ctx, base_id, bases.bases.KIND, model=model).collection
        queued = bases.reindex(ctx, base_id, bases.bases.KIND)
        said = f"{held.name}: {held.model}; {queued.documents} documents are being indexed anew."
    typer.echo(said)
