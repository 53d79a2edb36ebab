"""A world for transcriptions: people, a blob store in a folder, jobs without a queue, and a service for meeting bots
that is a real server on loopback."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from domain import billing, identity, inference, knowledge, transcriptions
from domain.inference import Drivers, Heard, Hearing
from domain.kernel import outgoing
from domain.kernel.context import Actor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from domain.transcriptions import Wishes, decoding
from domain.transcriptions.drivers.attendee import Attendee
from domain.transcriptions.drivers.recall import Recall
from tests.fakes import FakeWork, Killed, Telling, store_in

_names = itertools.count()
PERSON = frozenset({"transcriptions:read", "transcriptions:write", "knowledge:read", "knowledge:write"})


@dataclass
class World:
    database: Database
    organisation_id: UUID
    streams: dict[str, dict[int, tuple[str, dict[str, Any]]]] = field(default_factory=dict)

    @contextmanager
    def ctx(self, actor: Actor | None = None, permissions: frozenset[str] = PERSON) -> Iterator[Ctx]:
        with self.database.context(actor or SystemActor("test"), self.organisation_id, permissions) as ctx:
            yield ctx

    def person(self) -> UserActor:
        from domain.identity.models import Account

        name = f"person{next(_names)}-{uuid4().hex[:6]}@example.org"
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            account = Account(email=name, email_key=name, name="A person", source="signup")
            ctx.session.add(account)
            ctx.session.flush()
            return UserActor(account.id)

    def base(self, actor: Actor) -> UUID:
        with self.ctx(actor) as ctx:
            return knowledge.create(ctx, "knowledge_base", f"Minutes {next(_names)}").collection.id

    def submit(self, actor: Actor, content: bytes, filename: str = "Steering.wav", **wishes: Any) -> UUID:
        with self.ctx(actor) as ctx:
            return transcriptions.submit(ctx, io.BytesIO(content), filename=filename, wishes=Wishes(**wishes)).id

    def found(self, actor: Actor, transcription_id: UUID) -> transcriptions.Whole:
        with self.ctx(actor) as ctx:
            return transcriptions.find(ctx, transcription_id)

    def join(self, actor: Actor, url: str = "https://meet.google.com/abc-defg-hij", **more: Any) -> Any:
        given = {"bot_name": "Notes", "announce": True, "join_at": None, "wishes": Wishes(), **more}
        with self.ctx(actor) as ctx:
            sending = transcriptions.bots.send(ctx, meeting_url=url, **given)
        news = sending.ask()
        with self.ctx(actor) as ctx:
            return transcriptions.bots.sent(ctx, sending, news)

    def bot(self, bot_id: UUID) -> transcriptions.MeetingBot:
        with self.ctx(permissions=frozenset({"admin"})) as ctx:
            return transcriptions.bots.get(ctx, bot_id)

    def jobs(self, prefix: str = "transcriptions.") -> list[Job]:
        with self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            query = select(Job).where(
                Job.organisation_id == self.organisation_id, Job.state == "pending", Job.name.startswith(prefix)
            )
            return list(ctx.session.scalars(query.order_by(Job.id)))

    def work(self, **more: Any) -> FakeWork:
        given = {"seconds": 500.0} | more
        return Telling(self.database, self.organisation_id, published=self.streams, **given)

    def run(self, job: Job, work: FakeWork | None = None) -> None:
        """Run one promised job as its runner would, and mark it done."""
        work = work or self.work()
        try:
            call(work, job.name, job.args)
            work.done = True
        finally:
            if work.done:
                with self.database.context(SystemActor("test"), None, platform=True) as ctx:
                    kept = ctx.session.get(Job, job.id)
                    assert kept is not None
                    kept.state = "done"

    def settle(self, most: int = 60) -> int:
        """Run jobs, whenever they are due, until none is left; how many there were."""
        count = 0
        while jobs := self.jobs():
            for job in jobs:
                self.run(job)
                count += 1
                assert count < most, "jobs promise each other without an end"
        return count

    def look(self) -> None:
        """Run the looks at bots that are promised, once."""
        for job in self.jobs("transcriptions.attend"):
            self.run(job)


def call(work: FakeWork, name: str, args: Mapping[str, Any]) -> None:
    ids = {key: UUID(value) for key, value in args.items() if key in ("transcription_id", "bot_id", "entry_id")}
    match name:
        case "transcriptions.transcribe":
            transcriptions.recognising.transcribe(work, ids["transcription_id"])
        case "transcriptions.note":
            transcriptions.recognising.note(work, ids["transcription_id"])
        case "transcriptions.attend":
            transcriptions.attending.attend(work, ids["bot_id"])
        case "transcriptions.forget":
            transcriptions.attending.forget(args["service"], args["service_id"])
        case "transcriptions.withdraw":
            transcriptions.attending.withdraw(args["service"], args["key"])
        case "knowledge.index":
            knowledge.ingestion.index(work, ids["entry_id"])
        case "knowledge.embed":
            knowledge.ingestion.embed(work, ids["entry_id"])
        case _:
            raise AssertionError(f"nobody told the tests how to run {name}")


# --- speech ----------------------------------------------------------------------------------------------------


@dataclass
class Script:
    """A transcriber that hears what stands in a script: `(start, end, text)` in seconds of the whole recording. It
    knows where in the recording it is by the samples themselves, which count the seconds (see `ticking`)."""

    lines: Sequence[tuple[float, float, str]] = ()
    language: str = "en"
    fault: Callable[[int], None] = lambda number: None
    heard: list[tuple[float, float]] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list)

    def available(self) -> None:
        pass

    def transcribe(self, recording, deadline):
        raise AssertionError

    def hear(self, recording, deadline, *, language=None, vocabulary=()):
        self.fault(len(self.heard))
        self.given.append({"language": language, "vocabulary": tuple(vocabulary)})
        with wave.open(io.BytesIO(recording)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            frames = file.readframes(file.getnframes())
        begin = int.from_bytes(frames[:2], "little") / 10
        end = begin + len(frames) / 32000
        self.heard.append((begin, end))
        said = tuple(
            Heard(max(0.0, start - begin), min(stop, end) - begin, text if stop <= end else text[: len(text) // 2])
            for start, stop, text in self.lines
            if start < end - 0.05 and stop > begin + 0.05
        )
        return Hearing(said, self.language if said else None)


def ticking(seconds: int) -> bytes:
    """A recording whose samples tell the tenth of the second that they are in."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"".join(tick.to_bytes(2, "little") * 1600 for tick in range(seconds * 10)))
    return made.getvalue()


