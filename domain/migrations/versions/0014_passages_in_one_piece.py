"""Passages stay in one piece: a row of up to 4 kB keeps its words and its vector, which every search reads, instead of
moving the vector to another table from 2 kB on. Rows that are there already move back when they are next written."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE chunk SET (toast_tuple_target = 4080)")


def downgrade() -> None:
    op.execute("ALTER TABLE chunk RESET (toast_tuple_target)")
