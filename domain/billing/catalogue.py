"""The plans of the five products, as their price lists have them. Prices are minor units a month.

An organisation has one plan a product; the first of a product is what it has before it chose one.
"""

from __future__ import annotations

from domain.billing.plans import UNLIMITED, Plan, offer

# Thalium: brain invocations a month.
offer(
    Plan("thalium", name, rank, {"thalium.invocations": quota}, price)
    for rank, (name, quota, price) in enumerate(
        [
            ("spark", 500, 0),
            ("neuron", 3_500, 2_900),
            ("lobe", 30_000, 19_900),
            ("studio", 100_000, 59_900),
            ("enterprise", UNLIMITED, None),
        ]
    )
)

# Thallus: investigations a month, chunks read in a month, chunks kept, members.
_THALLUS_PRO = frozenset({"api_access", "data_queries", "audit_export"})
offer(
    Plan(
        "thallus",
        name,
        rank,
        {"thallus.investigations": investigations, "thallus.chunks": chunks, "thallus.workflow_runs": runs},
        price,
        "USD",
        features,
        {"thallus.stored_chunks": stored, "thallus.members": members},
    )
    for rank, (name, investigations, chunks, stored, members, runs, price, features) in enumerate(
        [
            ("trial", 10, 50, 100, 1, 10, 0, frozenset[str]()),
            ("starter", 100, 500, 1_000, 1, 100, 4_500, frozenset[str]()),
            ("pro", 350, 5_000, 10_000, 3, 1_000, 14_900, _THALLUS_PRO),
            (
                "enterprise",
                UNLIMITED,
                UNLIMITED,
                UNLIMITED,
                UNLIMITED,
                UNLIMITED,
                None,
                _THALLUS_PRO | {"sso", "rbac"},
            ),
        ]
    )
)

# Thalian: identities watched, integrations connected. Messages to the assistant are counted by day, by its own rule.
offer(
    Plan(
        "thalian",
        name,
        rank,
        {},
        price,
        "USD",
        features,
        {"thalian.identities": identities, "thalian.integrations": integrations, "thalian.messages_per_day": messages},
    )
    for rank, (name, identities, integrations, messages, price, features) in enumerate(
        [
            ("free", 25, 3, 25, 0, frozenset[str]()),
            ("trial", 500, UNLIMITED, 100, 0, frozenset[str]()),
            ("pro", 500, UNLIMITED, 100, None, frozenset[str]()),
            ("enterprise", UNLIMITED, UNLIMITED, UNLIMITED, None, frozenset({"enterprise", "audit_export", "sso"})),
        ]
    )
)

# Bee Flow: tiers. Messages are counted by month; users, agents, knowledge bases and automations as they stand.
_BEEFLOW_PRO = frozenset({"automations", "webpages", "meeting_notes", "skills", "ticket_assistant"})
_BEEFLOW_ENTERPRISE = _BEEFLOW_PRO | {"dlp", "gdpr_hub", "saml_sso", "audit_export"}
_BEEFLOW_FULL = _BEEFLOW_ENTERPRISE | {"white_label", "license_issuance"}
_MEBIBYTE = 1024 * 1024
offer(
    Plan(
        "beeflow",
        name,
        rank,
        {"beeflow.messages": messages},
        None if rank else 0,
        "EUR",
        features,
        {
            "beeflow.users": users,
            "beeflow.agents": agents,
            "beeflow.knowledge_bases": bases,
            "beeflow.automations": automations,
            "beeflow.document_bytes": document_bytes,
            "beeflow.audit_days": audit_days,
        },
    )
    for rank, (name, users, agents, messages, bases, automations, document_bytes, audit_days, features) in enumerate(
        [
            ("community", 1, 2, 1_000, 3, 0, 10 * _MEBIBYTE, 30, frozenset[str]()),
            ("pro", 25, 20, 50_000, 100, 100, 100 * _MEBIBYTE, 90, _BEEFLOW_PRO),
            (
                "enterprise",
                UNLIMITED,
                UNLIMITED,
                UNLIMITED,
                UNLIMITED,
                UNLIMITED,
                1024 * _MEBIBYTE,
                3_650,
                _BEEFLOW_ENTERPRISE,
            ),
            ("full", UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 1024 * _MEBIBYTE, 3_650, _BEEFLOW_FULL),
        ]
    )
)

# Starter: what its subscription names; use is recorded and billed, not capped (its guardrails are off by default).
offer(
    Plan("starter", name, rank, {"starter.messages": UNLIMITED}, price, "USD", features)
    for rank, (name, price, features) in enumerate(
        [
            ("starter", 2_000, frozenset[str]()),
            ("pro", 9_900, frozenset({"priority_support"})),
            ("enterprise", None, frozenset({"priority_support", "sso"})),
        ]
    )
)
