"""SAML, against an identity provider of other makers: what is believed, and what attackers post instead."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from lxml import etree

from domain import billing
from domain.identity import accounts, create_organisation, federation, get_organisation, memberships
from domain.identity.federation import saml, saml_metadata
from domain.kernel.clock import FixedClock
from domain.kernel.context import AnonymousActor, SystemActor
from domain.kernel.db import Database
from domain.kernel.errors import Gone, NotFound, Unavailable
from domain.kernel.ids import new_id

NS = {
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
ADA = "ada@lovelace.example"


class World:
    """An organisation with an identity provider, and its sign-ins."""

    def __init__(self, database: Database, idp: Any, organisation_id: UUID, saml_idp: Any) -> None:
        self.database, self.idp, self.organisation_id, self.made = database, idp, organisation_id, saml_idp
        self.clock = FixedClock(datetime.now(UTC))
        self.browser: str | None = None
        """What the cookie of whoever sits there holds."""
        self.sp = federation.registry.current().service_provider(organisation_id)

    def ctx(self) -> Any:
        return self.database.context(AnonymousActor("192.0.2.1"), None, clock=self.clock, surface="beeflow")

    def inside(self) -> Any:
        return self.database.context(SystemActor("tests"), self.organisation_id, clock=self.clock)

    def request(self, redirect: str = "/") -> str:
        way = federation.saml_flow.way_to(self.organisation_id)
        with self.ctx() as ctx:
            departure = federation.saml_flow.depart(ctx, way, redirect=redirect)
        self.browser = departure.browser
        return str(departure.location)

    def answer(self, request: str | None = None, **wishes: Any) -> str:
        """A posted response to a request of ours."""
        asked = self.made.request_id(request or self.request())
        wishes.setdefault("in_response_to", asked)
        return str(self.idp.respond(self.sp.entity_id, self.sp.consumer_url, **wishes))

    def post(self, encoded: str, relay: str | None = None) -> str:
        """Where the browser goes from the assertion consumer."""
        reading = federation.saml_flow.read(encoded, self.clock)
        with self.ctx() as ctx:
            landing = federation.saml_flow.land(ctx, reading, relay, browser=self.browser)
        self.browser = landing.browser or self.browser
        return str(landing.location)

    def sign_in(self, encoded: str, relay: str | None = None) -> Any:
        code = query(self.post(encoded, relay))["code"]
        with self.ctx() as ctx:
            return federation.flows.pick_up(ctx, code, browser=self.browser)

    def why(self, encoded: str) -> str:
        with pytest.raises(saml.Untrusted) as refused:
            self.post(encoded)
        return refused.value.why


def query(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@pytest.fixture
def world(database: Database, tmp_path: Path, settings_of: Any, saml_idp: Any) -> World:
    with database.context(SystemActor("tests"), None, platform=True) as ctx:
        organisation_id = create_organisation(ctx, name="Lovelace", slug=f"saml-{new_id().hex[-12:]}").id
    with database.context(SystemActor("tests"), organisation_id) as ctx:
        billing.subscribe(ctx, "enterprise", "beeflow")
    url = "http://127.0.0.1:9"
    sp = saml_metadata.service_provider(f"{url}/beeflow", organisation_id)
    idp = saml_idp.SamlIdp(tmp_path, f"http://idp-{organisation_id}.example", saml_metadata.write_service_provider(sp))
    idp.attributes["mail"] = f"{organisation_id.hex[-8:]}.{ADA}"
    file = tmp_path / "idp.xml"
    file.write_bytes(idp.metadata())
    federation.registry.bind(settings_of(base_url=url, saml_providers=(f"{organisation_id}={file}",)))
    return World(database, idp, organisation_id, saml_idp)


def edited(path: str, change: Callable[[Any], None]) -> Callable[[Any], None]:
    def edit(root: Any) -> None:
        for node in root.xpath(path, namespaces=NS):
            change(node)

    return edit


def stamp(offset: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=offset)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- the flow ------------------------------------------------------------------------------------------------


def test_the_whole_way_to_the_identity_provider_and_back(world: World) -> None:
    with world.idp.app.test_client() as browser:
        posted = browser.get(world.request("/chat").removeprefix(world.idp.url)).get_json()
    assert posted["action"] == world.sp.consumer_url
    arrival = world.sign_in(posted["SAMLResponse"], posted["RelayState"])
    signed_in = arrival.signed_in
    assert (signed_in.account.email, signed_in.account.name) == (world.idp.attributes["mail"], "Ada Lovelace")
    assert (signed_in.belonging.organisation_id, signed_in.belonging.role) == (world.organisation_id, "member")
    assert (signed_in.session.method, arrival.redirect) == ("saml", "/chat")
    again = world.sign_in(world.answer()).signed_in
    assert again.account.id == signed_in.account.id


@pytest.mark.parametrize("signed", [("assertion",), ("response",), ("assertion", "response")])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_response_or_its_assertion_has_to_be_signed(world: World, signed: tuple[str, ...], algorithm: str) -> None:
    assert world.sign_in(world.answer(signed=signed, algorithm=algorithm)).signed_in


def test_the_session_ends_with_the_identity_providers_own(world: World) -> None:
    ends = edited("//saml:AuthnStatement", lambda node: node.set("SessionNotOnOrAfter", stamp(3600)))
    session = world.sign_in(world.answer(change=ends)).signed_in.session
    assert session.ends_at <= world.clock.now() + timedelta(seconds=3605)


def test_the_certificates_own_dates_say_nothing(world: World, saml_idp: Any, tmp_path: Path, settings_of: Any) -> None:
    world.idp.key, world.idp.certificate = saml_idp.key_pair(tmp_path, "old", expired=True)
    file = tmp_path / "idp.xml"
    file.write_bytes(world.idp.metadata())
    federation.registry.bind(settings_of(saml_providers=(f"{world.organisation_id}={file}",)))
    assert world.sign_in(world.answer()).signed_in


def test_a_relay_state_leads_nowhere_else(world: World) -> None:
    assert world.sign_in(world.answer(), "https://attacker.example/").redirect == "/"


def test_a_refusal_of_the_identity_provider_leads_to_the_sign_in_page(world: World) -> None:
    denied = edited(
        "//samlp:StatusCode", lambda node: node.set("Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")
    )
    assert query(world.post(world.answer(change=denied)))["error"] == "access_denied"


# --- whom it lets in -----------------------------------------------------------------------------------------


def test_an_organisations_provider_does_not_speak_for_strangers(world: World) -> None:
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        stranger = accounts.make(
            ctx, email=world.idp.attributes["mail"], name="Stranger", source="signup", verified=True
        )
        accounts.give_own_organisation(ctx, stranger)
    assert query(world.post(world.answer()))["error"] == "access_denied"
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        accounts.join(ctx, accounts.get(ctx, stranger.id), world.organisation_id, "admin", source="invite")
    signed_in = world.sign_in(world.answer()).signed_in
    assert (signed_in.account.id, signed_in.belonging.organisation_id) == (stranger.id, world.organisation_id)


def test_a_provider_of_two_organisations_lets_people_into_both(world: World, settings_of: Any) -> None:
    account = world.sign_in(world.answer()).signed_in.account
    first, place = world.organisation_id, federation.registry.current().saml[world.organisation_id].place
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        second = create_organisation(ctx, name="Second", slug=f"saml-{new_id().hex[-12:]}").id
    with world.database.context(SystemActor("tests"), second) as ctx:
        billing.subscribe(ctx, "enterprise", "beeflow")
    federation.registry.bind(
        settings_of(base_url="http://127.0.0.1:9", saml_providers=(f"{first}={place}", f"{second}={place}"))
    )
    known = federation.registry.current()
    for organisation_id in (first, second):
        world.organisation_id, world.sp = organisation_id, known.service_provider(organisation_id)
        from saml2.mdstore import InMemoryMetaData

        store = InMemoryMetaData(None, saml_metadata.write_service_provider(world.sp).decode())
        store.load()
        world.idp.server.metadata.metadata[str(organisation_id)] = store
        signed_in = world.sign_in(world.answer()).signed_in
        assert (signed_in.account.id, signed_in.belonging.organisation_id) == (account.id, organisation_id)


def test_who_was_invited_is_in_when_the_organisations_provider_vouches(world: World) -> None:
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        invited = accounts.make(ctx, email=world.idp.attributes["mail"], name="Invited", source="invite")
    with world.inside() as ctx:
        memberships.add(ctx, invited.id, "admin", source="invite", status="invited")
    signed_in = world.sign_in(world.answer()).signed_in
    assert (signed_in.account.id, signed_in.belonging.role) == (invited.id, "admin")


def test_nor_for_the_people_who_run_the_platform(world: World) -> None:
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        root = accounts.make(ctx, email=world.idp.attributes["mail"], name="Root", source="operator", verified=True)
        root.platform_role = "superadmin"
        accounts.join(ctx, root, world.organisation_id, "member", source="invite")
    assert query(world.post(world.answer()))["error"] == "access_denied"


def test_who_was_disabled_in_the_organisation_stays_out(world: World) -> None:
    account = world.sign_in(world.answer()).signed_in.account
    with world.inside() as ctx:
        memberships.get(ctx, account.id).status = "disabled"
    assert query(world.post(world.answer()))["error"] == "account_disabled"


def test_the_sign_up_settings_of_the_organisation_hold(world: World) -> None:
    with world.inside() as ctx:
        get_organisation(ctx).settings = {"signup": {"allowed_domains": ["elsewhere.example"]}}
    assert query(world.post(world.answer()))["error"] == "domain_not_allowed"
    with world.inside() as ctx:
        get_organisation(ctx).settings = {"signup": {"provision_from_sso": False}}
    assert query(world.post(world.answer()))["error"] == "signup_disabled"


def test_without_the_tier_there_is_no_saml(world: World) -> None:
    answer = world.answer()
    with world.inside() as ctx:
        billing.subscribe(ctx, "community", "beeflow")
    with pytest.raises(federation.saml_flow.FeatureNeeded):
        world.post(answer)
    with world.ctx() as ctx, pytest.raises(federation.saml_flow.FeatureNeeded):
        federation.saml_flow.metadata(ctx, world.organisation_id)
    way = federation.saml_flow.way_to(world.organisation_id)
    with world.ctx() as ctx, pytest.raises(federation.saml_flow.FeatureNeeded):
        federation.saml_flow.depart(ctx, way)
    with world.ctx() as ctx:
        assert not federation.saml_flow.is_offered(ctx)


# --- time, place, and once -------------------------------------------------------------------------------------


def test_an_assertion_is_taken_once(world: World) -> None:
    answer = world.answer()
    world.sign_in(answer)
    assert world.why(answer) == "the request was answered before"
    same = edited("//saml:Assertion", lambda node: node.set("ID", "_always-the-same"))
    world.sign_in(world.answer(change=same))
    assert world.why(world.answer(change=same)) == "it was taken before"


# --- whose browser it is ---------------------------------------------------------------------------------------


def let_begin(world: World) -> None:
    source = federation.registry.current().saml[world.organisation_id]
    source.unsolicited, source.known = True, None


def test_an_answer_is_for_the_browser_that_asked(world: World) -> None:
    """An attacker who posts their own answer from somebody else's browser signs nobody in there."""
    attackers = world.answer()
    world.request()  # the other browser may even be on its way to the provider itself
    assert world.why(attackers) == "it answers no request of ours, or of another browser"
    world.browser = None
    assert world.why(attackers) == "it answers no request of ours, or of another browser"


