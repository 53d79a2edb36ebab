"""Providers' embedding models: what a server does wrong, reading in while it is away, several models in one search."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections import deque
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
from sqlalchemy import func, select

from domain import inference, knowledge
from domain.inference import Deadline, InvalidOutput, Refused, TimedOut
from domain.inference.drivers.provider_vectors import ProviderVectors
from domain.inference.registry import build
from domain.inference.settings import InferenceSettings, checked
from domain.kernel.errors import Conflict, LimitExceeded, Unavailable
from domain.knowledge import embedding, ingestion
from domain.knowledge.models import Chunk, CollectionEntry, PassageIndex

SMALL, OTHER = "openai:text-embedding-3-small", "openai:multi@768"
BUILT_IN = "all-MiniLM-L6-v2"
LEAVE = b"# Leave\n\nNotice is given three months ahead of leaving."
HOLIDAYS = b"# Holidays\n\nThere are thirty days of holidays in a year."
LONG = "\n\n".join(
    f"# Part {n}\n\n{f'In part {n} stands what was agreed about it. ' * 13}" for n in range(150)
).encode()
"""A part is a passage."""


def placed(text, size):
    """Words as places: texts that share words lie near each other, as with a real model."""
    vector = np.full(size, 1e-4)
    for word in text.lower().replace(".", " ").replace("?", " ").split():
        vector[zlib.crc32(word.encode()) % size] += 7.5  # not of length 1
    return vector


class EmbeddingServer:
    """Speaks OpenAI's `/embeddings` on loopback. `faults` are taken one a request; `always` where there is none."""

    sizes: ClassVar = {"text-embedding-3-small": 1536, "multi": 768}

    def __init__(self):
        self.asked, self.headers, self.bodies = [], [], []
        self.faults, self.always, self.at_request = deque(), None, lambda: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.asked.append(body["input"])
                outer.headers.append(dict(self.headers))
                outer.at_request()
                fault = outer.faults.popleft() if outer.faults else outer.always
                if fault is None or fault(self, body) is False:
                    self.answer(200, outer.vectors(body))

            def answer(self, status, body, **headers):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *given):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def vectors(self, body, size=None):
        size = size or body.get("dimensions") or self.sizes[body["model"]]
        rows = [
            {"object": "embedding", "index": n, "embedding": placed(text, size).tolist()}
            for n, text in enumerate(body["input"])
        ]
        return {"object": "list", "data": rows[::-1], "model": body["model"]}  # the order is not promised

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def status(code, secret="key sk-secret-000 of org-77", **headers):
    return lambda handler, body: handler.answer(code, {"error": {"message": secret, "code": None}}, **headers)


def dropped(handler, body):
    handler.close_connection = True
    handler.connection.shutdown(2)


