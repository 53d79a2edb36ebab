"""Sentences are stretches of the source, never rewritten."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.inference import clean, sentences
from domain.inference.sentences import MAX_LENGTH


@given(st.text(max_size=500))
def test_a_sentence_is_a_stretch_of_the_source_in_order(source):
    last = 0
    for sentence in sentences(source):
        assert source[sentence.start : sentence.end] == sentence.text
        assert last <= sentence.start < sentence.end
        assert len(sentence.text) <= MAX_LENGTH
        last = sentence.end


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met Mr. Jones at 3.5 km. They left.", ["Dr. Smith met Mr. Jones at 3.5 km.", "They left."]),
        ("See e.g. Figure 2. It works.", ["See e.g. Figure 2.", "It works."]),
        ("- first point\n- second point", ["first point", "second point"]),
        ("1. Do this\n2. Do that", ["Do this", "Do that"]),
        ("A heading\n\nA paragraph", ["A heading", "A paragraph"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("...\n!!!\n", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(source, found):
    assert [s.text for s in sentences(source)] == found


@pytest.mark.parametrize(
    ("source", "asks"),
    [
        ("Who has the key?", True),
        ("Tell me who has the key.", True),
        ("Please check the gate.", True),
        ("The gate is open.", False),
        ("Remember that the gate is open.", False),
        ("May is a warm month.", False),
        ("May we open the gate", True),
    ],
)
def test_questions_and_orders_ask(source, asks):
    assert sentences(source)[0].asks is asks


@pytest.mark.parametrize("piece", ["a", ".", "A. ", "? ", "\n", "- ", '"', "e.g. ", "word "])
def test_splitting_takes_linear_time(piece):
    source = piece * (400_000 // len(piece))
    started = time.monotonic()
    sentences(source, 100_000)
    assert time.monotonic() - started < 3


@given(st.text(alphabet=st.characters(), max_size=300))
def test_cleaned_text_can_be_stored_and_is_cleaned_only_once(source):
    cleaned, removed = clean(source)
    cleaned.encode()
    assert "\x00" not in cleaned
    assert "\r" not in cleaned
    assert removed >= 0
    assert clean(cleaned) == (cleaned, 0)
