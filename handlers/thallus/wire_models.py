"""Models with keys of one's own, as Thallus shows them: settings, trials, providers. A key goes in and never out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from domain.inference import byok, choice
from domain.inference.ports import TimedOut
from handlers.wiring import timestamp
from thalweg.edge.application import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from domain.inference.byok import StoredSettings
    from domain.inference.models import ModelTrial
    from domain.kernel.context import Ctx
    from generated.thallus import requests, responses

PATIENCE = 45.0
"""Seconds that a trial may take, its queue included: within the contract's minute."""
ENDS = frozenset({"done"})


# --- in --------------------------------------------------------------------------------------------------------


def credentials(given: requests.ModelCredentials) -> dict[str, Any]:
    """What was sent of them."""
    return given.model_dump(exclude_none=True)


def embedding(given: requests.EmbeddingConfiguration | None) -> dict[str, Any] | None:
    return None if given is None else {"credentials": credentials(given.credentials), "model": given.model}


# --- trials ----------------------------------------------------------------------------------------------------


def once_saved(trial: ModelTrial) -> Pending:
    """The settings once all models have answered, or why they were not saved."""
    user_id, trial_id = trial.user_id, trial.id
    return _waited(user_id, trial_id, lambda ctx: settings(byok.saved(ctx, user_id, trial_id)))


def once_tried(trial: ModelTrial) -> Pending:
    """How each model has answered."""
    user_id, trial_id = trial.user_id, trial.id
    return _waited(user_id, trial_id, lambda ctx: validation(byok.get_trial(ctx, user_id, trial_id)))


def _waited(user_id: UUID, trial_id: UUID, then: Callable[[Ctx], Any]) -> Pending:
    def timed_out(ctx: Ctx) -> Any:
        if not byok.withdraw_trial(ctx, user_id, trial_id):
            return then(ctx)  # it ended in the last moment
        raise TimedOut("The models were not tried in time. Nothing was saved.", timeout_seconds=int(PATIENCE)).keeping()

    return Pending(
        channel=byok.channel(trial_id),
        terminal=ENDS,
        ready=lambda ctx: byok.trial_over(ctx, user_id, trial_id),
        then=then,
        timed_out=timed_out,
        seconds=PATIENCE,
    )


def validation(trial: ModelTrial) -> responses.ModelValidation:
    return {
        "valid": all(each["valid"] for each in trial.checks),
        "provider": cast("Any", trial.provider),
        "checks": [_check(each) for each in trial.checks],
        "checked_at": timestamp(trial.ended_at or trial.created_at),
    }


def _check(kept: Mapping[str, Any]) -> responses.ModelCheck:
    return {
        "kind": kept["kind"],
        "model": kept["model"],
        "valid": kept["valid"],
        "latency_ms": kept["latency_ms"],
        "error_code": kept["error_code"],
        "message": kept["message"],
    }


# --- settings --------------------------------------------------------------------------------------------------


def settings(kept: StoredSettings) -> responses.ModelSettings:
    own = kept.provider is not None
    models = kept.models if own and kept.models else choice.platform_models()
    return {
        "source": "byok" if own else "platform",
        "credentials": _stored(kept.provider, kept.key_hint, kept.address or {}) if own else None,
        "models": {"fast": models["fast"], "medium": models["medium"], "large": models["large"]},
        "embedding": None,
        "status": cast("Any", kept.status),
        "disclaimer_accepted_at": timestamp(kept.disclaimer_accepted_at),
        "validated_at": timestamp(kept.validated_at),
        "updated_at": timestamp(kept.updated_at),
    }


def _stored(provider: str | None, key_hint: str | None, address: Mapping[str, Any]) -> responses.StoredCredentials:
    return {
        "provider": cast("Any", provider),
        "key_hint": key_hint,
        "endpoint": address.get("endpoint") or address.get("base_url"),
        "project_id": address.get("project_id"),
        "location": address.get("location"),
    }


# --- providers -------------------------------------------------------------------------------------------------


def provider_list(known: Sequence[Mapping[str, Any]]) -> responses.ModelProviderList:
    items = [_provider(each) for each in known]
    return {"items": items, "total": len(items)}


def _provider(known: Mapping[str, Any]) -> responses.ModelProvider:
    return {
        "provider": known["provider"],
        "display_name": known["display_name"],
        "completions": True,
        "embeddings": known["embeddings"],
        "free_model_names": True,
        "fields": [
            {
                "name": each["name"],
                "label": each["label"],
                "required": each["required"],
                "secret": each["secret"],
                "help": each.get("help"),
            }
            for each in known["fields"]
        ],
        "models": [
            {
                "name": each["name"],
                "display_name": each["display_name"],
                "kind": each["kind"],
                "suggested_tier": each.get("suggested_tier"),
                "context_tokens": each.get("context_tokens"),
                "dimensions": each.get("dimensions"),
            }
            for each in known["models"]
        ],
        "docs_url": known["docs_url"],
    }