def torn(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [{"ind')
    dropped(handler, body)


def garbage(handler, body):
    handler.answer(200, b"<html>502 Bad Gateway</html>")


def slow(seconds):
    return lambda handler, body: bool(time.sleep(seconds))


@pytest.fixture
def server():
    made = EmbeddingServer()
    yield made
    made.stop()


@pytest.fixture
def model(server):
    return ProviderVectors(SMALL, "text-embedding-3-small", 1536, "sk-test", server.url)


@pytest.fixture
def use(server, drivers):
    """`use("minilm", SMALL)`: the setting `embeddings` of this process, with the server's models."""

    def bind(*entries):
        made = build(checked({"embeddings": list(entries), "openai_base_url": server.url, "openai_api_key": "sk-test"}))
        inference.bind(replace(made, embedder=drivers.embedder))

    return bind


# --- the setting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "first", "others"),
    [
        (["minilm"], BUILT_IN, []),
        (["minilm", "openai:text-embedding-3-small"], BUILT_IN, [(SMALL, 1536)]),
        (["openai:text-embedding-3-large", "minilm"], "openai:text-embedding-3-large", None),
        (["openai:text-embedding-3-small@768"], "openai:text-embedding-3-small@768", None),
        (["openai:text-embedding-3-small@1536"], SMALL, [(SMALL, 1536)]),
        (["openai:@cf/baai/bge-m3@1024"], "openai:@cf/baai/bge-m3@1024", [("openai:@cf/baai/bge-m3@1024", 1024)]),
    ],
)
def test_the_first_model_of_the_setting_is_that_of_new_collections(entries, first, others):
    made = build(checked({"embeddings": entries, "openai_api_key": "sk"}))
    inference.bind(made)
    assert embedding.default_model() == first
    assert made.embedder.name == "minilm"  # memory and conversations keep to it
    if others is not None:
        assert [(name, each.dimensions) for name, each in made.embedders.items()] == others


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["openai:bge-m3"], "size of the vectors of bge-m3 has to be said"),
        (["openai:bge-m3@3072"], "not 3072"),
        (["openai:"], "each is"),
        (["word2vec"], "each is"),
        ([SMALL, f"{SMALL}@1536"], "named twice"),
        ([], "embeddings"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_the_start(entries, said):
    with pytest.raises(ValueError, match="embeddings") as wrong:
        checked({"embeddings": entries, "openai_api_key": "sk-unsaid"})
    assert said in str(wrong.value)
    assert "sk-unsaid" not in str(wrong.value)


def test_a_providers_model_needs_a_key_or_an_address_and_a_key_stays_with_its_address(server):
    with pytest.raises(ValueError, match="needs"):
        checked({"embeddings": [SMALL]})
    made = build(InferenceSettings(embeddings=(SMALL,), openai_api_key="sk-mine", embeddings_base_url=server.url))
    made.embedders[SMALL].embed(["words"])
    assert server.headers[0]["Authorization"] == "Bearer none"


# --- the server -----------------------------------------------------------------------------------------------


def test_vectors_come_in_the_order_of_the_texts_with_length_one_in_requests_that_servers_take(server, model):
    texts = [f"text number{n}" for n in range(70)]
    vectors = model.embed(texts)
    assert vectors.shape == (70, 1536)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert [int(np.argmax(vectors @ vectors[n])) for n in (0, 33, 69)] == [0, 33, 69]
    assert [len(each) for each in server.asked] == [32, 32, 6]
    assert server.bodies[0]["dimensions"] == 1536
    ProviderVectors(OTHER, "multi", 768, "k", server.url).embed(["words"])
    assert "dimensions" not in server.bodies[-1]  # servers of other models refuse the word
    assert model.embed([]).shape == (0, 1536)


def test_long_texts_make_smaller_requests_and_a_question_is_asked_once(server, model):
    model.embed(["w" * 25_000] * 5)
    assert [len(each) for each in server.asked] == [2, 2, 1]
    first = model.embed(["the same question"])
    first[:] = 0
    assert np.linalg.norm(model.embed(["the same question"])) == pytest.approx(1, abs=1e-5)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "fault", [status(429, Retry_After=1), status(429), status(500), status(503), dropped, torn, garbage]
)
def test_a_fault_that_passes_is_tried_again(server, model, fault):
    server.faults.extend([fault, fault])
    assert model.embed(["one", "two"], Deadline(20)).shape == (2, 1536)
    assert len(server.asked) == 3


def test_a_limit_that_lasts_longer_than_the_caller_can_wait_is_said_at_once(server, model):
    server.always = status(429, Retry_After=120)
    with pytest.raises(LimitExceeded) as limited:
        model.embed(["one"], Deadline(10))
    assert limited.value.facts == {"retry_after": 120}
    assert len(server.asked) == 1


@pytest.mark.parametrize(("fault", "kind"), [(status(500), Unavailable), (dropped, Unavailable)])
def test_a_fault_that_stays_ends_within_the_deadline(server, model, fault, kind):
    server.always = fault
    began = time.monotonic()
    with pytest.raises(kind) as wrong:
        model.embed(["one"], Deadline(2))
    assert time.monotonic() - began < 15
    assert "secret" not in wrong.value.message


def test_a_slow_answer_ends_with_the_deadline(server, model):
    server.always = slow(60)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        model.embed(["one"], Deadline(0.5))
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(401), "invalid_key"),
        (status(403), "no_access"),
        (status(404), "unknown_model"),
        (status(302, Location="http://127.0.0.1:1/"), "refused"),
        (
            lambda handler, body: handler.answer(429, {"error": {"code": "insufficient_quota", "message": "x"}}),
            "quota_exceeded",
        ),
    ],
)
def test_a_refusal_is_not_tried_again_and_repeats_nothing_of_the_providers(server, model, fault, reason):
    server.always = fault
    with pytest.raises(Refused) as refused:
        model.embed(["one", "two"])
    assert refused.value.facts["reason"] == reason
    assert "secret" not in refused.value.message
    assert len(server.asked) == 1


