"""Counting tokens, by the tokenizer of the built-in embedder: what sizes of passages are measured in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from domain.inference.drivers.minilm import TOKENIZER

_lock = threading.Lock()
_tokenizer: Any = None


def count_tokens(texts: Sequence[str]) -> list[int]:
    """How many tokens each text has. About 2 MB of text a second; thread-safe."""
    global _tokenizer
    if _tokenizer is None:
        with _lock:
            if _tokenizer is None:
                from tokenizers import Tokenizer

                loaded = Tokenizer.from_file(str(TOKENIZER))
                loaded.no_padding()
                loaded.no_truncation()
                _tokenizer = loaded
    cleaned = [text.encode("utf-8", "replace").decode() for text in texts]
    return [len(each.ids) for each in _tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)]
