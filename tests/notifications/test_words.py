"""The words of the mails: every mail in every language, the same facts in both parts, nothing that can be turned."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from email import message_from_bytes
from email.policy import default
from html import unescape
from uuid import uuid4

import pytest

from domain import notifications
from domain.notifications import addresses, catalogue, composing
from domain.notifications.drivers import Folder

SAMPLE = {
    "text": "Ada Lovelace",
    "link": "https://app.example/x?token=abc&n=1",
    "moment": dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC),
    "count": 24,
}


def sample(template: str) -> dict:
    return catalogue.checked(template, {n: SAMPLE[kind] for n, kind in catalogue.TEMPLATES[template].items()})


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_every_language_has_every_mail_in_the_same_shape(language):
    def shape(name: str) -> dict:
        read = tomllib.loads((composing.FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
        return {
            mail: {
                k: (len(v) if isinstance(v, list) else sorted(v) if isinstance(v, dict) else "") for k, v in of.items()
            }
            for mail, of in read.items()
        }

    assert shape(language) == shape("en")
    assert shape("en").keys() - {"common"} == catalogue.TEMPLATES.keys()


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
@pytest.mark.parametrize("template", catalogue.TEMPLATES)
def test_both_parts_say_every_fact(template, language):
    facts = sample(template)
    written = composing.write(template, language, facts, sender="Thalweg")
    seen = unescape(re.sub(r"<[^>]*>", "", written.html))
    assert written.subject
    assert "{{" not in written.text + written.html
    assert "{%" not in written.text + written.html
    for name, kind in catalogue.TEMPLATES[template].items():
        said = "2026, 12:30" if kind == "moment" else str(facts[name])
        assert said in " ".join(written.text.split()), name
        assert said in seen, name


def test_an_unspoken_language_is_english_and_a_region_is_its_language():
    assert catalogue.language_of("de-AT") == "de"
    assert catalogue.language_of("nl_BE") == "nl"
    assert catalogue.language_of("pt-BR") == "en"
    assert catalogue.language_of(None) == "en"
    assert catalogue.language_of("") == "en"


def test_a_nameless_person_is_greeted_all_the_same():
    written = composing.write("reset_sso", "en", catalogue.checked("reset_sso", {"name": None}), sender="Thalweg")
    assert written.text.startswith("Hello,\n")


@pytest.mark.parametrize(
    ("template", "facts"),
    [
        ("no_such_mail", {}),
        ("reset_sso", {}),
        ("reset_sso", {"name": "Ada", "more": 1}),
        ("verify_email", {"name": "A", "hours": 1, "link": "javascript:alert(1)"}),
        ("verify_email", {"name": "A", "hours": 1, "link": 'https://x.y/"><script>'}),
        ("verify_email", {"name": "A", "hours": 1, "link": "https://x.y/a b"}),
        ("verify_email", {"name": "A", "hours": True, "link": "https://x.y/"}),
        ("account_locked", {"name": "A", "until": "2026-01-01T00:00:00"}),
        ("account_locked", {"name": "A", "until": "soon"}),
        ("reset_sso", {"name": ["A"]}),
    ],
)
def test_facts_that_do_not_fit_are_a_bug_of_the_caller(template, facts):
    with pytest.raises(ValueError) as refused:
        catalogue.checked(template, facts)
    assert "script" not in str(refused.value)


def test_a_name_is_one_line_that_is_read_as_it_stands():
    facts = catalogue.checked("reset_sso", {"name": "<b>Ada</b>\u202e\n{{ 7*7 }} & co \ud800" + "x" * 400})
    assert len(facts["name"]) <= catalogue.LONGEST_TEXT
    html = composing.write("reset_sso", "en", facts, sender="Thalweg").html
    assert "&lt;b&gt;Ada&lt;/b&gt; {{ 7*7 }} &amp; co x" in html


@pytest.mark.parametrize("setting", ["Thalweg <no-reply@localhost>", "no-reply@example.com", '"A, B" <a@b.example>'])
def test_a_sender_is_an_address_with_or_without_a_name(setting):
    assert "@" in addresses.sender_address(setting).addr_spec


@pytest.mark.parametrize("setting", ["", "Thalweg", "A <a@b@c>", "A\r\nBcc: x@y.z <a@b.c>"])
def test_a_sender_that_is_none_is_named_at_start_up(setting, tmp_path):
    with pytest.raises(ValueError, match="mail_from"):
        notifications.configure(mail_url=None, mail_from=setting, folder=tmp_path)


def test_the_folder_has_one_file_a_mail_however_often_it_is_delivered(tmp_path):
    identifier = uuid4()
    for _ in range(2):
        message = composing.compose(
            template="verify_email",
            language="de",
            facts=sample("verify_email"),
            sender=addresses.sender_address("Thalweg <no-reply@localhost>"),
            recipient="ädä@xn--bcher-kva.example",
            message_id=f"<{identifier}@localhost>",
            date=SAMPLE["moment"],
        )
        Folder(tmp_path / "mail").deliver(message, sender="no-reply@localhost", recipient="ädä@xn--bcher-kva.example")
    [file] = (tmp_path / "mail").iterdir()
    assert file.name == f"{identifier}.eml"
    assert file.stat().st_mode & 0o077 == 0
    read = message_from_bytes(file.read_bytes(), policy=default)
    assert read["Subject"] == "Bestätigen Sie Ihre E-Mail-Adresse"
    assert str(read["To"]) == "ädä@xn--bcher-kva.example"
