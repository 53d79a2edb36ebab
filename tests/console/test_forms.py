"""The forms against the contracts: a page names no operation, field or member that there is not."""

from __future__ import annotations

import json

import pytest

from domain.identity.policies import POLICIES, PasswordRule
from handlers.console.forms import SITES, rule_in_words
from thalweg.contract import project

PROJECT = project.find()
FORMS = [
    (site.key, form)
    for site in SITES.values()
    for form in (site.sign_in, *site.sign_up, site.verify, site.resend, site.forgot, site.reset)
    if form is not None
]


def document(surface):
    return json.loads((PROJECT.generated / surface / "bundle.json").read_bytes())


def resolved(whole, node):
    while "$ref" in node:
        target = whole
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def operation(whole, name):
    found = [one for item in whole["paths"].values() for one in item.values() if isinstance(one, dict)]
    return next(one for one in found if one.get("operationId") == name)


def answer(whole, name):
    """The schema of the success of an operation."""
    for status, reply in operation(whole, name)["responses"].items():
        if status.startswith("2"):
            return resolved(whole, resolved(whole, reply)["content"]["application/json"]["schema"])
    raise AssertionError(name)


def member(whole, schema, path):
    for name in path.split("."):
        schema = resolved(whole, schema)
        for one in schema.get("oneOf", []):
            one = resolved(whole, one)
            schema = one if name in one.get("properties", {}) else schema
        assert name in schema["properties"], f"there is no {path}"
        schema = schema["properties"][name]
    return resolved(whole, schema)


def test_every_surface_with_a_policy_for_sign_ins_has_pages():
    assert SITES.keys() == POLICIES.keys()


@pytest.mark.parametrize(("surface", "form"), FORMS, ids=lambda one: getattr(one, "operation", one))
def test_a_form_fills_what_its_operation_takes_and_nothing_else(surface, form):
    whole = document(surface)
    declared = operation(whole, form.operation)
    assert declared["security"] == []
    body = resolved(whole, resolved(whole, declared["requestBody"])["content"]["application/json"]["schema"])
    names = [field.name for field in form.fields]
    assert len(names) == len(set(names))
    assert set(names) <= body["properties"].keys()
    assert set(body.get("required", ())) <= {field.name for field in form.fields if field.required}
    for field in form.fields:
        kind = resolved(whole, body["properties"][field.name])["type"]
        assert kind == ("boolean" if field.kind == "tick" else "string"), field.name


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_what_a_page_reads_of_an_answer_is_in_the_contract(site):
    whole = document(site.key)
    for name in (site.me, site.out, site.policy, site.renew, site.send_verification, site.sessions, site.revoke):
        assert name is None or operation(whole, name)
    held = answer(whole, site.sign_in.operation)
    for path in filter(None, (site.tokens.access, site.tokens.expires, site.tokens.refresh)):
        member(whole, held, path)
    me = answer(whole, site.me)
    for _, path in site.shown:
        if not path.startswith("@"):
            member(whole, me, path)
    if site.verified is not None:
        assert member(whole, me, site.verified)["type"] == "boolean"
    for form in site.sign_up:
        if form.then == "signed-in":
            within = f"{site.tokens.within}." if site.tokens.within else ""
            member(whole, answer(whole, form.operation), within + site.tokens.access)
    for form in (site.verify, site.resend, site.forgot, site.reset):
        if form is not None:
            assert form.done or member(whole, answer(whole, form.operation), "message")["type"] == "string"


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_conditions_name_members_and_values_of_the_surface_s_policy(site):
    conditions = [form.when for form in site.sign_up] + [site.closed]
    conditions += [field.when for form in site.sign_up for field in form.fields]
    for condition in filter(None, conditions):
        assert site.policy is not None
        name, values = condition.split("=")
        whole = document(site.key)
        declared = member(whole, answer(whole, site.policy), name)
        allowed = {"true", "false"} if declared["type"] == "boolean" else set(declared["enum"])
        assert set(values.split("|")) <= allowed


def test_the_rule_that_is_shown_is_the_rule_that_is_kept():
    assert rule_in_words(POLICIES["thallus"].password) == (
        "At least 12 characters, with a lower-case letter, an upper-case letter, a digit and a special character."
    )
    assert "14" in rule_in_words(POLICIES["starter"].password)
    assert "last 5" in rule_in_words(POLICIES["starter"].password)
    assert rule_in_words(PasswordRule(9)) == "At least 9 characters."
