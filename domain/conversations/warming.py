"""What an `interactive` worker does for conversations before its first job."""

from __future__ import annotations


def warm() -> None:
    """Load the model and the examples that modes are chosen by, and what files that come with messages are read with:
    what an `interactive` worker does first, before it has threads."""
    from domain import inference
    from domain.conversations.attachments import KINDS
    from domain.conversations.modes import auto, similar
    from domain.inference import Deadline
    from domain.knowledge.extraction import readers

    inference.warm()
    similar.nearest("Is everything warm?", auto.EXAMPLES, Deadline(60))
    readers.warm(KINDS)
