"""Search in many passages: how long it takes, and how much of the exact answer it finds.

    python benchmarks/search.py [--passages 100000] [--questions 150] [--data FOLDER]

One table holds the passages of three organisations: a large one (`--passages`, in eleven collections, one of them
another person's own), one of a tenth and one of a hundredth of it. Timed is `knowledge.search` in a transaction of its
own, from opening it to its end, by a member who may not see that one collection; the vector of the question is made
before (what that costs stands in a line of its own). Recall compares the ten best by meaning with PostgreSQL's exact
order under the same permissions: for all that the member sees, for one collection of it, and in the others.

The vectors are made of real ones: 12,000 short passages of this project's documents and of the documentation in the
installed packages, embedded by the platform's own model (they stay in reports/search-vectors.npz for the next run).
Each passage mixes one of them with one that is near to it, vector and words alike, and adds a little noise; those of a
document are about one thing. So vectors lie as real ones do, close together and in few of the 384 directions; the last
line says how well that went. Vectors by chance would have no neighbourhoods, and every index would look bad on them.
Questions are real passages that are not among the others, whole ones and their beginnings.

`--data` keeps the filled database in a folder, for further runs. Prints a table and writes reports/search.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402
import orjson  # noqa: E402
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
from domain.knowledge.models import Chunk, CollectionEntry  # noqa: E402
from thalweg.embedded.postgres import Postgres  # noqa: E402

TARGETS = {"p95_ms": 25.0, "recall_at_10": 0.95}
REAL = 12_000
NEAR = 12
"""Real passages that one is mixed with."""
NOISE = 0.025
"""In each dimension. With it, what is made has about the intrinsic dimension of as many real ones."""
SAMPLE = 2_000
"""Vectors whose intrinsic dimension is compared."""
COLLECTIONS = 10
WARM = 20
"""Questions before the timed ones: the first read from disk."""
BUFFERS = "768MB"
"""So that table and graph lie in memory, as a server of that size would have it; the embedded one has 128 MB."""
CHECKED = 60
"""Questions whose exact answer is looked for in the large organisation: that takes a while."""
CACHE = ROOT / "reports" / "search-vectors.npz"
NOW = "2026-01-01T00:00:00+00:00"
_DOCSTRING = re.compile(r'"""(.+?)"""', re.DOTALL)
_BLANK_LINE = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
COPIES = {
    "document": "id, organisation_id, source, home_id, title, filename, kind, media_type, size, sha256, version_id, "
    "created_at, updated_at",
    "document_version": "id, organisation_id, document_id, number, blob_id, kind, media_type, size, sha256, state, "
    "created_at, updated_at",
    "passage_index": "id, organisation_id, document_id, version_id, profile, chunking, model, dimensions, "
    "configuration, state, chunk_count, created_at, updated_at",
    "collection_entry": "id, organisation_id, collection_id, document_id, version_id, index_id, state, progress, "
    "created_at, updated_at",
    "chunk": "id, organisation_id, index_id, document_id, version_id, ordinal, text, tokens, position, model, "
    "configuration, embedding_384",
}
console = Console()


@dataclass(frozen=True, slots=True)
class Place:
    """Where is searched, and by whom. `collections`: ids, empty for everything in sight."""

    name: str
    organisation_id: str
    account_id: str
    collections: list[str]
    modes: list[str]


# --- real passages, and what is made of them --------------------------------------------------------------------


def passages_at_hand() -> list[str]:
    """One to three sentences of real documents and docstrings each, of 90 to 260 characters; the same in each run."""
    packages = Path(np.__file__).parent.parent
    files = [*ROOT.glob("docs/**/*.md"), *packages.glob("*.dist-info/METADATA")]
    files += [*packages.glob("**/*.rst"), *packages.glob("**/*.py")]
    found: set[str] = set()
    for file in files:
        content = file.read_text(encoding="utf-8", errors="ignore")
        for told in _DOCSTRING.findall(content) if file.suffix == ".py" else [content]:
            for paragraph in _BLANK_LINE.split(told):
                passage = ""
                for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
                    passage = f"{passage} {sentence}".strip()
                    if len(passage) < 90:
                        continue
                    if len(passage) <= 260 and sum(each.isalpha() or each == " " for each in passage) > 0.9 * len(
                        passage
                    ):
                        found.add(passage)
                    passage = ""
    return sorted(found, key=_digest)


def asked_of(passages: Sequence[str]) -> list[str]:
    """Questions: of two of three passages the first ten words, of the third all."""
    return [each if number % 3 == 0 else " ".join(each.split()[:10]) for number, each in enumerate(passages)]


def embedded(texts: Sequence[str]) -> tuple[Any, float]:
    """Their vectors, and how many a second were made (0: all were there already)."""
    known: dict[str, Any] = {}
    if CACHE.exists():
        with np.load(CACHE) as kept:
            known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))
    missing = [each for each in texts if _digest(each) not in known]
    began = time.monotonic()
    for first in range(0, len(missing), 1_000):
        some = missing[first : first + 1_000]
        known.update(zip(map(_digest, some), inference.drivers().embedder.embed(some), strict=True))
        _progress(f"{first + len(some):,} of {len(missing):,} real passages embedded")
    taken = time.monotonic() - began
    kept_ones = {_digest(each): known[_digest(each)] for each in texts}
    CACHE.parent.mkdir(exist_ok=True)
    np.savez(CACHE, keys=np.array(list(kept_ones)), vectors=np.stack(list(kept_ones.values())).astype(np.float32))
    return np.stack(list(kept_ones.values())), round(len(missing) / taken) if missing else 0


def _digest(passage: str) -> str:
    return hashlib.sha256(passage.encode()).hexdigest()


class Making:
    """Passages made of real ones, as many as are wanted."""

    def __init__(self, texts: Sequence[str], vectors: Any) -> None:
        self._texts, self._vectors = [each.split() for each in texts], vectors
        self._near = np.concatenate(
            [_nearest(vectors[at : at + 1_000], vectors) for at in range(0, len(vectors), 1_000)]
        )
        self._dice = np.random.default_rng(5)

    def document(self, count: int) -> Iterator[tuple[str, Any]]:
        """Texts and vectors of `count` passages about one thing."""
        about = self._near[self._dice.integers(len(self._texts))]
        bases = about[self._dice.integers(len(about), size=count)]
        others = self._near[bases, self._dice.integers(1, NEAR, size=count)]
        shares = self._dice.uniform(0.5, 1.0, size=count)
        made = shares[:, None] * self._vectors[bases] + (1 - shares)[:, None] * self._vectors[others]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        made += self._dice.normal(0, NOISE, made.shape)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        for base, other, share, vector in zip(bases, others, shares, made.astype(np.float32), strict=True):
            one, two = self._texts[base], self._texts[other]
            words = [*one[: max(1, int(len(one) * share * 1.3))], *two[int(len(two) * share) :]]
            for each in self._near[base, self._dice.integers(1, NEAR, size=3)]:  # as long as passages are
                words += self._texts[each]
            yield " ".join(words), vector


def _nearest(some: Any, all_: Any) -> Any:
    """Of each of some vectors, itself and the 39 nearest of all."""
    alike = some @ all_.T
    found = np.argpartition(-alike, 40, axis=1)[:, :40]
    order = np.argsort(-np.take_along_axis(alike, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def intrinsic_dimension(vectors: Any, among: int = 20) -> float:
    """Levina and Bickel's estimate (NIPS 2004), the mean over all vectors: in how many directions neighbours lie."""
    away = np.sqrt(np.maximum(2 - 2 * (vectors @ vectors.T), 1e-12))
    np.fill_diagonal(away, np.inf)
    nearest = np.sort(away, axis=1)[:, :among]
    inverse = np.log(nearest[:, -1:] / np.maximum(nearest[:, :-1], 1e-6)).mean(axis=1)
    return float(1 / inverse.mean())


