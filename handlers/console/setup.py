"""What a server that is not set up says when it starts."""

from __future__ import annotations

import sys

from domain.identity import setup
from domain.kernel.context import AnonymousActor
from domain.kernel.db import Database
from domain.kernel.errors import DomainError


def announce(database: Database) -> None:
    """Print the setup token where one is asked for and nobody has set the server up yet.

    To standard error, for whoever runs the server, and not to the log, which others may read.
    """
    if not setup.token_needed():
        return
    try:
        with database.context(AnonymousActor(), None) as ctx:
            done = setup.is_done(ctx)
    except DomainError:
        return  # without its database the server says so elsewhere
    if not done:
        print(f"This server is not set up yet. The setup token is {setup.token()}", file=sys.stderr, flush=True)