def test_a_pickup_is_for_the_browser_that_asked(world: World) -> None:
    code = query(world.post(world.answer()))["code"]
    for browser in (None, "another"):
        with world.ctx() as ctx, pytest.raises(Gone):
            federation.flows.pick_up(ctx, code, browser=browser)


def test_what_nobody_asked_for_is_refused_unless_the_operator_lets_the_provider_begin(world: World) -> None:
    assert world.why(world.answer(in_response_to=None)) == "nobody asked for it"


def test_a_sign_in_that_the_provider_begins_goes_back_to_it_and_ends_with_an_answer_of_ours(world: World) -> None:
    let_begin(world)
    alone = world.answer(in_response_to=None)
    world.browser = None  # nobody has been here before
    sent = world.post(alone, "/chat")
    assert sent.startswith(f"{world.idp.url}/sso?")
    assert query(sent)["RelayState"] == "/chat"
    with world.ctx() as ctx:
        assert accounts.find(ctx, world.idp.attributes["mail"]) is None  # nothing of that answer was believed
    first = world.browser
    arrival = world.sign_in(world.answer(sent), query(sent)["RelayState"])
    assert (arrival.signed_in.account.email, arrival.redirect) == (world.idp.attributes["mail"], "/chat")
    assert world.browser != first
    assert world.post(world.answer(sent, in_response_to=None)).startswith(f"{world.idp.url}/sso?")  # another day


