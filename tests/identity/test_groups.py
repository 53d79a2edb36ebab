"""Groups, frames, keys and pictures: what belongs to whom, and what outlives nothing."""

from __future__ import annotations

import base64
import io
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from domain import billing, identity
from domain.identity import frames, groups, me, organisation_settings, personal_keys, pictures, sessions
from domain.identity.models import ConnectorInstance, UserGroup
from domain.identity.pictures import NoPicture
from domain.kernel import crypto
from domain.kernel.errors import Conflict, Forbidden, NotFound, Unauthenticated
from domain.kernel.pages import OffsetPage

PASSWORD = "Staple-orbit-lantern-42"


@pytest.fixture
def owner(people: Any) -> Any:
    email = people.email()
    with people.context("beeflow") as ctx:
        account = identity.accounts.make(ctx, email=email, name="Ada Lovelace", source="signup", password=PASSWORD)
        identity.accounts.give_own_organisation(ctx, account, name=f"Engines {uuid4().hex}")
    signed_in = people.sign_in(email, "beeflow")
    with people.as_person(signed_in) as ctx:
        billing.subscribe(ctx, "full", "beeflow")
    return signed_in


# --- groups ----------------------------------------------------------------------------------------------------


def test_a_name_is_one_groups_whatever_its_case_and_spaces(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        groups.create(ctx, "Legal  Affairs")
    with pytest.raises(Conflict) as refused, people.as_person(owner) as ctx:
        groups.create(ctx, " legal affairs ")
    assert refused.value.facts["reason"] == "name_taken"
    with people.as_person(owner) as ctx:
        other = groups.create(ctx, "Sales").group.id
    with pytest.raises(Conflict), people.as_person(owner) as ctx:
        groups.update(ctx, other, {"name": "LEGAL AFFAIRS"})


def test_what_nextcloud_keeps_is_read_and_not_changed(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        kept = UserGroup(organisation_id=ctx.organisation, name="NC", name_key="nc", external_id="nc", settings={})
        ctx.session.add(kept)
        ctx.session.flush()
        group_id = kept.id
    acts = (
        lambda ctx: groups.update(ctx, group_id, {"name": "Mine"}),
        lambda ctx: groups.remove(ctx, group_id),
        lambda ctx: groups.add_member(ctx, group_id, owner.account.id),
        lambda ctx: groups.remove_member(ctx, group_id, owner.account.id),
        lambda ctx: groups.replace(ctx, owner.account.id, [group_id]),
    )
    for act in acts:
        with pytest.raises(groups.KeptByNextcloud), people.as_person(owner) as ctx:
            act(ctx)
    with people.as_person(owner) as ctx:
        assert [d.group.name for d in groups.listed(ctx, OffsetPage(), source="nextcloud").items] == ["NC"]
        assert groups.listed(ctx, OffsetPage(), source="local").items == []


def test_replacing_somebodys_groups_leaves_those_of_nextcloud(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        first, second = groups.create(ctx, "One").group.id, groups.create(ctx, "Two").group.id
        kept = UserGroup(organisation_id=ctx.organisation, name="NC", name_key="nc", external_id="nc", settings={})
        ctx.session.add(kept)
        ctx.session.flush()
        groups.enter(ctx, owner.account.id, [first, kept.id])
        groups.replace(ctx, owner.account.id, [second])
    with people.as_person(owner) as ctx:
        found = identity.memberships.groups_of(ctx, [owner.account.id])[owner.account.id]
    assert [group.name for group in found] == ["NC", "Two"]


def test_a_group_counts_and_shows_its_members(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        groups.create(ctx, "Legal", member_ids=[owner.account.id, owner.account.id])
    with people.as_person(owner) as ctx:
        (shown,) = groups.listed(ctx, OffsetPage(), q="LEG", members=True).items
        (plain,) = groups.listed(ctx, OffsetPage()).items
    assert (shown.count, [a.name for a in shown.members or ()], plain.members) == (1, ["Ada Lovelace"], None)


# --- frames ----------------------------------------------------------------------------------------------------


def frame(people: Any, owner: Any, origin: str = "https://cloud.example") -> Any:
    with people.as_person(owner) as ctx:
        return frames.issue(ctx, origin)


def alive(people: Any, signed_in: Any) -> Any:
    return sessions.verify_access_token(people.database, signed_in.access_token, "beeflow")


def test_a_frame_lives_an_hour_and_never_longer_than_its_session(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        organisation_settings.update(ctx, {"embed_origins": ["https://Cloud.Example:443"]})
    made = frame(people, owner)
    assert made.session.expires_at == people.clock.now() + timedelta(hours=1)
    assert alive(people, made).origin == "https://cloud.example"
    with people.as_person(owner) as ctx:
        sessions.sign_out(ctx)
    with pytest.raises(Unauthenticated):
        alive(people, made)


def test_origins_are_those_of_the_settings_and_of_the_organisations_nextcloud(people: Any, owner: Any) -> None:
    with pytest.raises(Forbidden):
        frame(people, owner)
    with people.as_person(owner) as ctx:
        instance = ConnectorInstance(instance_id=uuid4().hex, base_url="https://cloud.example/nextcloud")
        instance.organisation_id = ctx.organisation
        crypto.seal(instance, "tenant_key", "secret")
        ctx.session.add(instance)
    assert frame(people, owner).session.origin == "https://cloud.example"
    with pytest.raises(Forbidden):
        frame(people, owner, "https://cloud.example.attacker.example")


def test_a_frame_makes_neither_frames_nor_keys(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        organisation_settings.update(ctx, {"embed_origins": ["https://cloud.example"]})
    made = frame(people, owner)
    with pytest.raises(Forbidden), people.as_person(made) as ctx:
        frames.issue(ctx, "https://cloud.example")
    with pytest.raises(Forbidden), people.as_person(made) as ctx:
        personal_keys.create(ctx, "Copy", "full")
    with people.as_person(made) as ctx:
        assert me.describe(ctx).method == "password"


# --- pictures ----------------------------------------------------------------------------------------------------


def data_url(image: Image.Image, kind: str, **options: Any) -> str:
    written = io.BytesIO()
    image.save(written, kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode()}"


@pytest.mark.parametrize(("kind", "mode"), [("png", "RGBA"), ("jpeg", "RGB"), ("webp", "RGB"), ("png", "P")])
def test_a_picture_is_scaled_and_loses_everything_else(kind: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera of Ada"
    exif[0x0112] = 6  # turned by 90 degrees
    given = data_url(Image.new(mode, (800, 400)), kind, exif=exif)
    scaled = pictures.scaled(given)
    with Image.open(io.BytesIO(scaled.data)) as shown:
        assert (shown.format, shown.size, dict(shown.getexif())) == ("WEBP", (128, 256), {})


@pytest.mark.parametrize(
    "given",
    [
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/jpeg;base64," + data_url(Image.new("RGB", (9, 9)), "png").partition(",")[2],
        "data:image/png;base64,AAA",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        data_url(Image.new("1", (20_000, 20_000)), "png"),
        "data:image/png;base64," + base64.b64encode(b"\x89PNG" + b"0" * pictures.MOST_BYTES).decode(),
    ],
    ids=["torn", "another kind", "no base64", "not taken", "a bomb", "too large"],
)
def test_what_is_no_picture_is_refused(given: str) -> None:
    with pytest.raises(NoPicture):
        pictures.scaled(given)


def test_the_address_of_a_picture_ends_with_the_picture(people: Any, owner: Any) -> None:
    picture = pictures.scaled(data_url(Image.new("RGB", (20, 20)), "png"))
    with people.as_person(owner) as ctx:
        first = me.update_profile(ctx, picture=picture).avatar_url
    with people.as_person(owner) as ctx:
        second = me.update_profile(ctx, picture=picture).avatar_url
    assert first != second

    def read(address: str) -> bytes:
        with people.context("beeflow") as ctx:
            return pictures.read(ctx, owner.account.id, address.rpartition("/")[2].removesuffix(".webp"))

    assert read(second) == picture.data
    with pytest.raises(NotFound):
        read(first)