@dataclass
class FakeSamples:
    """`decoding.Samples` for a WAV of 16 kHz, where nothing is installed that decodes."""

    frames: bytes
    seconds: float | None
    held: int = 0

    def ahead(self, seconds: float) -> tuple[bytes, bool]:
        wanted = int(seconds * 16000) * 2
        rest = self.frames[self.held :]
        return rest[:wanted], len(rest) <= wanted

    def advance(self, seconds: float) -> None:
        self.held += int(seconds * 16000) * 2


@contextmanager
def wav_samples(path: Path, format_: str, position: float) -> Iterator[FakeSamples]:
    assert format_ == "wav"
    try:
        with wave.open(str(path)) as file:
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError):
        raise decoding.Unreadable from None
    yield FakeSamples(frames[int(position * 16000) * 2 :], len(frames) / 32000)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, drivers: Drivers) -> Script:
    """A transcriber with a script, in place of the real one."""
    made = Script()
    inference.bind(replace(drivers, transcriber=made))
    if importlib.util.find_spec("av") is None:
        monkeypatch.setattr(decoding, "possible", lambda: True)
        monkeypatch.setattr(decoding, "samples", wav_samples)
    return made


@pytest.fixture
def recording() -> Callable[[int], bytes]:
    return ticking


# --- a service for meeting bots ----------------------------------------------------------------------------------