def test_a_provider_that_never_answers_requests_does_not_go_round_in_circles(world: World) -> None:
    let_begin(world)
    world.post(world.answer(in_response_to=None))
    sent_back = world.browser
    answer = world.answer(in_response_to=None)
    world.browser = sent_back
    assert world.why(answer) == "the provider was asked and did not answer that"


def test_a_provider_that_takes_no_requests_cannot_begin_either(world: World) -> None:
    let_begin(world)
    answer = world.answer(in_response_to=None)
    source = federation.registry.current().saml[world.organisation_id]
    source.known = replace(source.current(), sign_in_url=None)
    world.browser = None
    assert world.why(answer) == "nobody asked for it, and the provider takes no requests"
    with world.ctx() as ctx, pytest.raises(Unavailable):
        federation.saml_flow.depart(ctx, source.known)


def test_an_organisation_is_found_by_its_short_name_when_it_has_a_provider(world: World) -> None:
    with world.inside() as ctx:
        slug = get_organisation(ctx).slug
    with world.ctx() as ctx:
        assert federation.saml_flow.organisation_named(ctx, f" {slug.upper()} ") == world.organisation_id
        assert federation.saml_flow.is_offered(ctx)
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        without = create_organisation(ctx, name="Without", slug=f"none-{new_id().hex[-12:]}").slug
    for name in (without, "nobody-of-this-name"):
        with world.ctx() as ctx, pytest.raises(NotFound):
            federation.saml_flow.organisation_named(ctx, name)


