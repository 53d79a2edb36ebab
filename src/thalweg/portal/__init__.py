"""The pages of a platform: its surfaces, their reference, downloads, changes, coverage, health, metrics.

Server-rendered, for any set of contracts; nothing is asked of any other host. `pages(process)` is the Flask blueprint.
"""

from __future__ import annotations

from thalweg.portal.blueprint import pages

__all__ = ["pages"]