def wrong(change):
    def fault(handler, body):
        rows = [{"index": n, "embedding": placed(text, 1536).tolist()} for n, text in enumerate(body["input"])]
        handler.answer(200, {"data": change(rows)})

    return fault


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [],
        lambda rows: [{**row, "index": 0} for row in rows],
        lambda rows: [{**row, "index": row["index"] + 1} for row in rows],
        lambda rows: [{**row, "embedding": row["embedding"][:512]} for row in rows],
        lambda rows: [{**row, "embedding": [0.0] * 1536} for row in rows],
        lambda rows: [{**row, "embedding": "AAAA"} for row in rows],
        lambda rows: [{**row, "embedding": [None] * 1536} for row in rows],
        lambda rows: [{**row, "embedding": [1e39] * 1536} for row in rows],
        lambda rows: {"index": 0},
    ],
)
def test_vectors_that_are_none_are_not_believed(server, model, change):
    server.always = wrong(change)
    with pytest.raises(InvalidOutput):
        model.embed(["one", "two"])
    assert len(server.asked) == 1


def test_vectors_of_another_size_are_refused_with_both_sizes(server, model):
    server.always = lambda handler, body: handler.answer(200, server.vectors(body, 1024))
    with pytest.raises(InvalidOutput, match="1024 numbers, not 1536"):
        model.embed(["one"])


def test_what_a_server_finds_too_much_is_asked_for_in_parts(server, model):
    def bounded(handler, body):
        if len(body["input"]) > 4 or any(len(text) > 1500 for text in body["input"]):
            return status(413)(handler, body)
        return False

    server.always = bounded
    texts = [*(f"text{n}" for n in range(9)), "alpha " * 400 + "beta " * 400]
    vectors = model.embed(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[9] @ model.embed(["alpha beta"])[0] > 0.95
    server.always = status(400)
    with pytest.raises(Refused):
        model.embed(["short", "texts"])


# --- reading in -----------------------------------------------------------------------------------------------


def entry_of(world, document_id):
    with world.ctx() as ctx:
        query = select(CollectionEntry).where(CollectionEntry.document_id == document_id)
        return ctx.session.scalars(query).one()


def models_of(world, base):
    """The models of the passages that searches of the base see."""
    with world.ctx() as ctx:
        query = (
            select(PassageIndex.model, func.sum(PassageIndex.chunk_count))
            .join(CollectionEntry, CollectionEntry.index_id == PassageIndex.id)
            .where(CollectionEntry.collection_id == base)
            .group_by(PassageIndex.model)
        )
        return {model: int(count) for model, count in ctx.session.execute(query)}


def only_chunk_model(world, document_id):
    with world.ctx() as ctx:
        query = select(Chunk.model, func.count(), func.count(Chunk.ordinal.distinct())).where(
            Chunk.document_id == document_id
        )
        return [tuple(row) for row in ctx.session.execute(query.group_by(Chunk.model))]


def test_a_new_base_is_embedded_by_the_first_model_and_never_inside_a_transaction(world, server, use):
    use(SMALL, "minilm")
    held = []
    server.at_request = lambda: held.append(world.database.in_use)
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    document = world.upload(ada, LEAVE, "a.md", collection_id=base, kind="knowledge_base")
    world.settle()
    assert models_of(world, base) == {SMALL: 1}
    found = world.search(ada, "How is notice given?", collections=[base], mode="semantic")
    assert [each.document_id for each in found.passages] == [document]
    assert found.passages[0].similarity > 0.3
    with world.ctx(ada) as ctx:
        assert knowledge.bases.search(ctx, base, "Is notice given?", mode="semantic").passages
    assert held == [0, 0, 0]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (status(429, Retry_After=90), "limiting"),
        (status(503, Retry_After=90), "not available"),
        (status(401), "key"),
        (lambda handler, body: handler.answer(200, {"data": [{"embedding": [1.0] * 1024}]}), "1024"),
    ],
)
def test_while_its_model_is_away_an_entry_says_why_and_goes_on_by_itself(world, server, use, fault, why):
    use(SMALL)
    server.always = fault
    ada = world.person()
    document = world.upload(ada, LEAVE, "a.md")
    for job in (world.jobs()[0], *world.jobs()[1:]):
        world.run(job)
    (job,) = world.jobs()
    world.run(job)
    entry = entry_of(world, document)
    assert (entry.state, entry.failure_code) == ("processing", "model_unavailable")
    assert why in entry.failure
    assert "tried again" in entry.failure
    assert "secret" not in entry.failure
    (later,) = world.jobs()
    assert (later.name, later.args["waits"]) == ("knowledge.embed", 1)
    delay = (later.available_at - later.created_at).total_seconds()
    assert delay >= (90 if why in ("limiting", "not available") else 5)
    server.always = None
    world.settle()
    entry = entry_of(world, document)
    assert (entry.state, entry.progress, entry.failure_code, entry.failure) == ("completed", 100, None, None)