# --- time ------------------------------------------------------------------------------------------------------


def test_an_answer_belongs_to_a_request_of_ours_that_is_not_old(world: World) -> None:
    refused = "it answers no request of ours, or of another browser"
    assert world.why(world.answer(in_response_to="_made-up")) == refused
    world.request()
    other = federation.saml_flow.saml_request.new_id(UUID(int=7), world.clock.now(), str(world.browser))
    assert world.why(world.answer(world.request(), in_response_to=other)) == refused
    url = world.request()
    answer = world.answer(url, change=edited("//*[@NotOnOrAfter]", lambda node: node.set("NotOnOrAfter", stamp(7200))))
    world.clock.advance(timedelta(minutes=11))
    assert world.why(answer) == refused


DEPARTURES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "another audience": ("//saml:Audience", lambda n: setattr(n, "text", "https://another.example/sp")),
    "no audience": ("//saml:AudienceRestriction", lambda n: n.getparent().remove(n)),
    "no conditions": ("//saml:Conditions", lambda n: n.getparent().remove(n)),
    "an unknown condition": ("//saml:Conditions", lambda n: etree.SubElement(n, f"{{{NS['saml']}}}Condition")),
    "another recipient": ("//saml:SubjectConfirmationData", lambda n: n.set("Recipient", "https://another.example/")),
    "no recipient": ("//saml:SubjectConfirmationData", lambda n: n.attrib.pop("Recipient")),
    "another destination": ("/samlp:Response", lambda n: n.set("Destination", "https://another.example/acs")),
    "too late": ("//saml:Conditions", lambda n: n.set("NotOnOrAfter", stamp(-120))),
    "too late for the subject": ("//saml:SubjectConfirmationData", lambda n: n.set("NotOnOrAfter", stamp(-120))),
    "a subject without end": ("//saml:SubjectConfirmationData", lambda n: n.attrib.pop("NotOnOrAfter")),
    "too early": ("//saml:Conditions", lambda n: n.set("NotBefore", stamp(120))),
    "a time without zone": ("//saml:Conditions", lambda n: n.set("NotOnOrAfter", "2099-01-01T00:00:00")),
    "holder of key": (
        "//saml:SubjectConfirmation",
        lambda n: n.set("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"),
    ),
    "another issuer": ("//saml:Assertion/saml:Issuer", lambda n: setattr(n, "text", "https://another.example/idp")),
    "another issuer of the response": (
        "/samlp:Response/saml:Issuer",
        lambda n: setattr(n, "text", "https://another.example/idp"),
    ),
    "another request in the response": ("/samlp:Response", lambda n: n.set("InResponseTo", "_another")),
    "nobody signed in": ("//saml:AuthnStatement", lambda n: n.getparent().remove(n)),
    "a session that is over": ("//saml:AuthnStatement", lambda n: n.set("SessionNotOnOrAfter", stamp(-120))),
    "issued in the future": ("//saml:Assertion", lambda n: n.set("IssueInstant", stamp(600))),
    "no name": ("//saml:NameID", lambda n: n.getparent().remove(n)),
    "a name with something in it": ("//saml:NameID", lambda n: etree.SubElement(n, "x")),
    "an old version": ("//saml:Assertion", lambda n: n.set("Version", "1.1")),
}


