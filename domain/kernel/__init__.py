"""What every context stands on: context, errors, ids, clock, pages, database, outbox, crypto."""
