"""Pictures of accounts: taken as data URLs, made small, shown at an address that nobody guesses."""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from domain.identity import links
from domain.identity.models import Account, Picture
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import NotFound, Unprocessable

SIDE = 256
MOST_BYTES = 512 * 1024
MOST_PIXELS = 40_000_000
"""Beyond that a small file may take gigabytes to unfold."""
MEDIA_TYPE = "image/webp"
PATH = "/account/pictures"
_DATA_URL = re.compile(r"data:image/(png|jpeg|webp);base64,([A-Za-z0-9+/]+={0,2})")


class NoPicture(Unprocessable):
    """What was sent is not a picture of the kind that it says it is, or too large."""

    reason = "not_a_picture"
    default = "This is not a picture of the kind that it says it is."


@dataclass(frozen=True, slots=True)
class Scaled:
    """A picture of at most 256 by 256 pixels, as WebP, without metadata."""

    data: bytes


def scaled(data_url: str) -> Scaled:
    """Read and scale a picture. Slow: before the transaction's first statement. Raises `NoPicture`."""
    from PIL import Image, ImageOps  # 15 MB that few requests need

    matched = _DATA_URL.fullmatch(data_url)
    if matched is None:
        raise NoPicture
    try:
        raw = base64.b64decode(matched[2], validate=True)
    except binascii.Error:
        raise NoPicture from None
    if len(raw) > MOST_BYTES:
        raise NoPicture("The picture has more than 512 KB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes: they are judged below
            with Image.open(io.BytesIO(raw), formats=[matched[1].upper()]) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise NoPicture("The picture has too many pixels.")
                opened.draft("RGB", (SIDE * 2, SIDE * 2))
                # The orientation of cameras is carried out, as it goes with the metadata.
                upright = ImageOps.exif_transpose(opened)
                shown = upright.convert(
                    "RGBA" if "A" in upright.getbands() or "transparency" in upright.info else "RGB"
                )
                shown.thumbnail((SIDE, SIDE))
                written = io.BytesIO()
                shown.save(written, "WEBP", quality=85)
    except NoPicture:
        raise
    except Exception as broken:  # the decoders raise whatever comes to them: OSError, SyntaxError, struct.error, ...
        raise NoPicture from broken
    return Scaled(written.getvalue())


def put(ctx: Ctx, account: Account, picture: Scaled | None) -> None:
    """Give an account its picture, or (None) take it away."""
    if picture is None:
        ctx.session.execute(delete(Picture).where(Picture.account_id == account.id))
        account.avatar_url = None
        return
    digest = crypto.digest(f"{account.id}:{crypto.token()}")
    values = {"digest": digest, "data": picture.data, "created_at": ctx.now()}
    ctx.session.execute(
        insert(Picture)
        .values(account_id=account.id, **values)
        .on_conflict_do_update(index_elements=["account_id"], set_=values)
    )
    account.avatar_url = f"{links.base()}{PATH}/{account.id}/{digest.hex()[:32]}.webp"


def read(ctx: Ctx, account_id: UUID, name: str) -> bytes:
    """The picture behind an address. Raises `NotFound`; an address is good until the picture changes."""
    found = ctx.session.scalars(select(Picture).where(Picture.account_id == account_id)).one_or_none()
    if found is None or not crypto.same(found.digest.hex()[:32], name):
        raise NotFound
    return found.data