@pytest.mark.parametrize("departure", DEPARTURES, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize("signed", ["assertion", "response"])
def test_what_the_identity_provider_meant_for_elsewhere_or_another_time(
    world: World, departure: str, signed: str
) -> None:
    assert world.why(world.answer(change=edited(*DEPARTURES[departure]), signed=(signed,)))


def test_clocks_may_differ_by_a_minute(world: World) -> None:
    late = edited("//saml:Conditions | //saml:SubjectConfirmationData", lambda n: n.set("NotOnOrAfter", stamp(-40)))
    assert world.sign_in(world.answer(change=late)).signed_in
    early = edited("//saml:Conditions", lambda n: n.set("NotBefore", stamp(40)))
    assert world.sign_in(world.answer(change=early)).signed_in


# --- signatures ------------------------------------------------------------------------------------------------


def test_without_a_signature_nothing_is_believed(world: World) -> None:
    assert world.why(world.answer(signed=())) == "nothing is signed"


def test_sha1_is_not_taken(world: World) -> None:
    assert world.why(world.answer(algorithm="sha1")).startswith("the signature is not good")


def test_another_key_is_not_taken_even_with_its_certificate_beside_it(
    world: World, saml_idp: Any, tmp_path: Path
) -> None:
    strange = saml_idp.key_pair(tmp_path, "strange")
    assert world.why(world.answer(key=strange)).startswith("the signature is not good")


@pytest.mark.parametrize("signed", ["assertion", "response"])
def test_a_changed_word_breaks_the_signature(world: World, signed: str) -> None:
    def change(root: Any) -> Any:
        edited("//saml:NameID", lambda n: setattr(n, "text", "grace-persistent"))(root)
        return root

    assert world.why(world.answer(signed=(signed,), after=change)).startswith("the signature is not good")


def _evil(root: Any) -> Any:
    """A copy of the assertion that says what the attacker likes, unsigned."""
    evil = copy.deepcopy(root.find("saml:Assertion", NS))
    for signature in evil.findall("ds:Signature", NS):
        evil.remove(signature)
    evil.set("ID", "_evil")
    evil.find(".//saml:NameID", NS).text = "victim"
    return evil


def _before(root: Any) -> Any:
    root.insert(list(root).index(root.find("saml:Assertion", NS)), _evil(root))
    return root


def _behind(root: Any) -> Any:
    root.append(_evil(root))
    return root


def _around(root: Any) -> Any:
    """The attacker's assertion, with the signed one inside."""
    evil, good = _evil(root), root.find("saml:Assertion", NS)
    root.replace(good, evil)
    evil.append(good)
    return root


def _in_signature(root: Any) -> Any:
    """The signed assertion moves into an Object of its own signature, which moves to the attacker's."""
    evil, good = _evil(root), root.find("saml:Assertion", NS)
    signature = good.find("ds:Signature", NS)
    good.remove(signature)
    root.replace(good, evil)
    etree.SubElement(signature, f"{{{NS['ds']}}}Object").append(good)
    evil.insert(1, signature)
    return root


def _in_extensions(root: Any) -> Any:
    evil, good = _evil(root), root.find("saml:Assertion", NS)
    root.replace(good, evil)
    extensions = etree.Element(f"{{{NS['samlp']}}}Extensions")
    extensions.append(good)
    root.insert(1, extensions)
    return root


def _same_id(root: Any) -> Any:
    evil, good = _evil(root), root.find("saml:Assertion", NS)
    evil.set("ID", good.get("ID"))
    root.insert(1, evil)
    return root


def _whole_response(root: Any) -> Any:
    """A new response around the signed one."""
    outer = etree.fromstring(etree.tostring(root))
    for node in outer.findall("ds:Signature", NS):
        outer.remove(node)
    outer.set("ID", "_outer")
    outer.find("saml:Assertion", NS).set("ID", "_evil")
    outer.find(".//saml:NameID", NS).text = "victim"
    outer.append(root)
    return outer


def _moved_signature(root: Any) -> Any:
    """The signature of the assertion, hung on an assertion that it is not over."""
    evil, good = _evil(root), root.find("saml:Assertion", NS)
    evil.insert(1, good.find("ds:Signature", NS))
    root.replace(good, evil)
    return root


def _two_signatures(root: Any) -> Any:
    good = root.find("saml:Assertion", NS)
    good.insert(1, copy.deepcopy(good.find("ds:Signature", NS)))
    return root


WRAPPINGS = [
    _before, _behind, _around, _in_signature, _in_extensions, _same_id, _whole_response, _moved_signature,
    _two_signatures,
]  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPINGS, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("signed", ["assertion", "response"])
def test_a_wrapped_signature_covers_nothing_that_is_read(world: World, wrap: Callable[[Any], Any], signed: str) -> None:
    if signed == "response" and wrap in (_in_signature, _moved_signature, _two_signatures):
        signed = "assertion"  # they need the assertion's own
    assert world.why(world.answer(signed=(signed,), after=wrap))


def test_a_comment_does_not_cut_a_name_short(world: World) -> None:
    """`victim<!---->.attacker` is `victim.attacker`, which is what was signed (the flaw of many libraries of 2018)."""

    def cut(root: Any) -> Any:
        return etree.tostring(root).replace(b"ada-persistent", b"ada<!-- -->-persistent")

    plain = world.sign_in(world.answer()).signed_in.account.id
    assert world.sign_in(world.answer(after=cut)).signed_in.account.id == plain


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><r>&e;</r>',
        b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE r [<!ENTITY e "x">]><r>&e;</r>'.encode("utf-16"),
        b'<?xml-stylesheet href="x"?><r/>',
        b"<r><?evil?></r>",
        b"<r>" * 300 + b"</r>" * 300,
        b"<r>" + b"<x/>" * 6000 + b"</r>",
        b"not xml at all, and long enough",
        b"",
        b"<r/>",
        b"\xff\xfe<r/>",
    ],
)
def test_what_is_no_plain_response_is_not_read(world: World, data: bytes) -> None:
    with pytest.raises(saml.Unreadable):
        federation.saml_flow.read(base64.b64encode(data).decode(), world.clock)


def test_what_is_no_base64_is_not_read(world: World) -> None:
    with pytest.raises(saml.Unreadable):
        federation.saml_flow.read("!!!! no base64 !!!!", world.clock)


def test_a_dtd_in_front_of_a_good_response_spoils_it(world: World) -> None:
    def with_dtd(root: Any) -> bytes:
        return b'<!DOCTYPE x [<!ENTITY e "y">]>' + etree.tostring(root)

    with pytest.raises(saml.Unreadable):
        world.post(world.answer(after=with_dtd))


# --- metadata ----------------------------------------------------------------------------------------------------


def test_the_metadata_of_this_server_is_understood_by_others(world: World) -> None:
    from saml2.mdstore import InMemoryMetaData

    with world.ctx() as ctx:
        document = federation.saml_flow.metadata(ctx, None)
    store = InMemoryMetaData(None, document.decode())
    store.load()
    services = store.service(world.sp.entity_id, "spsso_descriptor", "assertion_consumer_service", saml_metadata.POST)
    assert [service["location"] for service in services] == [world.sp.consumer_url]


def test_an_organisation_without_a_provider_has_no_metadata(world: World) -> None:
    with world.ctx() as ctx, pytest.raises(NotFound):
        federation.saml_flow.metadata(ctx, UUID(int=5))


