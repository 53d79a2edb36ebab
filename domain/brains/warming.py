"""What an `interactive` worker does for brains before its first job."""

from __future__ import annotations


def warm() -> None:
    """Load the models and the triage's examples: what an `interactive` worker does before its first job."""
    from domain import inference
    from domain.brains import documents, triage
    from domain.inference import Deadline

    inference.warm()
    documents.warm()
    triage.read("Is everything warm?", None, inference.drivers().embedder, Deadline(60))
