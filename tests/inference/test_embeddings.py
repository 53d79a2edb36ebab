"""The embedder: shape, meaning, determinism, threads, hostile text."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from domain.inference import Deadline, TimedOut
from domain.inference.drivers import minilm as driver
from domain.inference.drivers.minilm import MiniLM


def test_vectors_are_384_numbers_of_length_one(minilm):
    vectors = minilm.embed(["The pump stopped.", "", "x" * 10_000, "\x00\ud800 é 中文 🙂"])
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_nothing_gives_an_empty_matrix(minilm):
    assert minilm.embed([]).shape == (0, 384)


def test_like_meanings_lie_near_each_other(minilm):
    vectors = minilm.embed(
        [
            "How do I reset my password?",
            "Steps for recovering account access",
            "The database is down since noon.",
            "Postgres outage started at 12:00",
        ]
    )
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.2
    assert likeness[2, 3] > likeness[2, 1] + 0.2


def test_a_text_has_the_same_vector_alone_in_a_batch_and_again(minilm):
    texts = [f"Container {n} " + "belongs to a customer in the north " * (n % 9) for n in range(60)]
    fresh = MiniLM()
    together = fresh.embed(texts)
    alone = np.vstack([MiniLM.embed(minilm, [text]) for text in texts])
    assert np.array_equal(together, fresh.embed(texts))
    assert np.allclose(together, alone, atol=1e-6)


def test_many_threads_share_one_model():
    fresh = MiniLM()
    texts = [[f"thread {n} text {m}" for m in range(5)] for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(fresh.embed, texts))
    for group, result in zip(texts, results, strict=True):
        assert np.allclose(result, fresh.embed(group), atol=1e-6)


def test_a_deadline_that_passed_stops_it(minilm):
    deadline = Deadline(10)
    deadline.cancel()
    with pytest.raises(TimedOut):
        minilm.embed(["a text that nobody has embedded before"], deadline)


def test_what_it_remembers_is_bounded(monkeypatch):
    monkeypatch.setattr(driver, "CACHED", 10)
    fresh = MiniLM()
    fresh.embed([f"text {n}" for n in range(25)])
    assert len(fresh._cache) == 10


def test_the_shipped_tokenizer_is_the_one_the_notice_names():
    digest = hashlib.sha256(driver.TOKENIZER.read_bytes()).hexdigest()
    assert digest == "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