def test_a_model_that_stays_away_fails_its_entry_in_the_end(world, server, use):
    use(SMALL)
    server.always = status(401)
    ada = world.person()
    document = world.upload(ada, LEAVE, "a.md")
    world.run(world.jobs()[0])
    world.run(world.jobs()[0])
    (job,) = world.jobs()
    job.args["waits"] = ingestion.WAITS
    world.run(job)
    assert world.jobs() == []
    entry = entry_of(world, document)
    assert (entry.state, entry.failure_code) == ("failed", "model_unavailable")
    assert "key" in entry.failure
    server.always = None
    with world.ctx(ada) as ctx:
        knowledge.reindex(ctx, entry.collection_id)
    world.settle()
    assert entry_of(world, document).state == "completed"


def test_what_was_embedded_before_a_model_went_away_is_not_asked_for_again(world, server, use):
    use(SMALL)
    ada = world.person()
    document = world.upload(ada, LONG, "long.md")
    world.run(world.jobs()[0])
    server.faults.extend([None, None, status(401)])  # a transaction's 64 passages are two requests
    world.run(world.jobs()[0])
    assert only_chunk_model(world, document) == [(SMALL, 64, 64)]
    (later,) = world.jobs()
    assert later.args["waits"] == 1
    world.settle()
    ((_, count, _),) = only_chunk_model(world, document)
    texts = [text for body in server.bodies for text in body["input"]]
    assert len(texts) == count + 32  # those of the request that was refused
    assert entry_of(world, document).state == "completed"


@pytest.mark.parametrize("point", range(14))
def test_a_killed_embedding_goes_on_and_every_passage_is_there_once(world, server, use, killed, point):
    use(SMALL)
    ada = world.person()
    document = world.upload(ada, LONG, "long.md")
    world.run(world.jobs()[0])
    (job,) = world.jobs()
    count = iter(range(10_000))

    def die(where):
        if next(count) == point:
            raise killed

    with pytest.raises(killed):
        world.run(job, world.work(die=die))
    for left in world.jobs() or [job]:
        world.run(left)
    world.settle()
    ((model, rows, ordinals),) = only_chunk_model(world, document)
    assert (model, rows) == (SMALL, ordinals)
    assert rows == 150
    assert entry_of(world, document).state == "completed"


# --- searching ------------------------------------------------------------------------------------------------


@pytest.fixture
def two(world, server, use):
    """A person with a base of each model: (person, base of MiniLM, base of the provider)."""
    use("minilm", SMALL)
    ada = world.person()
    local = world.collection(ada, "knowledge_base")
    away = world.collection(ada, "knowledge_base", model=SMALL)
    world.upload(ada, HOLIDAYS, "holidays.md", collection_id=local, kind="knowledge_base")
    world.upload(ada, LEAVE, "leave.md", collection_id=away, kind="knowledge_base")
    world.settle()
    server.asked.clear()
    return ada, local, away


def test_one_search_reaches_passages_of_two_models_and_asks_each_once(world, server, two):
    ada, _, _ = two
    held = []
    server.at_request = lambda: held.append(world.database.in_use)
    for mode in ("semantic", "hybrid"):
        found = world.search(ada, f"How is notice of leaving given in {mode} holidays?", mode=mode)
        assert {each.filename for each in found.passages} == {"leave.md", "holidays.md"}
        assert found.mode == mode
        assert all(each.similarity is not None for each in found.passages)
        scores = [each.score for each in found.passages]
        assert scores == sorted(scores, reverse=True)
    assert len(server.asked) == 2
    assert held == [0, 0]


