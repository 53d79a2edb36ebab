"""What partners read: the events of a chain, made from its state. Pure; the shapes are those of the contract
(`openapi/thalium/components/events.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.brains import boundaries
from domain.brains.roles import ROLES
from domain.brains.roles.boundary_keeper import spoken
from domain.brains.state import State

Event = tuple[str, dict[str, Any]]
TERMINAL = "full.artifact"


def after(role: str, state: State) -> list[Event]:
    """The events that a role's end brings."""
    if role == "triage":
        return _triage(state)
    if role == "architect":
        return [_draft(state)]
    return []


def last(state: State, at: datetime) -> list[Event]:
    """The end of the stream: `chain.partial` where a role failed, then `full.artifact`."""
    partial = [_partial(state)] if any(r.status == "failed" for r in state.results.values()) else []
    return [*partial, _full(state, at)]


def outcome(state: State) -> str:
    """`complete`, `partial`, or `failed` when no role but the librarian did its work."""
    done = [r for r in state.results.values() if r.status == "complete" and r.role != "librarian"]
    if not done:
        return "failed"
    return "complete" if all(r.status == "complete" for r in state.results.values()) else "partial"


def _event(name: str, state: State, **data: Any) -> Event:
    return name, {"type": name, "trace_id": str(state.trace_id), **data}


def _triage(state: State) -> list[Event]:
    said = state.said("triage")
    if said is None:
        return []
    key = said["address_key"]
    events = [_event("fast.triage", state, intent=said["intent"], address_key=key, confidence=said["confidence"])]
    if said["novel"]:
        message = "Memory holds nothing close to this. Treat the answer as a first guess."
        novelty = min(1.0, max(0.0, said["novelty"]))
        events.append(_event("chain.novel", state, address_key=key, novelty=novelty, message=message))
    return events


def _draft(state: State) -> Event:
    """The first answer. The boundary keeper has not seen it yet, so what it would withhold is withheld here already."""
    answer = state.said("architect")
    if answer is None or boundaries.blocked("\n".join([*spoken(state), state.text or ""]), state.blocked_terms):
        answer = {"answer": "", "sections": [], "citations": []}
    return _event(
        "fast.artifact",
        state,
        status="draft" if answer["answer"] else "unavailable",
        address_key=state.address_key,
        answer=answer["answer"],
        sections=answer["sections"],
        citations=answer["citations"],
    )


def _anchor_trace(state: State) -> dict[str, dict[str, Any]]:
    return {
        r.role: {
            "status": r.status,
            **({"reason": r.reason} if r.reason else {}),
            **({"without": r.output["without"]} if r.output.get("without") else {}),
            "duration_ms": r.duration_ms,
        }
        for r in state.results.values()
    }


def _partial(state: State) -> Event:
    return _event(
        "chain.partial",
        state,
        status="partial",
        failed_roles=[
            {"role": r.role, "reason": r.reason, "impact": ROLES[r.role].failure}
            for r in state.results.values()
            if r.status == "failed"
        ],
        completed_roles=[r.role for r in state.results.values() if r.status == "complete"],
        anchor_trace=_anchor_trace(state),
    )


def _full(state: State, at: datetime) -> Event:
    answer, devil, score, guard = (state.said(r) for r in ("architect", "devil", "scorer", "boundary_keeper"))
    listener, librarian = state.said("listener"), state.said("librarian")
    withheld = guard is not None and guard["verdict"] == "block"
    # A boundary keeper that failed cannot withhold; a blocked term is a promise to the brain's owner all the same.
    withheld = withheld or bool(boundaries.blocked("\n".join([*spoken(state), state.text or ""]), state.blocked_terms))
    shown: Mapping[str, Any] = {} if withheld or answer is None else answer
    gate = None if score is None else ("block" if withheld else score["gate"])
    return _event(
        TERMINAL,
        state,
        status=outcome(state),
        session_id=state.session_id,
        entity_id=state.entity_id,
        intent=state.intent,
        address_key=state.address_key,
        answer=shown.get("answer", ""),
        sections=[*shown.get("sections", ()), *_open(shown)][:20],
        citations=shown.get("citations", []),
        objections=[] if withheld or devil is None else devil["objections"],
        risk_score=None if devil is None else devil["risk"],
        confidence_score=None if score is None else score["confidence"],
        gate_decision=gate,
        guardrails=None if guard is None else {"verdict": guard["verdict"], "findings": guard["findings"]},
        provenance=[
            {"entry_id": e["id"], "ring": e["ring"], "address_key": e["address_key"], "score": e["score"]}
            for e in ((listener or {}).get("entries", ()))
        ],
        anchor_trace=_anchor_trace(state),
        warnings=_warnings(state, withheld)[:20],
        memory={"written": [] if librarian is None else librarian["written"]},
        model=answer["usage"]["model"][:128] if answer is not None else (state.plan.model or "none"),
        completed_at=_time(at),
    )


def _open(answer: Mapping[str, Any]) -> list[dict[str, str]]:
    questions = answer.get("open_questions", ())
    return [{"heading": "Open questions", "text": "\n".join(f"- {q}" for q in questions)}] if questions else []


def _warnings(state: State, withheld: bool) -> list[str]:
    said = [ROLES[r.role].failure for r in state.results.values() if r.status == "failed"]
    if withheld:
        said.append("A blocked term stands in the input or the answer: the answer is withheld.")
    answer = state.said("architect")
    if "architect" not in state.plan.roles:
        said.append("No architect was asked for, so there is no answer.")
    elif answer is not None and "devil" not in state.plan.roles:
        said.append("No devil was asked for: the output was not stress-tested; treat it as unchallenged.")
    if answer is not None and "boundary_keeper" not in state.plan.roles:
        said.append("No boundary keeper was asked for: the guardrails were not applied.")
    if answer is not None and answer.get("without"):
        said.append("The documents of the organisation could not be searched; the answer does without them.")
    listener = state.said("listener")
    if listener is not None and listener["relevant"] == 0:
        said.append("Nothing remembered bears on this.")
    guard = state.said("boundary_keeper")
    findings = [] if guard is None else guard["findings"]
    said += [_FINDINGS.get(each["rule"], _PERSONAL).format(**each) for each in findings]
    if answer is not None and answer["usage"]["model"].startswith("demo"):
        said.append("The demo model wrote this. It is for trying out and often wrong.")
    return [each[:500] for each in said if each]


_PERSONAL = "Personal data was found: {rule} ({count})."
_FINDINGS = {
    "blocked_term": "",
    "length": "The input is longer than 50,000 characters; only a part of it could be weighed.",
    "control_characters": "{count} control characters were left out of the input.",
    "instruction_in_input": (
        "The input holds text that reads like an instruction to the system; it was treated as data."
    ),
    "instruction_in_document": (
        "A quoted document holds text that reads like an instruction to the system; it was treated as data."
    ),
}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