class BotService:
    """Plays Attendee and Recall. `bots` by id; `faults` are answered first: `(status, headers, body)`, or seconds to
    keep silent. `asked` is what came."""

    KEY = "token-geheim"

    def __init__(self) -> None:
        self.bots: dict[str, dict[str, Any]] = {}
        self.faults: list[tuple[int, dict[str, str], bytes] | float] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.sound = ticking(30)
        self.ranges = True
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                service.asked.append((self.command, self.path, body))
                if self.path.startswith("/sound/"):
                    assert "Authorization" not in self.headers
                    self._sound()
                    return
                if self.headers["Authorization"] != f"Token {service.KEY}":
                    self._answer(401, {}, b'{"detail":"no"}')
                    return
                if service.faults:
                    fault = service.faults.pop(0)
                    if isinstance(fault, float):
                        time.sleep(fault)
                    else:
                        self._answer(*fault)
                        return
                status, told = service.answer(self.command, urlsplit(self.path), body)
                self._answer(status, {"Content-Type": "application/json"}, json.dumps(told).encode())

            do_GET = do_POST = do_DELETE = _serve

            def _sound(self) -> None:
                wanted = self.headers.get("Range")
                if not service.ranges or wanted is None:
                    self._answer(200, {}, service.sound)
                    return
                first, last = map(int, wanted.removeprefix("bytes=").split("-"))
                piece = service.sound[first : last + 1]
                told = f"bytes {first}-{first + len(piece) - 1}/{len(service.sound)}"
                self._answer(206, {"Content-Range": told}, piece)

            def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # the caller waits no longer
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # --- what both do

    def answer(self, method: str, parts: Any, body: Any) -> tuple[int, Any]:
        path = parts.path.removeprefix("/api/v1/").strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return (self.attendee if path[0] == "bots" else self.recall)(method, path[1:], query, body, path[0])

    def only(self) -> dict[str, Any]:
        (bot,) = self.bots.values()
        return bot

    def paths(self, method: str) -> list[str]:
        return [path for asked, path, _ in self.asked if asked == method]

    # --- Attendee

    def attendee(self, method: str, path: list[str], query: Any, body: Any, _: str) -> tuple[int, Any]:
        if not path:
            if method == "GET":
                return 200, {"results": [b for b in self.bots.values() if b["key"] == query["deduplication_key"]]}
            if any(b["key"] == body["deduplication_key"] for b in self.bots.values()):
                return 400, {"error": "Deduplication key already in use."}
            bot = {
                "id": f"bot_{len(self.bots)}",
                "key": body["deduplication_key"],
                "state": "scheduled" if "join_at" in body else "joining",
                "events": [],
                "order": body,
            }
            self.bots[bot["id"]] = bot
            return 201, bot
        bot = self.bots.get(path[0])
        if bot is None:
            return 404, {"error": "Bot not found"}
        match (method, path[1:]):
            case ("GET", []):
                return 200, bot
            case ("DELETE", []):
                if bot["state"] != "scheduled":
                    return 400, {"error": "not scheduled"}
                del self.bots[bot["id"]]
                return 200, {}
            case ("POST", ["leave"]):
                if bot["state"] in ("scheduled", "ended"):
                    return 400, {"error": "not in a meeting"}
                bot["state"] = "leaving"
                return 200, bot
            case ("GET", ["recording"]):
                if not bot.get("recorded"):
                    return 404, {"error": "No recording found for bot"}
                return 200, {"url": f"{self.url}/sound/{bot['id']}.mp3?X=1", "start_timestamp_ms": 1_000_000}
            case ("GET", ["transcript"]):
                return 200, bot.get("transcript", [])
            case ("POST", ["delete_data"]):
                bot["forgotten"] = True
                return 200, bot
        return 404, {}

    def happens(self, bot: dict[str, Any], state: str, event: str, sub_type: str | None = None, at: int = 0) -> None:
        bot["state"] = state
        bot["events"].append({"type": event, "sub_type": sub_type, "created_at": f"2026-11-02T09:{at:02}:00Z"})

    # --- Recall

    def recall(self, method: str, path: list[str], query: Any, body: Any, noun: str) -> tuple[int, Any]:
        if noun == "audio_mixed":
            bot = next(b for b in self.bots.values() if query["recording_id"] == f"rec-{b['id']}")
            data = {"download_url": f"{self.url}/sound/{bot['id']}"} if bot.get("recorded") else None
            return 200, {"results": [{"data": data, "status": {"code": "done" if data else "processing"}}]}
        if not path:
            if method == "GET":
                return 200, {"results": [b for b in self.bots.values() if b["key"] == query["metadata__order"]]}
            made = {
                "id": f"r{len(self.bots)}",
                "key": body["metadata"]["order"],
                "join_at": body.get("join_at"),
                "status_changes": [],
                "recordings": [],
                "order": body,
            }
            self.bots[made["id"]] = made
            return 201, made
        found = self.bots.get(path[0])
        if found is None:
            return 404, {}
        match (method, path[1:]):
            case ("GET", []):
                return 200, found
            case ("DELETE", []):
                if found["status_changes"]:
                    return 405, {"detail": "not scheduled"}
                del self.bots[found["id"]]
                return 204, {}
            case ("POST", ["leave_call"]):
                found["left"] = True
                return 200, {}
            case ("POST", ["delete_media"]):
                found["forgotten"] = True
                return 200, {}
        return 404, {}

    def changes(self, bot: dict[str, Any], code: str, sub_code: str | None = None, at: int = 0) -> None:
        bot["status_changes"].append({"code": code, "sub_code": sub_code, "created_at": f"2026-11-02T09:{at:02}:00Z"})
        if code == "done":
            bot["recordings"] = [{"id": f"rec-{bot['id']}", "media_shortcuts": {}}]