def test_a_provider_does_not_read_questions_to_what_it_did_not_embed(world, server, two):
    ada, local, away = two
    assert world.search(ada, "How many days of holidays?", collections=[local]).passages
    with world.ctx(ada) as ctx:
        assert knowledge.bases.search(ctx, local, "How many days of holidays?").passages
    stranger = world.person()
    assert world.search(stranger, "notice").passages == []
    assert server.asked == []
    assert world.search(ada, "notice", collections=[away]).passages
    assert server.asked == [["notice"]]


def test_inside_an_open_transaction_no_provider_is_asked_and_words_find_its_passages(world, server, two):
    ada, _, away = two
    with world.ctx(ada) as ctx:
        knowledge.get(ctx, away)
        found = knowledge.search(ctx, "three months notice")
    assert "leave.md" in {each.filename for each in found.passages}
    assert server.asked == []


def test_while_a_provider_is_away_searches_go_by_words_and_do_not_wait_one_by_one(world, server, two):
    ada, _, away = two
    server.always = status(401)
    found = world.search(ada, "notice of leaving", collections=[away])
    assert (found.mode, len(found.passages)) == ("text", 1)
    both = world.search(ada, "notice of leaving in the holidays")
    assert (both.mode, len(both.passages)) == ("hybrid", 2)
    assert len(server.asked) == 1
    world.search(ada, "notice", collections=[away])
    assert len(server.asked) == 1


def test_an_agent_asks_each_model_before_its_transaction(world, server, two):
    ada, local, away = two
    held = []
    server.at_request = lambda: held.append(world.database.in_use)
    vectors = knowledge.asking.question(lambda: world.ctx(ada), "How is notice given?", [local, away])
    assert set(vectors) == {BUILT_IN, SMALL}
    assert held == [0]
    with world.ctx(ada) as ctx:
        found = knowledge.marketplace.answers(ctx, "How is notice given?", [local, away], vector=vectors)
    assert {each.filename for each in found} == {"leave.md", "holidays.md"}
    assert all(each.similarity is not None for each in found)


def test_a_public_base_of_another_organisation_is_searched_by_its_own_model(make_world, server, use, admin):
    use(SMALL)
    publisher, guest = make_world(), make_world()
    ada, bob = publisher.person(), guest.person()
    base = publisher.collection(ada, "knowledge_base", visibility="public")
    publisher.upload(ada, LEAVE, "leave.md", collection_id=base, kind="knowledge_base")
    hidden = publisher.collection(ada, "knowledge_base")
    publisher.upload(ada, HOLIDAYS, "holidays.md", collection_id=hidden, kind="knowledge_base")
    publisher.settle()
    server.asked.clear()
    with guest.ctx(bob) as ctx:
        found = knowledge.bases.search(ctx, base, "How is notice given?", mode="semantic")
    assert [each.filename for each in found.passages] == ["leave.md"]
    assert len(server.asked) == 1
    with guest.ctx(bob) as ctx, pytest.raises(knowledge.collections.NotFound):
        knowledge.bases.search(ctx, hidden, "holidays", mode="semantic")
    assert len(server.asked) == 1  # not even asked for what the guest cannot see


# --- another model --------------------------------------------------------------------------------------------


def test_a_new_first_model_holds_for_a_base_once_it_is_indexed_anew_and_back(world, server, use):
    use("minilm")
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    for name, content in (("leave.md", LEAVE), ("holidays.md", HOLIDAYS)):
        world.upload(ada, content, name, collection_id=base, kind="knowledge_base")
    world.settle()
    question = "How is notice of leaving given?"
    for entries, model in (((SMALL, "minilm"), SMALL), (("minilm", SMALL), BUILT_IN)):
        use(*entries)
        before = models_of(world, base)
        with world.ctx(ada) as ctx:
            assert knowledge.get(ctx, base).collection.model in before  # nothing moves by itself
            assert knowledge.reindex(ctx, base).documents == 2
            assert knowledge.get(ctx, base).collection.model == model
        seen = set()
        while jobs := world.jobs():
            found = world.search(ada, question, collections=[base], mode="semantic")
            assert {each.filename for each in found.passages} == {"leave.md", "holidays.md"}
            with world.ctx(ada) as ctx:
                indexing = knowledge.get(ctx, base).indexing
                seen.add(None if indexing is None else indexing[:2])
            world.run(jobs[0])
        assert {(0, 2), (1, 2)} <= seen
        assert models_of(world, base) == {model: 2}
        with world.ctx(ada) as ctx:
            assert knowledge.get(ctx, base).indexing is None
            assert set(ctx.session.scalars(select(Chunk.model).distinct())) == {model}


