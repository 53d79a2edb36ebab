"""Starter: a multi-tenant agent product with accounts, vector stores, a status page and billing."""
