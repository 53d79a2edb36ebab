"""From the promise in a transaction to the server's "accepted": once, whatever happens between."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
from sqlalchemy import text

from domain import notifications
from domain.kernel.errors import Invalid
from domain.notifications import mails, ports
from domain.notifications.drivers import Smtp
from workers.jobs import notifications as job_module
from workers.registry import registry
from workers.runner import Outcome


def test_a_public_act_sends_a_mail_with_a_text_and_an_html_part(promise, run, mailbox, row):
    mail = promise()
    assert run(mail) is Outcome.DONE
    [message] = mailbox.taken
    assert message["From"] == "Thalweg <no-reply@mail.example>"
    assert message["To"] == "ada@example.com"
    assert message["Subject"] == "Confirm your e-mail address"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{mail}@mail.example>"
    assert message["Date"].datetime == row(mail).created_at.replace(microsecond=0)
    parts = [part.get_content_type() for part in message.iter_parts()]
    assert parts == ["text/plain", "text/html"]
    said = message.get_body(("plain",)).get_content()
    assert "Hello Ada Lovelace," in said
    assert "https://app.example/verify?token=SECRETTOKEN123&x=1" in said.splitlines()
    assert 'href="https://app.example/verify?token=SECRETTOKEN123&amp;x=1"' in message.get_body(("html",)).get_content()
    assert max(map(len, mailbox.raw[0].split(b"\r\n"))) <= 998
    assert row(mail).state == "sent"


def test_a_mail_of_an_organisation_is_delivered_too(database, organisation, promise, run, mailbox):
    from domain.kernel.context import SystemActor

    mail = promise(ctx=lambda: database.context(SystemActor("test"), organisation))
    assert run(mail) is Outcome.DONE
    assert len(mailbox.taken) == 1


def test_a_promise_that_is_rolled_back_sends_nothing(as_anyone, as_platform):
    made = []

    def fail_after_the_promise():
        with as_anyone() as ctx:
            made.append(notifications.send_mail(ctx, "waitlist_joined", "ada@example.com", facts={}))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_the_promise()
    [mail] = made
    with as_platform() as ctx:
        assert ctx.session.execute(text("SELECT count(*) FROM mail WHERE id = :id"), {"id": mail}).scalar() == 0
        jobs = text("SELECT count(*) FROM job WHERE args ->> 'mail_id' = :id")
        assert ctx.session.execute(jobs, {"id": str(mail)}).scalar() == 0


def test_what_lets_someone_in_is_encrypted_until_delivery_and_gone_after_it(promise, run, mailbox, as_platform):
    mail = promise()
    everything = text("SELECT m::text FROM mail m WHERE id = :id UNION ALL SELECT j::text FROM job j")
    with as_platform() as ctx:
        before = "".join(ctx.session.execute(everything, {"id": mail}).scalars())
        kept = ctx.session.execute(text("SELECT facts FROM mail WHERE id = :id"), {"id": mail}).scalar()
    assert "SECRETTOKEN123" not in before
    assert b"SECRETTOKEN123" not in kept
    assert b"SECRETTOKEN123".hex() not in before
    run(mail)
    with as_platform() as ctx:
        assert ctx.session.execute(text("SELECT facts FROM mail WHERE id = :id"), {"id": mail}).scalar() is None


def test_a_mail_that_was_sent_is_not_sent_again(promise, run, mailbox, as_platform, job_of):
    mail = promise()
    run(mail)
    with as_platform() as ctx:
        ctx.session.execute(
            text("UPDATE job SET state = 'pending', finished_at = NULL WHERE id = :id"), {"id": job_of(mail)}
        )
    assert run(mail) is Outcome.DONE
    assert len(mailbox.taken) == 1


class Dying:
    """A transport during which the process ends: before anything was handed over, or right after."""

    def __init__(self, real, *, after):
        self.real, self.after, self.times = real, after, 1

    def deliver(self, message, *, sender, recipient):
        dies = self.times > 0
        self.times -= 1
        if dies and not self.after:
            raise KeyboardInterrupt
        self.real.deliver(message, sender=sender, recipient=recipient)
        if dies:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("after", "copies"), [(False, 1), (True, 2)])
def test_a_crash_around_delivery_loses_nothing_and_a_second_copy_has_the_same_id(
    promise, run, serve, row, after, copies
):
    handler, place = serve()
    notifications.bind(Dying(Smtp.at(f"smtp://{place}"), after=after), sender="Thalweg <no-reply@mail.example>")
    mail = promise()
    with pytest.raises(KeyboardInterrupt):
        run(mail)
    assert row(mail).state == "sending"
    assert run(mail) is Outcome.DONE
    assert len(handler.taken) == copies
    assert {message["Message-ID"] for message in handler.taken} == {f"<{mail}@mail.example>"}
    assert len({bytes(message) for message in handler.taken}) <= copies
    assert row(mail).state == "sent"
    assert row(mail).attempts == 2


def test_a_mailbox_that_does_not_exist_ends_the_mail_at_once_and_says_why(promise, run, mailbox, row, as_platform):
    mailbox.rcpt = ["550 5.1.1 <ada@example.com>: no such\tuser"]
    mail = promise()
    assert run(mail) is Outcome.FAILED
    assert (row(mail).state, row(mail).attempts) == ("failed", 1)
    assert row(mail).error == "Refused: 550 5.1.1 <ada@example.com>: no such user"
    with as_platform() as ctx:
        assert mail in [one.id for one in notifications.list_mails(ctx, state="failed").items]


@pytest.mark.parametrize(
    "answers", [{"rcpt": ["450 4.2.1 Greylisted"]}, {"data": ["451 4.3.0 Later"]}, {"data": ["552 4.2.2 Full for now"]}]
)
def test_a_refusal_for_now_is_tried_again_later(promise, run, mailbox, row, answers):
    for name, value in answers.items():
        setattr(mailbox, name, value)
    mail = promise()
    assert run(mail) is Outcome.RETRIED
    assert row(mail).state == "pending"
    assert row(mail).error.startswith("4") or row(mail).error.startswith("552 4.2.2")
    assert run(mail) is Outcome.DONE
    assert len(mailbox.taken) == 1
    assert row(mail).error is None


def test_a_server_that_is_away_is_waited_for_and_then_the_mail_has_visibly_failed(
    promise, run, job_of, as_platform, row
):
    notifications.bind(Smtp.at("smtp://127.0.0.1:1"), sender="no-reply@mail.example")
    mail = promise()
    assert run(mail) is Outcome.RETRIED
    assert "away" in row(mail).error
    with as_platform() as ctx:
        ctx.session.execute(text("UPDATE job SET attempts = max_attempts - 1 WHERE id = :id"), {"id": job_of(mail)})
    assert run(mail) is Outcome.FAILED
    assert row(mail).state == "failed"
    assert row(mail).failed_at is not None


def test_an_operator_may_retry_a_failed_mail(promise, run, mailbox, as_platform, job_of, row):
    from domain.kernel import outbox

    mailbox.rcpt = ["550 5.7.1 Not today"]
    mail = promise()
    run(mail)
    with as_platform() as ctx:
        outbox.retry_job(ctx, job_of(mail))
    assert run(mail) is Outcome.DONE
    assert (row(mail).state, row(mail).failed_at, row(mail).error) == ("sent", None, None)


def test_the_job_tries_as_often_as_the_promise_says():
    assert registry.jobs[mails.DELIVER].max_attempts == mails.ATTEMPTS
    assert registry.jobs[mails.DELIVER].function is job_module.deliver


def test_the_same_key_is_one_mail_in_one_organisation(database, organisation, promise, mailbox):
    from domain.kernel.context import SystemActor

    def own():
        return database.context(SystemActor("test"), organisation)

    first = promise(unique="welcome:ada")
    assert promise(unique="welcome:ada") == first
    assert promise(ctx=own, unique="welcome:ada") != first


def test_old_rows_go_and_failed_ones_lose_their_facts_before(promise, run, mailbox, as_platform, row):
    sent = promise()
    run(sent)
    mailbox.rcpt = ["550 5.1.1 No"]
    failed = promise()
    run(failed)
    waiting = promise()
    with as_platform() as ctx:
        ctx.clock = _Later(dt.timedelta(days=4))
        notifications.purge(ctx)
    assert row(failed).facts is None
    assert row(sent).state == "sent"
    with as_platform() as ctx:
        ctx.clock = _Later(dt.timedelta(days=31))
        while notifications.purge(ctx):
            pass
        left = [one.id for one in notifications.list_mails(ctx).items]
    assert waiting in left
    assert sent not in left
    assert failed not in left


def test_a_person_is_forgotten_but_for_what_is_on_its_way(promise, run, mailbox, as_platform):
    mail = promise(to="gone@bücher.example")
    run(mail)
    waiting = promise(to="gone@bücher.example")
    with as_platform() as ctx:
        assert notifications.forget(ctx, "gone@xn--bcher-kva.example") == 1
        assert [one.id for one in notifications.list_mails(ctx).items if one.recipient.startswith("gone")] == [waiting]


class _Later:
    def __init__(self, by):
        self.by = by

    def now(self):
        return dt.datetime.now(dt.UTC) + self.by


# --- addresses and headers -------------------------------------------------------------------------------


def test_an_international_domain_travels_in_ascii(promise, run, mailbox):
    run(promise(to="ada@Bücher.example"))
    assert mailbox.to == ["ada@xn--bcher-kva.example"]


def test_an_international_mailbox_needs_a_server_that_takes_one(promise, run, mailbox, serve, row):
    mail = promise(to="ädä@bücher.example")
    assert run(mail) is Outcome.DONE, row(mail).error
    assert mailbox.to == ["ädä@xn--bcher-kva.example"]
    _, place = serve(utf8=False)
    notifications.bind(Smtp.at(f"smtp://{place}"), sender="no-reply@mail.example")
    mail = promise(to="ädä@bücher.example")
    assert run(mail) is Outcome.FAILED
    assert "SMTPUTF8" in row(mail).error


@pytest.mark.parametrize(
    "to",
    ["ada@example.com\nBcc: x@y.z", "ada@example.com\r\n", "a b@c.d", "@", "ada", "<ada@x.y>", "a@b\x00.c", "x" * 260],
)
def test_what_is_no_address_is_refused(promise, to):
    if to == "ada@example.com\r\n":  # blanks around an address are nobody's attack
        promise(to=to)
        return
    with pytest.raises(Invalid):
        promise(to=to)


def test_a_name_cannot_add_a_header_or_a_link(promise, run, mailbox):
    evil = (
        "Eve\r\nBcc: victim@example.com\r\n\r\n<a href='https://evil.example'>win</a> https://evil.example www.evil.us"
    )
    facts = {
        "organisation": evil,
        "inviter": evil,
        "role": "viewer",
        "link": "https://app.example/i",
        "expires": dt.datetime.now(dt.UTC),
    }
    run(promise("invite", facts=facts))
    [message] = mailbox.taken
    assert message["Bcc"] is None
    assert mailbox.to == ["ada@example.com"]
    assert "\n" not in message["Subject"]
    html = message.get_body(("html",)).get_content()
    assert "<a href='https" not in html
    for part in (html, message.get_body(("plain",)).get_content()):
        assert "evil.example" not in part
        assert "evil.us" not in part


# --- secure connections ----------------------------------------------------------------------------------


def test_a_password_is_not_sent_in_the_clear_to_another_machine(monkeypatch, serve):
    handler, place = serve()
    monkeypatch.setattr("domain.notifications.drivers.smtp._this_machine", lambda host: False)
    with pytest.raises(ports.TryLater, match="STARTTLS"):
        Smtp.at(f"smtp://user:geheim@{place}").deliver(_message(), sender="a@b.example", recipient="c@d.example")
    assert handler.taken == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1: (server's context, context that trusts it)."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, lambda: ssl.create_default_context(cafile=str(folder / "cert.pem"))


def test_starttls_is_used_where_it_is_offered(serve, certificate):
    import dataclasses

    server, trusting = certificate
    handler, place = serve(tls_context=server, require_starttls=True)
    smtp = dataclasses.replace(Smtp.at(f"smtp://{place}"), context=trusting)
    smtp.deliver(_message(), sender="a@b.example", recipient="c@d.example")
    assert len(handler.taken) == 1


def test_a_certificate_that_nobody_vouches_for_stops_the_mail(serve, certificate):
    handler, place = serve(tls_context=certificate[0])
    with pytest.raises(ports.TryLater, match="secure connection"):
        Smtp.at(f"smtp://{place}").deliver(_message(), sender="a@b.example", recipient="c@d.example")
    assert handler.taken == []


def test_a_password_that_is_wrong_waits_for_the_operator_and_is_not_repeated(serve):
    from aiosmtpd.smtp import AuthResult, LoginPassword

    def known(server, session, envelope, mechanism, given):
        return AuthResult(success=given == LoginPassword(b"user", b"ge@heim"), handled=False)  # the server answers

    handler, place = serve(authenticator=known, auth_require_tls=False, auth_required=True)
    message = {"message": _message(), "sender": "a@b.example", "recipient": "c@d.example"}
    wrong, none = f"smtp://user:falsch@{place}", f"smtp://{place}"
    for url, why in ((wrong, r"refuses user or password \(535\)"), (none, r"530 .*Authentication required")):
        with pytest.raises(ports.TryLater, match=why) as refused:
            Smtp.at(url).deliver(**message)
        assert "falsch" not in str(refused.value)
    Smtp.at(f"smtp://user:ge%40heim@{place}").deliver(**message)
    assert len(handler.taken) == 1


def test_a_sender_that_the_server_does_not_take_waits_for_the_operator(serve):
    handler, place = serve()

    async def handle_MAIL(server, session, envelope, address, options):
        return "550 5.7.1 Not from you"

    handler.handle_MAIL = handle_MAIL
    with pytest.raises(ports.TryLater, match=r"550 5\.7\.1 Not from you"):
        Smtp.at(f"smtp://{place}").deliver(_message(), sender="a@b.example", recipient="c@d.example")


def test_a_server_that_says_nothing_is_not_waited_for_long():
    import dataclasses
    import socket
    import time

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        smtp = dataclasses.replace(Smtp.at(f"smtp://127.0.0.1:{silent.getsockname()[1]}"), connect_seconds=0.3)
        began = time.monotonic()
        with pytest.raises(ports.TryLater, match="in time"):
            smtp.deliver(_message(), sender="a@b.example", recipient="c@d.example")
        assert time.monotonic() - began < 3


def test_a_password_is_in_no_text_of_the_driver():
    smtp = Smtp.at("smtp://user:ge%40heim@mail.example:2525")
    assert (smtp.user, smtp.password, smtp.port) == ("user", "ge@heim", 2525)
    assert "heim" not in repr(smtp)
    with pytest.raises(ValueError, match="mail_url") as refused:
        Smtp.at("smtp://user:geheim@:x")
    assert "geheim" not in str(refused.value)


def _message():
    from email.message import EmailMessage

    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("x")
    return message
