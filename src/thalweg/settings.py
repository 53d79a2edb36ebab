"""The settings of a platform, one documented field each. `thalweg.config.load` reads and checks them."""

# ruff: noqa: RUF009 - the defaults are made once, by `setting`, on purpose
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import fields, validate

from thalweg.config_fields import Choice, Folder, Limits, Link, Names, Number, Protected, Secret, Text, Truth

__all__ = ["FIELDS", "Settings"]


def setting(group: str, doc: str, field: fields.Field[Any], default: Any = None) -> Any:
    """A dataclass field that knows its group in the documentation, what it is for, and what values it takes."""
    metadata = {"group": group, "doc": doc, "field": field}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that can be set, validated. Immutable; `dataclasses.replace` makes a variant (for tests)."""

    # --- the platform ---------------------------------------------------------------------------------------------
    environment: str = setting(
        "platform",
        "What this installation is. `production` asks for every secret; `development` is what `thalweg up` sets.",
        Choice("production", "development", "test"),
        "production",
    )
    data_dir: Path = setting(
        "platform",
        "Folder for everything the platform keeps on its own disk: embedded servers, files, mail, logs. A relative "
        "path is taken from the settings file's folder, or from the working directory when it comes from the "
        "environment.",
        Folder(),
        Path(".data"),
    )
    secret_keys: tuple[Secret, ...] = setting(
        "platform",
        "Keys that encrypt stored secrets, each `<id>:<32 bytes in base64>`. The first encrypts, all decrypt, so a key "
        "is rotated by putting a new one in front. `thalweg up` makes one in the data folder.",
        Names(
            item=Protected(
                validate=validate.Regexp(r"\A[A-Za-z0-9_-]{1,32}:[A-Za-z0-9+/_-]{43}=?\Z"),
                says="<id>:<32 bytes in base64>; make one with: openssl rand -base64 32",
            )
        ),
        (),
    )

    audit_days: int = setting(
        "platform",
        "Days after which audit entries are removed, from the beginning of each organisation's chain, so that what is "
        "left still verifies. 0 keeps them for good.",
        Number(0, 36_500),
        0,
    )

    # --- stores ---------------------------------------------------------------------------------------------------
    database_url: Secret | None = setting(
        "stores",
        "The PostgreSQL database (16 or newer, with the extensions vector, ltree and pg_trgm). "
        "`thalweg up` starts one when this is not set.",
        Protected(
            validate=validate.Regexp(r"\Apostgres(ql)?(\+psycopg)?://\S+\Z"),
            says="postgresql://user:password@host/name",
        ),
    )
    database_pool: int = setting(
        "stores",
        "Connections that one process keeps open to the database: one for each of its threads (`api_threads`), so that "
        "no request waits for another's.",
        Number(1, 500),
        16,
    )
    database_overflow: int = setting(
        "stores", "Connections that one process may open beyond its pool for a burst.", Number(0, 500), 8
    )
    redis_url: Secret | None = setting(
        "stores",
        "Redis 7 or Valkey, for queues, streams and rate limits. `thalweg up` starts one when this is not set.",
        Protected(validate=validate.Regexp(r"\A(rediss?|valkeys?|unix)://\S+\Z"), says="redis://:password@host:6379/0"),
    )
    blob_url: str | None = setting(
        "stores",
        "Where files are kept: `s3://bucket/prefix` (credentials as the AWS tools read them) or `file:///folder`. "
        "Not set: the folder `files` in the data folder.",
        Link("s3", "file"),
    )
    storage_quota_bytes: int = setting(
        "stores",
        "Bytes of files that an organisation may keep where neither its plan nor an agreement says otherwise; 0 is no "
        "limit.",
        Number(0, 1 << 60),
        20 << 30,
    )
    storage_file_bytes: int = setting(
        "stores", "Bytes of the largest file. An operation may take less.", Number(1, 5 << 30), 512 << 20
    )

    # --- serving --------------------------------------------------------------------------------------------------
    host: str = setting(
        "serving", "Address to listen on; 0.0.0.0 is every address of the machine.", Text(), "127.0.0.1"
    )
    port: int = setting("serving", "Port to listen on; 0 takes a free one.", Number(0, 65535), 8080)
    public_url: str | None = setting(
        "serving",
        "How partners reach the platform, for links in mails and documents, such as `https://api.example.com`. "
        "Not set: made from host and port.",
        Link("http", "https"),
    )
    surfaces: tuple[str, ...] = setting("serving", "Surfaces to serve, by name. Not set: all of them.", Names(), ())
    api_processes: int = setting("serving", "API processes that share the port.", Number(1, 256), 1)
    api_threads: int = setting("serving", "Threads for handlers in each API process.", Number(1, 512), 16)
    shutdown_seconds: int = setting(
        "serving",
        "How long requests and jobs in progress may take to end when a process is told to stop.",
        Number(0, 3600),
        20,
    )
    trusted_proxies: tuple[str, ...] = setting(
        "serving",
        "Addresses or networks (CIDR) of the proxies in front, whose X-Forwarded-For and X-Forwarded-Proto are "
        "believed.",
        Names(network=True),
        (),
    )
    cors_origins: tuple[str, ...] = setting(
        "serving",
        "Origins whose pages may call the API from a browser, such as `https://app.example.com`; `*` is any.",
        Names(
            item=Text(
                validate=validate.Regexp(r"\A(\*|https?://[^/\s]+)\Z"), says="* or https://host[:port], without a path"
            )
        ),
        (),
    )
    limits: Mapping[str, Mapping[str, str]] = setting(
        "serving",
        "Rate limits that differ from openapi/<surface>/limits.toml, by name: `thalium.invoke=120/minute`, several "
        'with commas. In the file a table: `[limits]` with `"thalium.invoke" = "120/minute"`, or '
        '`{ rate = "120/minute", per = "user" }`.',
        Limits(),
        MappingProxyType({}),
    )
    response_mismatch: str = setting(
        "serving",
        "What happens when a reply breaks its own contract: `raise` (tests), `error` (logged, counted, answered as "
        "500) or `log` (logged, counted, sent).",
        Choice("raise", "error", "log"),
        "error",
    )

    # --- streams --------------------------------------------------------------------------------------------------
    stream_heartbeat_seconds: float = setting(
        "streams",
        "Seconds of silence after which a stream sends a comment, to keep proxies from closing it.",
        Number(0.1, 300, whole=False),
        15.0,
    )
    stream_life_seconds: float = setting(
        "streams",
        "Longest life of one connection to a stream; the client reconnects with Last-Event-ID.",
        Number(1, 86400, whole=False),
        900.0,
    )
    stream_keep_seconds: int = setting(
        "streams",
        "How long events can be resumed after the last one. Results stay in the database.",
        Number(10, 604800),
        3600,
    )
    stream_length: int = setting("streams", "Events that one stream keeps at most.", Number(10, 1_000_000), 10_000)
    stream_connections: int = setting(
        "streams",
        "Open streams that one API process accepts; more are answered with 503.",
        Number(1, 1_000_000),
        10_000,
    )

    # --- jobs -----------------------------------------------------------------------------------------------------
    worker_processes: int = setting(
        "jobs", "Worker processes that `thalweg up` starts for each queue.", Number(1, 64), 1
    )
    interactive_threads: int = setting(
        "jobs",
        "Turns and invocations that one worker process brings forward at once. Most of their time they wait for a "
        "model; of those that run in the process itself, no more than there are processors gain by it.",
        Number(1, 2000),
        32,
    )
    fetching_threads: int = setting(
        "jobs",
        "Websites that one worker process crawls at once. Most of the time it waits for their answers; at most four at "
        "once are of one organisation.",
        Number(1, 500),
        32,
    )
    queues: tuple[str, ...] = setting(
        "jobs",
        "Queues that are worked on, one process each at least.",
        Names(),
        ("interactive", "default", "untrusted", "fetching"),
    )

    # --- models ---------------------------------------------------------------------------------------------------
    model: str = setting(
        "models",
        "The language model: `extractive` (quotes and cites, no model), `demo` (a small local one that writes, often "
        "wrongly), `openai:<name>` or `anthropic:<name>`.",
        Text(
            validate=validate.Regexp(r"\A(extractive|demo|(openai|anthropic):\S+)\Z"),
            says="extractive, demo, openai:<name> or anthropic:<name>",
        ),
        "extractive",
    )
    vision_model: str | None = setting(
        "models",
        "The model that reads images, `openai:<name>` or `anthropic:<name>`. Not set: images are refused.",
        Text(validate=validate.Regexp(r"\A(openai|anthropic):\S+\Z"), says="openai:<name> or anthropic:<name>"),
    )
    embeddings: tuple[str, ...] = setting(
        "models",
        "Models that place the passages of documents in vector space: `minilm` (local), `openai:<name>` or "
        "`openai:<name>@<size>`, the size being how many numbers a vector of the model has (384, 768, 1024 or 1536; "
        "OpenAI's own models need none). The first is that of new collections, and of a collection that is indexed "
        "anew; the others go on serving the collections that were made with them. Memory and conversations always "
        "use `minilm`.",
        Names(
            item=Text(
                validate=validate.Regexp(r"\A(minilm|openai:\S+)\Z"),
                says="minilm, openai:<name> or openai:<name>@<size>",
            )
        ),
        ("minilm",),
    )
    embeddings_base_url: str | None = setting(
        "models",
        "Address of the server of the embedding models, where it is not that of `openai_base_url`. It speaks OpenAI's "
        "protocol (`/embeddings`).",
        Link("http", "https"),
    )
    embeddings_api_key: Secret | None = setting(
        "models",
        "Key for the server of the embedding models. Where neither this nor `embeddings_base_url` is set, "
        "`openai_api_key` and `openai_base_url` hold for them too.",
        Protected(),
    )
    speech: str = setting(
        "models",
        "What transcribes audio: `auto` (the extra `speech` when it is installed), `off`, `whisper` or "
        "`openai:<name>`.",
        Text(
            validate=validate.Regexp(r"\A(auto|off|whisper|openai:\S+)\Z"), says="auto, off, whisper or openai:<name>"
        ),
        "auto",
    )
    voice: str = setting(
        "models",
        "What says answers aloud in voice turns: `off` or `openai:<name>`, such as `openai:tts-1`.",
        Text(validate=validate.Regexp(r"\A(off|openai:\S+)\Z"), says="off or openai:<name>"),
        "off",
    )
    openai_api_key: Secret | None = setting(
        "models", "Key for OpenAI or a server that speaks its protocol.", Protected()
    )
    openai_base_url: str | None = setting(
        "models", "Address of an OpenAI-compatible server, such as `http://127.0.0.1:8000/v1`.", Link("http", "https")
    )
    anthropic_api_key: Secret | None = setting("models", "Key for Anthropic.", Protected())
    anthropic_base_url: str | None = setting(
        "models", "Address of an Anthropic-compatible server.", Link("http", "https")
    )

    # --- the world outside ----------------------------------------------------------------------------------------
    mail_url: Secret | None = setting(
        "outside",
        "The mail server: `smtp://user:password@host:587` (STARTTLS where offered) or `smtps://`. Not set: mails are "
        "files in the data folder, to be read on the portal.",
        Protected(validate=validate.Regexp(r"\Asmtps?://\S+\Z"), says="smtp://user:password@host:587 or smtps://..."),
    )
    mail_from: str = setting("outside", "Sender of the platform's mails.", Text(), "Thalweg <no-reply@localhost>")
    geoip_database: Path | None = setting(
        "outside",
        "A MaxMind database (`.mmdb`, city level), to show people roughly where a sign-in came from. Not set: no place "
        "is shown.",
        Folder(),
    )
    captcha: str = setting(
        "outside",
        "What strangers have to solve before an account is made or a mail is sent for them: `altcha` (proof of work in "
        "the browser, nobody else is asked), `turnstile`, `hcaptcha` or `recaptcha` (hosted), or `off`, which is "
        "refused in production.",
        Choice("altcha", "turnstile", "hcaptcha", "recaptcha", "off"),
        "altcha",
    )
    captcha_site_key: str | None = setting("outside", "Public key of the hosted CAPTCHA, for its widget.", Text())
    captcha_secret: Secret | None = setting("outside", "Secret key of the hosted CAPTCHA.", Protected())
    captcha_difficulty: int = setting(
        "outside",
        "Work of `altcha`: PBKDF2 rounds of one try. A solution takes 256 tries on average, which is about a third of "
        "a second for one core of a laptop at 5,000; to check it takes one.",
        Number(1, 10_000_000),
        5_000,
    )
    outgoing_allow: tuple[str, ...] = setting(
        "outside",
        "Private addresses or networks (CIDR) that outgoing requests (crawls, webhooks, providers) may reach. All "
        "other private, loopback and link-local addresses are refused.",
        Names(network=True),
        (),
    )

    meeting_bot: str | None = setting(
        "outside",
        "The service whose bots join meetings and record them: `attendee` (hosted, or a server of your own) or "
        "`recall`. Not set: no bots can be sent.",
        Choice("attendee", "recall"),
    )
    meeting_bot_url: str | None = setting(
        "outside",
        "Its address. Not set: `https://app.attendee.dev` or `https://us-east-1.recall.ai`. A private address has to "
        "stand in `outgoing_allow` too.",
        Link("http", "https"),
    )
    meeting_bot_key: Secret | None = setting("outside", "Key for the service of meeting bots.", Protected())

    # --- containers -----------------------------------------------------------------------------------------------
    containers: str = setting(
        "containers",
        "Where agents run code: `local` (on this server, confined by the kernel; Linux alone), `openai:<name>` (in "
        "OpenAI's containers, which the model of that name uses as it is told) or `off`.",
        Text(validate=validate.Regexp(r"\A(local|off|openai:\S+)\Z"), says="local, openai:<name> or off"),
        "local",
    )
    containers_memory: str = setting(
        "containers",
        "The largest memory that a container may have. A run takes it when it needs it, and two may run in a process.",
        Choice("1g", "4g", "16g", "64g"),
        "4g",
    )
    containers_seconds: int = setting("containers", "Longest run of code, by the clock.", Number(1, 300), 30)
    containers_megabytes: int = setting(
        "containers",
        "Size of a local container's files, in MiB. They are held in memory while code runs.",
        Number(1, 16_384),
        256,
    )

    # --- who comes in -----------------------------------------------------------------------------------------------
    signup_policy: str = setting(
        "signup",
        "How new tenants come in through Starter: `public` (anybody registers), `invite_only`, or `approval` (with an "
        "invite that answers a request for access). The first invite is made with `./thalweg invite create`.",
        Choice("public", "invite_only", "approval"),
        "invite_only",
    )
    starter_usage_guardrails: tuple[str, ...] = setting(
        "signup",
        "Messages a month that a tenant of Starter may send by its plan, such as "
        "`starter=1000,pro=20000,enterprise=unlimited`. Past them a message is 429 until the next month, and 402 for a "
        "plan that is not named. Not set: there are no guardrails, and use is only counted.",
        Names(
            item=Text(
                validate=validate.Regexp(r"\A[a-z]{1,40}=(unlimited|\d{1,9})\Z"),
                says="<plan>=<number> or <plan>=unlimited",
            )
        ),
        (),
    )
    failed_sign_ins_per_address: int = setting(
        "signup",
        "Failed sign-ins through Starter from one network address within ten minutes, after which that address waits "
        "for ten. Raise it where many people share an address.",
        Number(5, 1_000_000),
        50,
    )
    service_account_vault: tuple[Secret, ...] = setting(
        "signup",
        "What the payloads are checked with that a vault signs for service account tokens: `ed25519:<public key in "
        "base64>` or `hmac:<secret of 32 characters or more>`; several while a key is rotated. `dev-local` switches "
        "the checks off, which is refused in production. Not set: machines get no tokens.",
        Names(
            item=Protected(
                validate=validate.Regexp(r"\A(dev-local|ed25519:[A-Za-z0-9+/_-]{43}=?|hmac:[^\s,]{32,512})\Z"),
                says="ed25519:<base64>, hmac:<32 characters or more>, or dev-local",
            )
        ),
        (),
    )

    # --- signing in through others ----------------------------------------------------------------------------------
    beeflow_url: str | None = setting(
        "federation",
        "Where browsers reach Bee Flow's operations, such as `https://beeflow.example.com`; what providers send people "
        "back to is made of it. Not set: `/beeflow` at the public address.",
        Link("http", "https"),
    )
    oauth_google: Secret | None = setting(
        "federation",
        "Sign-in with Google: `<client id>:<client secret>`. The redirect address to register is "
        "`<beeflow_url>/auth/google/callback`, and accordingly for the others. Not set: not offered.",
        Protected(validate=validate.Regexp(r"\A[^:\s]+:\S+\Z"), says="<client id>:<client secret>"),
    )
    oauth_google_url: str | None = setting(
        "federation",
        "Another OpenID Connect issuer in Google's place. Not set: `https://accounts.google.com`.",
        Link("http", "https"),
    )
    oauth_microsoft: Secret | None = setting(
        "federation",
        "Sign-in with Microsoft Entra ID: `<client id>:<client secret>`.",
        Protected(validate=validate.Regexp(r"\A[^:\s]+:\S+\Z"), says="<client id>:<client secret>"),
    )
    oauth_microsoft_tenants: tuple[str, ...] = setting(
        "federation",
        "Entra tenants whose people may sign in: ids, or `organizations` (all but personal accounts), `common` (all) "
        "or `consumers` (personal accounts alone). Addresses of a tenant that is named by its id count as verified.",
        Names(
            item=Text(
                validate=validate.Regexp(r"\A(organizations|common|consumers|[0-9a-fA-F-]{36})\Z"),
                says="a tenant id, organizations, common or consumers",
            )
        ),
        ("organizations",),
    )
    oauth_microsoft_url: str | None = setting(
        "federation",
        "Another address for Entra ID, of a national cloud. Not set: `https://login.microsoftonline.com`.",
        Link("http", "https"),
    )
    oauth_github: Secret | None = setting(
        "federation",
        "Sign-in with GitHub: `<client id>:<client secret>`.",
        Protected(validate=validate.Regexp(r"\A[^:\s]+:\S+\Z"), says="<client id>:<client secret>"),
    )
    oauth_github_url: str | None = setting(
        "federation", "A GitHub Enterprise Server. Not set: `https://github.com`.", Link("http", "https")
    )
    oauth_nextcloud: tuple[Secret, ...] = setting(
        "federation",
        "Sign-in with Nextcloud servers, each `https://<client id>:<client secret>@<host>`. The first is taken where "
        "the browser names none.",
        Names(
            item=Protected(
                validate=validate.Regexp(r"\Ahttps?://[^:@/\s]+:[^@/\s]+@[^@\s]+\Z"),
                says="https://<client id>:<client secret>@<host>",
            )
        ),
        (),
    )
    oauth_nextcloud_trust_email: bool = setting(
        "federation",
        "Addresses of these Nextcloud servers count as verified. Set it only where users cannot change their own "
        "address there; otherwise nobody new comes in this way without an invitation.",
        Truth(),
        False,
    )
    saml_providers: tuple[str, ...] = setting(
        "federation",
        "SAML identity providers, each `<organisation id>=<metadata>`: a file, or an address that is read again once "
        "an hour.",
        Names(
            item=Text(
                validate=validate.Regexp(r"\A[0-9a-fA-F-]{36}=\S+\Z"), says="<organisation id>=<file or https URL>"
            )
        ),
        (),
    )
    guard_setup: str = setting(
        "federation",
        "Whether Bee Flow's `POST /auth/setup`, which makes the first administrator, asks for the token that the "
        "server prints as long as it is not set up. `auto`: in production.",
        Choice("auto", "on", "off"),
        "auto",
    )
    saml_unsolicited: tuple[str, ...] = setting(
        "federation",
        "Organisations (by id) whose identity provider may start a sign-in by itself. Its answer signs nobody in: the "
        "browser is sent back with a request, and signs in by the answer to that.",
        Names(item=Text(validate=validate.Regexp(r"\A[0-9a-fA-F-]{36}\Z"), says="an organisation id")),
        (),
    )
    connector_enrolment_key: Secret | None = setting(
        "federation",
        "What a Nextcloud connector signs its first contact with; it comes with the connector that you hand out. Not "
        "set: no new instance can be connected.",
        Protected(validate=validate.Length(min=32), says="at least 32 characters"),
    )
    privacy_notice: str | None = setting(
        "federation",
        "The version of the privacy notice that Nextcloud users agree to, such as `2026-05`. Not set: none is asked "
        "for.",
        Text(validate=validate.Regexp(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z"), says="letters, digits, '.', '_', '-'"),
    )

    # --- what is seen of it ---------------------------------------------------------------------------------------
    log_level: str = setting(
        "observation", "Least severity that is logged.", Choice("debug", "info", "warning", "error"), "info"
    )
    log_format: str = setting(
        "observation", "`json` for machines, `console` for people.", Choice("json", "console"), "json"
    )
    metrics: bool = setting("observation", "Serve Prometheus metrics at /metrics.", Truth(), True)
    metrics_basic_auth: Secret | None = setting(
        "observation",
        "`user:password` that /metrics asks for. Not set: it answers the loopback address alone.",
        Protected(validate=validate.Regexp(r"\A[^:\s]+:\S+\Z"), says="user:password"),
    )
    otel_endpoint: str | None = setting(
        "observation",
        "OpenTelemetry collector (OTLP over HTTP) that traces are sent to. Not set: none.",
        Link("http", "https"),
    )

    @property
    def base_url(self) -> str:
        """`public_url`, or what host and port amount to on this machine; without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    def need(self, *names: str) -> None:
        """Raises SettingsError that names each of these settings that has no value."""
        from thalweg.config import need

        need(self, *names)


FIELDS: Mapping[str, dataclasses.Field[Any]] = MappingProxyType({f.name: f for f in dataclasses.fields(Settings)})
