"""Who one is, what one may do, and one's profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import me, pictures
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests, responses


def get_current_user(ctx: Ctx) -> responses.CurrentUser:
    return wire.current_user(me.describe(ctx))


def get_my_permissions(ctx: Ctx) -> responses.MyPermissions:
    return wire.my_permissions(me.permitted(ctx))


def update_profile(ctx: Ctx, body: requests.ProfileUpdate) -> responses.CurrentUser:
    picture: object = me.KEEP
    if "avatar" in body.model_fields_set:
        # Before the first statement, which opens the transaction: scaling takes its time.
        picture = None if body.avatar is None else pictures.scaled(body.avatar)
    me.update_profile(ctx, name=body.display_name, language=body.language, picture=picture)
    return wire.current_user(me.describe(ctx))
