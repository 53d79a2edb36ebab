"""What an `interactive` worker does for conversations before its first job."""

from __future__ import annotations


def warm() -> None:
    """Load the model and the examples that modes are chosen by: what an `interactive` worker does first."""
    from domain import inference
    from domain.conversations.modes import auto, similar
    from domain.inference import Deadline

    inference.warm()
    similar.nearest("Is everything warm?", auto.EXAMPLES, Deadline(60))