@pytest.fixture
def service() -> Iterator[BotService]:
    made = BotService()
    outgoing.use(outgoing.Client(allow=("127.0.0.0/8",)))
    yield made
    outgoing.use(None)
    made.close()


@pytest.fixture
def attendee(service: BotService) -> Iterator[BotService]:
    transcriptions.services.bind(Attendee(service.url, BotService.KEY))
    yield service
    transcriptions.services.bind(None)


@pytest.fixture
def recall(service: BotService) -> Iterator[BotService]:
    transcriptions.services.bind(Recall(service.url, BotService.KEY))
    yield service
    transcriptions.services.bind(None)


@pytest.fixture
def depart() -> Callable[..., None]:
    """Recall a bot as the edge does it: the service is told after the commit."""

    def recall(world: World, actor: Actor, bot_id: UUID, permissions: set[str] | None = None) -> None:
        with world.ctx(actor, PERSON | (permissions or set())) as ctx:
            leaving = transcriptions.bots.recall(ctx, bot_id)
        leaving.ask()

    return recall


# --- the rest of the world --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def drivers() -> Drivers:
    """The real drivers, loaded once."""
    made = inference.configure({})
    made.embedder.warm()
    return made


@pytest.fixture(autouse=True)
def _bound(drivers: Drivers, tmp_path: Path) -> Iterator[None]:
    inference.bind(drivers)
    transcriptions.services.bind(None)
    store_in(tmp_path)
    yield
    inference.bind(drivers)


@pytest.fixture
def make_world(database: Database) -> Callable[..., World]:
    def make(plan: str = "enterprise") -> World:
        name = f"world-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
        with database.context(SystemActor("test"), organisation_id, frozenset({"admin"})) as ctx:
            billing.subscribe(ctx, plan, "beeflow")
        return World(database, organisation_id)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed
