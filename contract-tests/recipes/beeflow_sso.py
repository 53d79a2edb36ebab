"""Bee Flow: signing in through providers on loopback."""

from __future__ import annotations

from recipes import federation
from recipes.world import Call, Recipe, World, recipe


def _login(provider: str) -> Recipe:
    def make(world: World) -> Call:
        federation.providers().person(provider)
        return Call(query={"redirect": "/chat"}, public=True)

    return make


def _callback(provider: str) -> Recipe:
    def make(world: World) -> Call:
        federation.providers().person(provider)
        browser = federation.depart(world.url, provider)
        sent = {name: value for name, value in browser.back.items() if not name.startswith("_")}
        return Call(query=sent, cookies={"bf_oauth_state": browser.cookie}, public=True, once=True)

    return make


for _provider in federation.PROVIDERS:
    recipe("beeflow", f"start{_provider.capitalize()}Login")(_login(_provider))
    recipe("beeflow", f"finish{_provider.capitalize()}Login")(_callback(_provider))


@recipe("beeflow", "getSamlMetadata")
def metadata(world: World) -> Call:
    organisation = federation.saml_organisation(world.database)
    return Call(query={"organizationId": str(organisation)}, public=True)


@recipe("beeflow", "consumeSamlAssertion")
def assertion(world: World) -> Call:
    federation.saml_organisation(world.database)
    response = federation.saml_response(world.url)
    form = {"SAMLResponse": response, "RelayState": "/chat"}
    return Call(form=form, cookies=federation.saml_cookie(), public=True, once=True)


@recipe("beeflow", "pickUpLogin")
def pickup(world: World) -> Call:
    federation.providers().person("google")
    code = federation.code_of(federation.depart(world.url, "google").finish())
    return Call(query={"code": code, "format": "json"}, public=True, once=True)
