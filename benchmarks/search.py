"""Search in many passages: how long it takes, and how much of the exact answer it finds.

    python benchmarks/search.py [--passages 100000] [--questions 300]

Real paragraphs (this project's documents and those of the installed packages) are embedded by the platform's own model;
further passages are variations of them: a vector a little off, words of a neighbour mixed in. They lie in one
organisation beside another one's as many; who searches may see nine of ten collections. Timed is `knowledge.search`
within a transaction of its own, with the vector of the question made before (what that costs stands in a line of its
own), one after the other. Recall compares the ten best by meaning with PostgreSQL's exact order under the same
permissions. Prints a table and writes reports/search.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402
import psycopg  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from sqlalchemy import select, text  # noqa: E402

from domain import identity, inference, knowledge, migrations, startup  # noqa: E402
from domain.identity import roles  # noqa: E402
from domain.kernel import crypto  # noqa: E402
from domain.kernel.context import SystemActor, UserActor  # noqa: E402
from domain.kernel.db import Database  # noqa: E402
from domain.kernel.ids import new_id  # noqa: E402
from domain.knowledge import access, asking, embedding  # noqa: E402
from domain.knowledge.filters import Scope, entries  # noqa: E402
from domain.knowledge.models import (  # noqa: E402
    Chunk,
    CollectionEntry,
)
from thalweg.embedded.postgres import Postgres  # noqa: E402

TARGETS = {"p95_ms": 25.0, "recall_at_10": 0.95}
REAL = 3_000
A_DOCUMENT = 500
"""Passages of one document."""
COLLECTIONS = 10
CHUNKS = (
    "COPY chunk (id, organisation_id, index_id, document_id, version_id, ordinal, text, tokens, position, model, "
    "configuration, embedding_384) FROM STDIN"
)


def paragraphs(most: int) -> list[str]:
    """Paragraphs of real documents, each once, of 200 to 1,200 characters."""
    packages = Path(np.__file__).parent.parent
    files = [*ROOT.glob("docs/**/*.md"), *packages.glob("*.dist-info/METADATA"), *packages.glob("**/*.rst")]
    found: dict[str, None] = {}
    for file in sorted(files):
        for part in file.read_text(encoding="utf-8", errors="ignore").split("\n\n"):
            words = " ".join(part.split())
            if 200 <= len(words) <= 1_200:
                found[words] = None
    kept = list(found)
    random.shuffle(kept)
    return kept[:most]


def fill(
    address: str, organisation_id: UUID, collections: list[UUID], texts: list[str], vectors: Any, number: int
) -> None:
    """`number` passages in documents of the collections, in turn."""
    now = "2026-01-01T00:00:00+00:00"
    model = embedding.default_model()
    noise = np.random.default_rng(5)
    with psycopg.connect(address) as connection:
        for first in range(0, number, A_DOCUMENT):
            collection_id = collections[(first // A_DOCUMENT) % len(collections)]
            document_id, version_id, index_id = new_id(), new_id(), new_id()
            title = f"Document {first // A_DOCUMENT}"
            connection.execute(
                "INSERT INTO document (id, organisation_id, source, home_id, title, filename, kind, media_type, size, "
                "sha256, version_id, created_at, updated_at) VALUES (%s,%s,'upload',%s,%s,'a.md','md','text/markdown',"
                "1,%s,%s,%s,%s)",
                (document_id, organisation_id, collection_id, title, document_id.hex * 2, version_id, now, now),
            )
            connection.execute(
                "INSERT INTO document_version (id, organisation_id, document_id, number, blob_id, kind, media_type, "
                "size, sha256, state, created_at, updated_at) "
                "VALUES (%s,%s,%s,1,%s,'md','text/markdown',1,%s,'extracted',%s,%s)",
                (version_id, organisation_id, document_id, new_id(), document_id.hex * 2, now, now),
            )
            connection.execute(
                "INSERT INTO passage_index (id, organisation_id, document_id, version_id, profile, chunking, model, "
                "dimensions, configuration, state, chunk_count, created_at, updated_at) "
                "VALUES (%s,%s,%s,%s,'bench','{}',%s,384,'english','ready',%s,%s,%s)",
                (index_id, organisation_id, document_id, version_id, model, A_DOCUMENT, now, now),
            )
            connection.execute(
                "INSERT INTO collection_entry (id, organisation_id, collection_id, document_id, version_id, index_id, "
                "state, progress, created_at, updated_at) VALUES (%s,%s,%s,%s,%s,%s,'completed',100,%s,%s)",
                (new_id(), organisation_id, collection_id, document_id, version_id, index_id, now, now),
            )
            with connection.cursor().copy(CHUNKS) as copy:
                for ordinal in range(min(A_DOCUMENT, number - first)):
                    base = (first + ordinal) % len(texts)
                    words, vector = texts[base], vectors[base]
                    if first + ordinal >= len(texts):  # a variation
                        other = texts[random.randrange(len(texts))]
                        words = f"{words[: len(words) * 2 // 3]} {other[: len(other) // 3]}"
                        vector = vector + noise.normal(0, 0.03, 384)
                        vector = vector / np.linalg.norm(vector)
                    told = "[" + ",".join(f"{value:.5f}" for value in vector) + "]"
                    copy.write_row(
                        (new_id(), organisation_id, index_id, document_id, version_id, ordinal, words, 100, "{}", model,
                         "english", told)
                    )  # fmt: skip


def percentile(values: list[float], at: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * at / 100), len(ordered) - 1)] * 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=300)
    given = parser.parse_args()
    random.seed(11)
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        postgres = Postgres(Path(folder) / "postgres")
        try:
            report = _measure(postgres.start(), given.passages, given.questions)
        finally:
            postgres.stop()
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "search.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(address: str, passages: int, questions: int) -> dict[str, Any]:
    migrations.upgrade(address)
    startup.load_tables()
    crypto.use(crypto.KeyRing({"1": crypto.KeyRing.new_key()}))
    embedder = inference.drivers().embedder
    real = paragraphs(min(REAL, passages) + questions)
    kept, asked = real[:-questions], [part.partition(". ")[0][:200] for part in real[-questions:]]
    began = time.monotonic()
    vectors = np.vstack(embedder.embed(kept))
    rate = len(kept) / (time.monotonic() - began)
    database = Database(address)
    organisations = [_organisation(database, number) for number in range(2)]
    plain = address.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("DROP INDEX ix_chunk_embedding_384")
        for organisation_id, _, collections in organisations:
            fill(plain, organisation_id, collections, kept, vectors, passages)
        began = time.monotonic()
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("CREATE INDEX ix_chunk_embedding_384 ON chunk USING hnsw (embedding_384 halfvec_cosine_ops)")
        built = time.monotonic() - began
        connection.execute("VACUUM ANALYZE")
    organisation_id, account_id, _ = organisations[0]
    timed: dict[str, list[float]] = {"question": [], "semantic": [], "text": [], "hybrid": [], "exact": []}
    hits = 0
    for number, question in enumerate(asked):
        with database.context(UserActor(account_id), organisation_id) as ctx:
            began = time.monotonic()
            vector = asking.vector_of(question)
            timed["question"].append(time.monotonic() - began)
        found: dict[str, Any] = {}
        for mode in ("semantic", "text", "hybrid"):
            with database.context(UserActor(account_id), organisation_id) as ctx:
                began = time.monotonic()
                found[mode] = knowledge.search(ctx, question, mode=mode, limit=10, vector=vector)  # type: ignore[arg-type]
                timed[mode].append(time.monotonic() - began)
        with database.context(UserActor(account_id), organisation_id) as ctx:
            began = time.monotonic()
            best = _exactly(ctx, vector)
            timed["exact"].append(time.monotonic() - began)
        hits += len(best & {passage.chunk_id for passage in found["semantic"].passages})
        if number == 0:  # the first one reads everything from disk
            for taken in timed.values():
                taken.clear()
    database.dispose()
    return {
        "passages": passages,
        "of_another_organisation": passages,
        "questions": questions,
        "load": [round(value, 1) for value in os.getloadavg()],
        "embedded_per_second": round(rate),
        "graph_built_s": round(built),
        "ms": {name: {f"p{at}": percentile(taken, at) for at in (50, 95, 99)} for name, taken in timed.items()},
        "recall_at_10": round(hits / (10 * questions), 3),
        "targets": TARGETS,
    }


def _organisation(database: Database, number: int) -> tuple[UUID, UUID, list[UUID]]:
    """An organisation, one of its people, and its collections, of which that person may see all but the last."""
    with database.context(SystemActor(), None, platform=True) as ctx:
        people = []
        for index in range(2):
            account = identity.accounts.make(
                ctx,
                email=f"p{number}{index}@lovelace.example",
                name="Ada",
                source="signup",
                password=None,
                verified=True,
            )
            people.append(account)
        organisation_id = identity.accounts.give_own_organisation(ctx, people[0])
        identity.accounts.join(ctx, people[1], organisation_id, "member", source="invite")
        ids = [account.id for account in people]
    collections = []
    with database.context(UserActor(ids[0]), organisation_id, roles.permissions_of("thallus", "owner")) as ctx:
        for index in range(COLLECTIONS):
            last = index == COLLECTIONS - 1
            made = knowledge.create(
                ctx,
                "collection",
                f"Collection {index}",
                personal=last,
                visibility="private" if last else "organisation",
            )
            collections.append(made.collection.id)
    return organisation_id, ids[1], collections


def _exactly(ctx: Any, vector: Any) -> set[UUID]:
    """The ten nearest that the caller may see, by looking at all of them."""
    ctx.session.execute(text("SELECT set_config('enable_indexscan', 'off', true)"))
    seen = entries(Scope(), access.viewer(ctx), CollectionEntry.index_id)
    rows = ctx.session.scalars(
        select(Chunk.id).where(Chunk.index_id.in_(seen)).order_by(Chunk.embedding_384.cosine_distance(vector)).limit(10)
    )
    return set(rows)


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"Search in {report['passages']:,} passages, beside as many of another organisation")
    for column in ("", "p50 ms", "p95 ms", "p99 ms", "aim"):
        table.add_column(column, justify="left" if not column else "right")
    names = {
        "semantic": "by meaning",
        "text": "by words",
        "hybrid": "both, fused",
        "question": "the vector of the question",
        "exact": "exact order by meaning (for comparison)",
    }
    for key, name in names.items():
        figures = report["ms"][key]
        aim = "p95 25" if key in ("semantic", "text", "hybrid") else ""
        table.add_row(name, *(f"{figures[f'p{at}']:.1f}" for at in (50, 95, 99)), aim)
    console = Console()
    console.print(table)
    console.print(f"Recall of the ten best by meaning: {report['recall_at_10']:.3f} (aim {TARGETS['recall_at_10']}).")
    console.print(
        f"{report['embedded_per_second']} passages embedded a second; graph built in {report['graph_built_s']} s; "
        f"load {report['load'][0]}."
    )


if __name__ == "__main__":
    main()
