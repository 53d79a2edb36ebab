"""Thallus: an AI workspace of chat, documents, data, workflows, agents, billing and audit."""
