"""Which model works for whom: a named one, else the person's own provider, else the platform's."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import select

from domain.inference.byok import TIERS, driver
from domain.inference.chat import ChatModel
from domain.inference.models import ModelSetting
from domain.inference.registry import drivers
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, Unavailable


def platform_models() -> Mapping[str, str]:
    """The names of the models that work for people without keys of their own, by tier. Nothing is loaded."""
    name = drivers().chat().name
    return dict.fromkeys(TIERS, name)


def chat_model(ctx: Ctx, user_id: UUID | None, tier: str, named: str | None = None) -> ChatModel:
    """The model that talks for a person. Nothing is loaded and nobody is called.

    Raises `Unavailable` when the person's own keys were refused the last time: the platform's models do not stand in
    for them unasked.
    """
    if named is not None:
        try:
            return drivers().chat(named)
        except Invalid:  # it was configured when the agent was made
            raise Unavailable(f"The model {named} is not configured here any more.") from None
    setting = None
    if user_id is not None:
        setting = ctx.session.scalars(
            select(ModelSetting).where(ModelSetting.user_id == user_id, ModelSetting.provider.is_not(None))
        ).one_or_none()
    if setting is None:
        return drivers().chat()
    if setting.status == "invalid":
        raise Unavailable("The model's provider refuses your key. Check your model settings.", reason="invalid_key")
    secret = crypto.unseal(setting, "secret")
    return driver(setting.provider or "", secret, setting.address, str(setting.models[tier]))