def test_a_model_that_was_chosen_for_a_base_stays_its_own(world, server, use):
    use("minilm", SMALL, OTHER)
    ada = world.person()
    base = world.collection(ada, "knowledge_base", model=OTHER)
    world.upload(ada, LEAVE, "leave.md", collection_id=base, kind="knowledge_base")
    world.settle()
    with world.ctx(ada) as ctx:
        knowledge.bases.update(ctx, base, tuning=knowledge.bases.Tuning(size=500))
        knowledge.reindex(ctx, base)
    world.settle()
    assert models_of(world, base) == {OTHER: 1}
    with world.ctx(ada) as ctx:
        knowledge.update_collection(ctx, base, model=None)
        knowledge.reindex(ctx, base)
    world.settle()
    assert models_of(world, base) == {BUILT_IN: 1}
    with world.ctx(ada) as ctx, pytest.raises(Unavailable, match="not set up"):
        knowledge.update_collection(ctx, base, model="openai:gone@768")


def test_old_vectors_serve_while_the_new_model_is_away_and_one_may_turn_back(world, server, use):
    use("minilm", SMALL)
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    document = world.upload(ada, LEAVE, "leave.md", collection_id=base, kind="knowledge_base")
    world.settle()
    server.always = status(401)
    with world.ctx(ada) as ctx:
        knowledge.update_collection(ctx, base, model=SMALL)
        knowledge.reindex(ctx, base)
    world.run(world.jobs()[0])
    world.run(world.jobs()[0])
    entry = entry_of(world, document)
    assert (entry.state, entry.failure_code) == ("completed", "model_unavailable")
    found = world.search(ada, "How is notice given?", collections=[base], mode="semantic")
    assert (found.mode, len(found.passages)) == ("semantic", 1)
    with world.ctx(ada) as ctx, pytest.raises(Conflict):
        knowledge.reindex(ctx, base)
    with world.ctx(ada) as ctx:
        knowledge.update_collection(ctx, base, model=BUILT_IN)
        knowledge.reindex(ctx, base)
    world.settle()
    entry = entry_of(world, document)
    assert (entry.state, entry.failure_code, entry.pending_index_id) == ("completed", None, None)
    assert models_of(world, base) == {BUILT_IN: 1}
    with world.ctx() as ctx:
        query = select(func.count(PassageIndex.id)).where(PassageIndex.document_id == document)
        assert ctx.session.scalar(query) == 1  # what was begun with the other model is gone


def test_an_embedding_under_way_ends_when_its_base_turns_to_another_model(world, server, use):
    use("minilm", SMALL)
    ada = world.person()
    base = world.collection(ada, "knowledge_base", model=SMALL)
    document = world.upload(ada, LONG, "long.md", collection_id=base, kind="knowledge_base")
    world.run(world.jobs()[0])
    turned = []

    def turn():
        if len(server.asked) == 2 and not turned:
            turned.append(True)
            with world.ctx(ada) as ctx:
                knowledge.update_collection(ctx, base, model=BUILT_IN)
                knowledge.reindex(ctx, base)

    server.at_request = turn
    world.run(world.jobs()[0])
    assert len(server.asked) == 2
    world.settle()
    assert only_chunk_model(world, document) == [(BUILT_IN, 150, 150)]


def test_a_model_that_is_no_longer_set_up_is_said_and_the_next_indexing_takes_the_first(world, server, use):
    use(SMALL)
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    world.upload(ada, LEAVE, "leave.md", collection_id=base, kind="knowledge_base")
    world.settle()
    use("minilm")
    document = world.upload(ada, HOLIDAYS, "holidays.md", collection_id=base, kind="knowledge_base")
    world.settle()
    entry = entry_of(world, document)
    assert (entry.state, entry.failure_code) == ("failed", "model_unavailable")
    assert "indexed anew" in entry.failure
    found = world.search(ada, "notice of leaving", collections=[base])
    assert (found.mode, [each.filename for each in found.passages]) == ("text", ["leave.md"])
    with world.ctx(ada) as ctx:
        knowledge.reindex(ctx, base)
    world.settle()
    assert models_of(world, base) == {BUILT_IN: 2}
    assert entry_of(world, document).state == "completed"