def test_metadata_that_cannot_be_read_is_a_failure_for_now(world: World, settings_of: Any, tmp_path: Path) -> None:
    answer = world.answer()
    settings = settings_of(saml_providers=(f"{world.organisation_id}={tmp_path}/nowhere.xml",))
    federation.registry.bind(settings)
    with pytest.raises(Unavailable):
        world.post(answer)


def test_an_unknown_identity_provider_is_not_trusted(world: World) -> None:
    other = edited("//saml:Issuer", lambda n: setattr(n, "text", "https://unknown.example/idp"))
    assert world.why(world.answer(change=other)) == "the issuer is not known"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("entityID=", "nothing="),
        ("urn:oasis:names:tc:SAML:2.0:protocol", "urn:oasis:names:tc:SAML:1.1:protocol"),
        ("KeyDescriptor", "Nothing"),
        ("<ds:X509Certificate>", "<ds:X509Certificate>AAAA"),
        ("IDPSSODescriptor", "SPSSODescriptor"),
        ("<?xml version=", "<!DOCTYPE x><?xml version="),
        ("<md:IDPSSODescriptor ", '<md:IDPSSODescriptor validUntil="never" '),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(world: World, before: str, after: str) -> None:
    with pytest.raises(ValueError):
        saml_metadata.read_identity_provider(
            world.idp.metadata().decode().replace(before, after).encode(), world.organisation_id
        )


def test_metadata_that_has_run_out_trusts_nobody(world: World) -> None:
    source = federation.registry.current().saml[world.organisation_id]
    text = world.idp.metadata().decode()
    past = text.replace("<md:IDPSSODescriptor ", '<md:IDPSSODescriptor validUntil="2020-01-01T00:00:00Z" ')
    Path(source.place).write_text(past)
    source.known = None
    assert world.why(world.answer()) == "the metadata is out of date"