# --- filling ------------------------------------------------------------------------------------------------------


def fill(address: str, organisation_id: UUID, collections: Sequence[UUID], making: Making, number: int) -> None:
    """`number` passages in documents of the collections, in turn: about 35 each, some with hundreds."""
    model = embedding.default_model()
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COPIES}
    sizes = random.Random(7)
    begun = left = number
    with psycopg.connect(address) as connection:
        at = 0
        while left > 0:
            count = min(left, max(1, min(400, int(sizes.lognormvariate(3.2, 0.9)))))
            document, version, index, collection = new_id(), new_id(), new_id(), collections[at % len(collections)]
            digest = document.hex * 2
            rows["document"].append(
                (document, organisation_id, "upload", collection, f"Document {at}", "a.md", "md", "text/markdown", 1,
                 digest, version, NOW, NOW)
            )  # fmt: skip
            rows["document_version"].append(
                (
                    version,
                    organisation_id,
                    document,
                    1,
                    new_id(),
                    "md",
                    "text/markdown",
                    1,
                    digest,
                    "extracted",
                    NOW,
                    NOW,
                )
            )
            rows["passage_index"].append(
                (
                    index,
                    organisation_id,
                    document,
                    version,
                    "bench",
                    "{}",
                    model,
                    384,
                    "english",
                    "ready",
                    count,
                    NOW,
                    NOW,
                )
            )
            rows["collection_entry"].append(
                (new_id(), organisation_id, collection, document, version, index, "completed", 100, NOW, NOW)
            )
            rows["chunk"] += [
                (new_id(), organisation_id, index, document, version, ordinal, words, 100, "{}", model, "english",
                 orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode())
                for ordinal, (words, vector) in enumerate(making.document(count))
            ]  # fmt: skip
            left, at = left - count, at + 1
            if len(rows["chunk"]) >= 10_000 or left <= 0:
                for table, columns in COPIES.items():
                    with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                        for row in rows[table]:
                            copy.write_row(row)
                    rows[table].clear()
                _progress(f"{begun - left:,} of {begun:,} passages loaded")


def populate(address: str, database: Database, making: Making, passages: int) -> tuple[list[Place], int]:
    """Fill the database, then build the indexes of `chunk`, as the migrations have them; the seconds of the graph."""
    places = []
    with psycopg.connect(address, autocommit=True) as connection:
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'chunk' AND indexname NOT LIKE 'pk_%'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        for number, share in enumerate((1, 10, 100)):
            organisation_id, account_id, collections = _organisation(database, number)
            fill(address, organisation_id, collections, making, passages // share)
            whose = ("the large organisation", "one of a tenth", "one of a hundredth")[number]
            modes = ["semantic", "text", "hybrid"]
            told = str(organisation_id), str(account_id)
            places.append(Place(whose, *told, [], modes))
            if number == 0:
                places.append(Place("one collection of it", *told, [str(collections[0])], modes))
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute(f"SET max_parallel_maintenance_workers = {max(1, (os.cpu_count() or 2) - 1)}")
        graph = 0.0
        for name, definition in indexes:
            began = time.monotonic()
            connection.execute(definition)
            taken = time.monotonic() - began
            graph = taken if name == "ix_chunk_embedding_384" else graph
            _progress(f"{name} built in {taken:.0f} s")
        connection.execute("VACUUM ANALYZE")
    return places, round(graph)


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
        for index in range(COLLECTIONS + 1):
            own = index == COLLECTIONS
            made = knowledge.create(
                ctx,
                "collection",
                f"Collection {index}",
                personal=own,
                visibility="private" if own else "organisation",
            )
            collections.append(made.collection.id)
    return organisation_id, ids[1], collections


# --- measuring ----------------------------------------------------------------------------------------------------


def measure(database: Database, places: Sequence[Place], questions: Sequence[str]) -> dict[str, Any]:
    """Each way of each place: every question once, one after the other."""
    vectors, taken = [], []
    for question in questions:
        began = time.monotonic()
        vectors.append(asking.vector_of(question))
        taken.append(time.monotonic() - began)
    figures: dict[str, Any] = {"question": _percentiles(taken[WARM:])}
    for at, question in enumerate(questions):  # nothing of what is timed is the first to read the graph from disk
        with database.context(UserActor(UUID(places[0].account_id)), UUID(places[0].organisation_id)) as ctx:
            knowledge.search(ctx, question, vector=vectors[at])
            if at < 3:
                _exactly(ctx, Scope(), vectors[at])
    for place in places:
        scope = Scope(collections=[UUID(each) for each in place.collections] or None)
        of_place: dict[str, Any] = {}
        found: dict[str, list[set[UUID]]] = {}
        for mode in place.modes:

            def search(ctx: Any, at: int, mode: Any = mode, scope: Scope = scope) -> set[UUID]:
                passages = knowledge.search(
                    ctx, questions[at], mode=mode, collections=scope.collections, limit=10, vector=vectors[at]
                ).passages
                return {each.chunk_id for each in passages}

            of_place[mode], found[mode] = _timed(database, place, search, len(questions))
            _progress(f"{place.name}, {mode}: p95 {of_place[mode]['p95']} ms")

        def exactly(ctx: Any, at: int, scope: Scope = scope) -> set[UUID]:
            return _exactly(ctx, scope, vectors[at])

        of_place["exact"], best = _timed(database, place, exactly, min(len(questions), WARM + CHECKED))
        compared = list(zip(best, found["semantic"], strict=False))
        each = [len(right & given) / max(1, len(right)) for right, given in compared]
        of_place["recall_at_10"] = round(sum(each) / len(each), 3)
        of_place["worst_recall"] = round(min(each), 2)
        figures[place.name] = of_place
        _progress(f"{place.name}: recall {of_place['recall_at_10']}")
    return figures


def _timed(
    database: Database, place: Place, ask: Callable[[Any, int], set[UUID]], count: int
) -> tuple[dict[str, float], list[set[UUID]]]:
    taken, found = [], []
    for at in range(count):
        began = time.monotonic()
        with database.context(UserActor(UUID(place.account_id)), UUID(place.organisation_id)) as ctx:
            found.append(ask(ctx, at))
        taken.append(time.monotonic() - began)
    return _percentiles(taken[WARM:]), found


def _exactly(ctx: Any, scope: Scope, vector: Any) -> set[UUID]:
    """The ten nearest that the caller may see, by looking at all of them."""
    ctx.session.execute(text("SELECT set_config('enable_indexscan', 'off', true)"))
    seen = entries(scope, access.viewer(ctx), ctx.now(), CollectionEntry.index_id)
    rows = ctx.session.scalars(
        select(Chunk.id).where(Chunk.index_id.in_(seen)).order_by(Chunk.embedding_384.cosine_distance(vector)).limit(10)
    )
    return set(rows)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{at}": round(float(np.percentile(values, at)) * 1000, 2) for at in (50, 95, 99)}


# --- the whole ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--data", type=Path, help="keep the database in this folder, and use it again")
    given = parser.parse_args()
    random.seed(11)
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as temporary:
        folder = (given.data or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o755)  # the database's system user passes through
        postgres = Postgres(folder / "postgres", settings={"shared_buffers": BUFFERS})
        try:
            report = _run(postgres.start(), folder, given.passages, given.questions)
        finally:
            postgres.stop()
    _print(report)
    (ROOT / "reports" / "search.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _run(address: str, folder: Path, passages: int, questions: int) -> dict[str, Any]:
    began = time.monotonic()
    startup.load_tables()
    crypto.use(crypto.KeyRing({"1": crypto.KeyRing.new_key()}))
    inference.drivers().embedder.warm()
    real = passages_at_hand()
    asked = asked_of(real[: questions + WARM])
    database, kept = Database(address), folder / "filled.json"
    filled: dict[str, Any]
    if kept.exists():
        filled = json.loads(kept.read_bytes())
    else:
        texts = real[questions + WARM :][:REAL]
        vectors, rate = embedded(texts)
        making = Making(texts, vectors)
        sample = np.stack([vector for _ in range(SAMPLE) for _, vector in making.document(1)])
        migrations.upgrade(address)
        places, graph = populate(address, database, making, passages)
        filled = {
            "passages": passages,
            "real": len(texts),
            "embedded_per_second": rate,
            "graph_built_s": graph,
            "intrinsic_dimension": {
                "real": round(intrinsic_dimension(vectors[:SAMPLE]), 1),
                "made": round(intrinsic_dimension(sample), 1),
            },
            "places": [asdict(place) for place in places],
            "filled_s": round(time.monotonic() - began),
        }
        kept.write_text(json.dumps(filled), encoding="utf-8")
    load = os.getloadavg()[0]
    figures = measure(database, [Place(**each) for each in filled.pop("places")], asked)
    database.dispose()
    return filled | {
        "questions": questions,
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "took_s": round(time.monotonic() - began),
        "figures": figures,
        "targets": TARGETS,
    }


_BEGAN = time.monotonic()


def _progress(told: str) -> None:
    console.print(f"[dim]{time.monotonic() - _BEGAN:5.0f} s[/dim]  {told}", highlight=False)


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"Search in {report['passages']:,} passages of one organisation, beside two smaller ones")
    for column in ("", "", "p50 ms", "p95 ms", "p99 ms", "recall at 10"):
        table.add_column(column, justify="left" if not column else "right")
    names = {"semantic": "by meaning", "text": "by words", "hybrid": "both, fused", "exact": "(exact order by meaning)"}
    figures = dict(report["figures"])
    question = figures.pop("question")
    for place, of_place in figures.items():
        for mode, name in names.items():
            recall = f"{of_place['recall_at_10']:.3f}" if mode == "semantic" else ""
            table.add_row(place, name, *(f"{of_place[mode][f'p{at}']:.1f}" for at in (50, 95, 99)), recall)
            place = ""
        table.add_section()
    table.add_row("the question's vector", "", *(f"{question[f'p{at}']:.1f}" for at in (50, 95, 99)), "")
    console.print(table)
    dimension = report["intrinsic_dimension"]
    console.print(
        f"Aim: p95 {TARGETS['p95_ms']:.0f} ms, recall {TARGETS['recall_at_10']}. Load {report['load'][0]} before, "
        f"{report['load'][1]} after. Graph built in {report['graph_built_s']} s, all in {report['took_s']} s.\n"
        f"Made of {report['real']:,} real passages; intrinsic dimension of {SAMPLE:,} of the made ones "
        f"{dimension['made']}, of as many real ones {dimension['real']}."
    )


if __name__ == "__main__":
    main()
