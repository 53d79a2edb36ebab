"""Tails and the hub: every event exactly once, in order, whatever becomes of Valkey."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from thalweg.edge.application import Event
from thalweg.embedded.valkey import Valkey
from thalweg.streams import Hub, Publisher, Tail, TailOptions
from thalweg.streams.wire import STREAM, TOPIC

QUICK = TailOptions(buffer=8, page=4, settle=0.05, idle=(0.3, 0.6), away=(0.05, 0.2), gap=(0.02, 0.1), patience=0.5)
DONE = frozenset({"done"})


class Store:
    """What Postgres would hold."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.asked: list[int] = []
        self.fails = False

    def commit(self, number: int, name: str = "step") -> None:
        self.events.append(Event(number, name, {"n": number}))

    def history(self, after: int) -> Sequence[Event]:
        self.asked.append(after)
        if self.fails:
            raise RuntimeError("the database is away")
        return [event for event in self.events if event.number > after]


class Client:
    """Reads a tail to its end, or until it has `most` events."""

    def __init__(self, hub: Hub, channel: str, store: Store, after: int = 0, pause: Callable[[], float] | None = None):
        self.numbers: list[int] = []
        self.names: list[str] = []
        self.pause = pause
        self.tail: Tail = hub.follow(
            channel, after=after, terminal=DONE, history=store.history, run_blocking=asyncio.to_thread
        )
        self.hub = hub

    async def read(self, most: int | None = None, seconds: float = 20.0) -> list[int]:
        end = self.hub.now() + seconds
        try:
            while most is None or len(self.numbers) < most:
                entries = await self.tail.next(end)
                if not entries:
                    break
                self.numbers += [entry.number for entry in entries]
                self.names += [entry.name for entry in entries]
                if self.pause is not None:
                    await asyncio.sleep(self.pause())
        finally:
            if most is None or len(self.numbers) < most:
                self.tail.close()
        return self.numbers


@pytest.fixture
async def hub(valkey: redis.Redis, valkey_url: str) -> AsyncIterator[Hub]:
    hub = Hub(valkey_url, options=QUICK)
    await hub.start()
    yield hub
    await hub.close()


@pytest.fixture
def publisher(valkey_url: str) -> Iterator[Publisher]:
    publisher = Publisher(valkey_url)
    yield publisher
    publisher.close()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server that a test may kill."""
    server = Valkey(tmp_path / "valkey", volatile=True)
    server.start()
    yield server
    server.stop()


def kill(server: Valkey) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


def publish(publisher: Publisher, channel: str, numbers: Sequence[int], last: int | None = None) -> None:
    for number in numbers:
        publisher.publish(channel, number, "done" if number == last else "step", {"n": number})


async def settled(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.01)


async def test_events_reach_a_waiting_client_in_order_and_the_terminal_one_ends_it(
    hub: Hub, publisher: Publisher
) -> None:
    client = Client(hub, "a", Store())
    reading = asyncio.create_task(client.read())
    await asyncio.sleep(0.02)
    await asyncio.to_thread(publish, publisher, "a", range(1, 51), 50)
    assert await reading == list(range(1, 51))
    assert client.tail.ended
    assert client.names[-1] == "done"


async def test_a_late_client_first_reads_what_was_and_then_what_comes(hub: Hub, publisher: Publisher) -> None:
    publish(publisher, "a", range(1, 30))
    store = Store()
    client = Client(hub, "a", store)
    assert await client.read(29) == list(range(1, 30))
    publish(publisher, "a", range(30, 41), last=40)
    assert await client.read() == list(range(1, 41))
    assert store.asked == [], "the database was not needed"


async def test_a_client_resumes_after_the_last_number_it_has(hub: Hub, publisher: Publisher) -> None:
    publish(publisher, "a", range(1, 21), last=20)
    assert await Client(hub, "a", Store(), after=17).read() == [18, 19, 20]


async def test_a_number_published_twice_is_seen_once_and_the_first_stays(
    hub: Hub, publisher: Publisher, valkey: redis.Redis
) -> None:
    client = Client(hub, "a", Store())
    reading = asyncio.create_task(client.read())
    for number in (1, 1, 2, 1, 2, 3, 3):
        assert publisher.publish("a", number, "done" if number == 3 else "step", {"n": number}) is True
    assert await reading == [1, 2, 3]
    assert valkey.xlen(STREAM + "a") == 3


async def test_a_stream_is_capped_and_expires(valkey_url: str, valkey: redis.Redis) -> None:
    publisher = Publisher(valkey_url, keep=100, expire=1234)
    publish(publisher, "a", range(1, 1001))
    assert valkey.xlen(STREAM + "a") <= 300  # trimmed by whole nodes
    assert 1200 < valkey.ttl(STREAM + "a") <= 1234


def test_threads_that_publish_at_once_share_round_trips_and_lose_nothing(
    publisher: Publisher, valkey: redis.Redis
) -> None:
    before = valkey.info("commandstats").get("cmdstat_eval", {}).get("calls", 0)

    def tell(name: int) -> bool:
        return all(publisher.publish(f"many-{name}", number, "step", {"n": number}) for number in range(1, 51))

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(tell, range(40)))
    assert (publisher.backlog, publisher.dropped) == (0, 0)
    for name in range(40):
        numbers = [int(key.partition(b"-")[0]) for key, _ in valkey.xrange(f"{STREAM}many-{name}")]
        assert numbers == list(range(1, 51))
    assert valkey.info("commandstats")["cmdstat_eval"]["calls"] - before == 40 * 50, "each once"


@pytest.mark.parametrize("number", [0, -1])
def test_numbers_start_at_one(publisher: Publisher, number: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        publisher.publish("a", number, "step", {})


@pytest.mark.parametrize("name", ["", "two words", "line\nbreak", "é", "x" * 101])
def test_a_name_that_could_break_a_frame_is_refused(publisher: Publisher, name: str) -> None:
    with pytest.raises(ValueError, match="event name"):
        publisher.publish("a", 1, name, {})


async def test_a_client_that_returns_with_the_terminal_number_is_told_at_once(
    hub: Hub, publisher: Publisher, valkey: redis.Redis
) -> None:
    publish(publisher, "a", [1, 2, 3], last=3)
    client = Client(hub, "a", Store(), after=3)
    assert await client.read() == []
    assert client.tail.ended

    valkey.flushall()
    store = Store()
    store.commit(1)
    store.commit(2)
    store.commit(3, "done")
    client = Client(hub, "a", store, after=3)
    assert await client.read() == []
    assert client.tail.ended
    assert store.asked == [2]


async def test_an_expired_stream_is_read_from_the_database(hub: Hub) -> None:
    store = Store()
    for number in range(1, 2001):
        store.commit(number, "done" if number == 2000 else "step")
    client = Client(hub, "a", store)
    assert await client.read() == list(range(1, 2001))


async def test_what_the_stream_no_longer_has_comes_from_the_database(hub: Hub, publisher: Publisher) -> None:
    store = Store()
    for number in range(1, 41):
        store.commit(number)
    publish(publisher, "a", range(21, 41))
    client = Client(hub, "a", store, after=3)
    assert await client.read(37) == list(range(4, 41))
    publish(publisher, "a", [41], last=41)
    assert (await client.read())[-1] == 41


async def test_an_event_that_was_never_published_is_found_in_the_database(hub: Hub, publisher: Publisher) -> None:
    store = Store()
    client = Client(hub, "a", store)
    publish(publisher, "a", [1, 2])
    for number in (1, 2, 3):
        store.commit(number)
    publish(publisher, "a", [4, 5])
    assert await client.read(5) == [1, 2, 3, 4, 5]


async def test_a_lost_terminal_message_does_not_leave_a_client_waiting(hub: Hub, publisher: Publisher) -> None:
    store = Store()
    client = Client(hub, "a", store)
    publish(publisher, "a", [1])
    assert await client.read(1) == [1]
    store.commit(1)
    store.commit(2, "done")
    assert await client.read() == [1, 2]


async def test_a_late_commit_is_waited_for_and_never_overtaken(hub: Hub, publisher: Publisher) -> None:
    store = Store()
    client = Client(hub, "a", store)
    reading = asyncio.create_task(client.read())
    publish(publisher, "a", [1, 3], last=3)
    await settled(lambda: client.numbers == [1])
    await asyncio.sleep(0.2)
    assert client.numbers == [1]
    store.commit(2)
    assert await reading == [1, 2, 3]
    assert hub.passed_over == 0


async def test_a_number_that_is_nowhere_is_passed_over_after_a_while(hub: Hub, publisher: Publisher) -> None:
    client = Client(hub, "a", Store())
    publish(publisher, "a", [1, 2, 5, 6], last=6)
    started = time.monotonic()
    assert await client.read() == [1, 2, 5, 6]
    assert time.monotonic() - started >= QUICK.patience
    assert hub.passed_over == 2


async def test_events_that_only_the_stream_has_are_kept_beside_the_databases(hub: Hub, publisher: Publisher) -> None:
    store = Store()
    store.commit(2)
    store.commit(6, "done")
    publish(publisher, "a", [4, 5])  # 3 was trimmed with everything before it
    assert await Client(hub, "a", store, after=2).read() == [4, 5, 6]


async def test_a_message_that_is_in_no_store_does_not_make_readers_spin(hub: Hub, valkey: redis.Redis) -> None:
    store = Store()
    client = Client(hub, "a", store)
    reading = asyncio.create_task(client.read(seconds=1.5))
    await asyncio.sleep(0.1)
    before = valkey.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0)
    valkey.publish(TOPIC + "a", b"7 step\n{}")
    assert await reading == []
    reads = valkey.info("commandstats")["cmdstat_xrange"]["calls"] - before
    assert reads < 40
    assert len(store.asked) < 40


async def test_what_is_not_an_event_is_ignored(hub: Hub, publisher: Publisher, valkey: redis.Redis) -> None:
    client = Client(hub, "a", Store())
    for junk in (
        b"",
        b"x",
        b"1",
        b"1 step",
        b"-1 step\n{}",
        b"1 st ep\n{}",
        b"1 step\n{\n}",
        b"\xff \xff\n\xff",
        b"1e3 s\n{}",
    ):
        valkey.publish(TOPIC + "a", junk)
    valkey.xadd(STREAM + "a", {"x": "y"}, id="1-0")
    publish(publisher, "a", [2], last=2)
    store_of_one = client.tail
    reading = asyncio.create_task(client.read())
    assert (await reading)[-1] == 2
    assert store_of_one.ended


async def test_one_connection_serves_all_clients_and_a_channel_is_left_with_its_last(
    hub: Hub, valkey: redis.Redis
) -> None:
    clients = [Client(hub, f"c{number % 10}", Store()) for number in range(200)]
    await settled(lambda: valkey.pubsub_numsub(TOPIC + "c0")[0][1] == 1)
    ours = [line for line in valkey.client_list() if line["name"] == "thalweg-streams"]
    assert len(ours) == 1
    assert int(ours[0]["sub"]) == 10
    for client in clients[:-1]:
        client.tail.close()
        client.tail.close()
    await settled(lambda: int(next(c for c in valkey.client_list() if c["name"] == "thalweg-streams")["sub"]) == 1)
    clients[-1].tail.close()
    await settled(lambda: int(next(c for c in valkey.client_list() if c["name"] == "thalweg-streams")["sub"]) == 0)
    assert hub.listening == 0


async def test_clients_that_come_during_a_burst_miss_nothing(hub: Hub, publisher: Publisher) -> None:
    burst = asyncio.create_task(asyncio.to_thread(publish, publisher, "a", range(1, 1001), 1000))
    clients, readings = [], []
    while not burst.done():
        client = Client(hub, "a", Store())
        clients.append(client)
        readings.append(asyncio.create_task(client.read()))
        await asyncio.sleep(0.005)
    await burst
    for numbers in await asyncio.gather(*readings):
        assert numbers == list(range(1, 1001))
    assert len(clients) > 5


async def test_a_slow_client_holds_a_bounded_number_of_events(hub: Hub, publisher: Publisher) -> None:
    client = Client(hub, "a", Store())
    assert await client.tail.next(hub.now() + 0.1) == []  # caught up
    await asyncio.to_thread(publish, publisher, "a", range(1, 501), 500)
    await asyncio.sleep(0.1)
    assert len(client.tail._ready) <= QUICK.buffer
    assert await client.read() == list(range(1, 501))


async def test_large_events_count_against_the_buffer_by_their_size(valkey: redis.Redis, valkey_url: str) -> None:
    hub = Hub(valkey_url, options=TailOptions(buffer=1000, buffer_bytes=100_000))
    await hub.start()
    publisher = Publisher(valkey_url)
    client = Client(hub, "a", Store())
    assert await client.tail.next(hub.now() + 0.1) == []
    for number in range(1, 51):
        publisher.publish("a", number, "done" if number == 50 else "step", {"text": "x" * 20_000})
    await asyncio.sleep(0.1)
    assert sum(len(entry.data) for entry in client.tail._ready) <= 120_100
    assert await client.read() == list(range(1, 51))
    await hub.close()


async def test_a_database_that_fails_delays_a_stream_and_does_not_end_it(hub: Hub, publisher: Publisher) -> None:
    store = Store()
    store.fails = True
    client = Client(hub, "a", store)
    reading = asyncio.create_task(client.read())
    await settled(lambda: len(store.asked) >= 2)
    publish(publisher, "a", [1])
    await settled(lambda: client.numbers == [1])
    publish(publisher, "a", [3], last=3)
    store.commit(2)
    await asyncio.sleep(0.1)
    store.fails = False
    assert await reading == [1, 2, 3]


async def test_a_stopped_tail_says_nothing_more(hub: Hub) -> None:
    client = Client(hub, "a", Store())
    reading = asyncio.create_task(client.read())
    await asyncio.sleep(0.05)
    hub.drain()
    assert await asyncio.wait_for(reading, 0.5) == []
    late = Client(hub, "b", Store())
    assert await asyncio.wait_for(late.read(), 0.5) == []


async def test_a_lost_connection_of_the_hub_costs_no_event(hub: Hub, publisher: Publisher, valkey: redis.Redis) -> None:
    clients = [Client(hub, f"c{number}", Store()) for number in range(5)]
    readings = [asyncio.create_task(client.read()) for client in clients]

    def produce() -> None:
        for number in range(1, 301):
            for channel in range(5):
                publish(publisher, f"c{channel}", [number], last=300)
            if number % 50 == 0:
                valkey.client_kill_filter(_type="pubsub", skipme=True)

    await asyncio.to_thread(produce)
    for numbers in await asyncio.gather(*readings):
        assert numbers == list(range(1, 301))


async def test_a_reconnection_alone_catches_up_and_listens_again(
    publisher: Publisher, valkey: redis.Redis, valkey_url: str
) -> None:
    """No asking of the database now and then helps here: what was missed is read, what comes is heard."""
    hub = Hub(valkey_url, options=TailOptions(idle=(60, 60), away=(60, 60)))
    await hub.start()
    client = Client(hub, "a", Store())
    reading = asyncio.create_task(client.read())
    publish(publisher, "a", [1])
    await settled(lambda: client.numbers == [1])
    for round_ in range(5):
        valkey.client_kill_filter(_type="pubsub")
        publish(publisher, "a", [2 + 2 * round_])
        await settled(lambda: client.numbers[-1] == 2 + 2 * round_)  # noqa: B023
        publish(publisher, "a", [3 + 2 * round_], last=11)
        await settled(lambda: client.numbers[-1] == 3 + 2 * round_)  # noqa: B023
    assert await reading == list(range(1, 12))
    await hub.close()


async def test_a_message_whose_stream_is_gone_sends_the_reader_to_the_database_at_once(
    publisher: Publisher, valkey: redis.Redis, valkey_url: str
) -> None:
    hub, store = Hub(valkey_url, options=TailOptions(idle=(60, 60))), Store()
    await hub.start()
    client = Client(hub, "a", store)
    reading = asyncio.create_task(client.read())
    publish(publisher, "a", [1])
    await settled(lambda: client.numbers == [1])
    valkey.flushall()
    for number in (1, 2, 3):
        store.commit(number, "done" if number == 3 else "step")
    valkey.publish(TOPIC + "a", b'3 done\n{"n":3}')
    assert await asyncio.wait_for(reading, 2) == [1, 2, 3]
    await hub.close()


async def test_a_user_who_may_not_subscribe_never_gets_another_streams_events(
    publisher: Publisher, valkey: redis.Redis, valkey_url: str
) -> None:
    """The refusal comes as an answer to nothing: it must not shift the answers of the commands after it."""
    valkey.acl_setuser("deaf", enabled=True, passwords=["+word"], keys=["*"], categories=["+@all"], reset_channels=True)
    hub = Hub(valkey_url.replace("//:", "//deaf:").replace(valkey_url.split("@")[0].rpartition(":")[2], "word"))
    hub.options = QUICK
    await hub.start()
    stores = [Store() for _ in range(20)]
    readings = []
    for number, store in enumerate(stores):
        for event in range(1, number + 2):
            store.commit(event, "done" if event == number + 1 else "step")
        publish(publisher, f"c{number}", range(1, number + 2), last=number + 1)
        readings.append(asyncio.create_task(Client(hub, f"c{number}", store).read()))
    for number, numbers in enumerate(await asyncio.gather(*readings)):
        assert numbers == list(range(1, number + 2))
    await hub.close()
    valkey.acl_deluser("deaf")


@pytest.mark.faults
async def test_a_stream_goes_on_from_the_database_while_valkey_is_dead_and_live_afterwards(own_valkey: Valkey) -> None:
    hub, publisher, store = Hub(own_valkey.url, options=QUICK), Publisher(own_valkey.url), Store()
    await hub.start()
    client = Client(hub, "a", store)
    reading = asyncio.create_task(client.read())

    async def produce(numbers: Sequence[int], last: int | None = None) -> None:
        for number in numbers:
            store.commit(number, "done" if number == last else "step")
            await asyncio.to_thread(publish, publisher, "a", [number], last)

    await produce(range(1, 11))
    await settled(lambda: client.numbers == list(range(1, 11)))
    kill(own_valkey)
    await produce(range(11, 21))
    await settled(lambda: client.numbers == list(range(1, 21)))
    assert publisher.backlog > 0
    assert not hub.up
    own_valkey.stop()
    own_valkey.start()  # empty: nothing was on disk
    await settled(lambda: hub.up)
    await asyncio.sleep(5.1 if time.monotonic() < publisher._rest_until else 0)
    await produce(range(21, 31), last=30)
    assert await reading == list(range(1, 31))
    await hub.close()


async def test_a_stream_works_without_valkey_from_the_start(tmp_path: Path) -> None:
    hub, store = Hub("redis://127.0.0.1:1/0", options=QUICK), Store()
    await hub.start(wait=0.05)
    client = Client(hub, "a", store)
    reading = asyncio.create_task(client.read())
    for number in range(1, 6):
        store.commit(number, "done" if number == 5 else "step")
        await asyncio.sleep(0.05)
    assert await reading == [1, 2, 3, 4, 5]
    await hub.close()


def test_a_dead_valkey_slows_a_producer_once_and_not_for_each_event(own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url)
    assert publisher.publish("a", 1, "step", {}) is True
    kill(own_valkey)
    started = time.monotonic()
    assert not any(publisher.publish("a", number, "step", {}) for number in range(2, 500))
    assert time.monotonic() - started < 4
    assert (publisher.backlog, publisher.dropped) == (498, 0)


async def test_what_waited_for_valkey_is_sent_before_what_comes_next(own_valkey: Valkey) -> None:
    hub, publisher = Hub(own_valkey.url, options=QUICK), Publisher(own_valkey.url, patience=0.2)
    await hub.start()
    client = Client(hub, "a", Store())
    reading = asyncio.create_task(client.read())
    assert publisher.publish("a", 1, "step", {})
    await settled(lambda: client.numbers == [1])
    kill(own_valkey)
    assert not await asyncio.to_thread(publisher.publish, "a", 2, "step", {})
    assert not publisher.publish("a", 3, "step", {})
    own_valkey.stop()
    own_valkey.start()
    await settled(lambda: hub.up)
    await settled(lambda: publisher.publish("a", 4, "done", {}))
    assert await reading == [1, 2, 3, 4]
    assert (publisher.backlog, publisher.dropped, hub.passed_over) == (0, 0, 0)
    await hub.close()


def test_what_waits_is_bounded_and_sent_at_the_end(own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url, patience=0.2, backlog=10)
    kill(own_valkey)
    publish(publisher, "a", range(1, 31))
    assert (publisher.backlog, publisher.dropped) == (10, 20)
    own_valkey.stop()
    own_valkey.start()
    publisher.close()
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.xlen(STREAM + "a") == 10


def test_an_event_that_valkey_refuses_holds_up_no_other(publisher: Publisher, valkey: redis.Redis) -> None:
    valkey.set(STREAM + "a", "not a stream")
    publisher.publish("a", 1, "step", {})
    assert publisher.publish("b", 1, "step", {})
    assert (publisher.backlog, publisher.dropped) == (0, 1)


def test_a_valkey_that_hangs_slows_a_producer_once_and_not_for_each_event(own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url, patience=0.2)
    assert publisher.publish("a", 1, "step", {}) is True
    assert own_valkey.process is not None
    own_valkey.process.send_signal(19)
    started = time.monotonic()
    assert not any(publisher.publish("a", number, "step", {}) for number in range(2, 100))
    assert time.monotonic() - started < 4
    own_valkey.process.send_signal(18)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_to_valkey_every_client_gets_every_event_once_and_in_order(
    own_valkey: Valkey, seed: int
) -> None:
    """Random kills, restarts, flushes, lost connections and dropped publications, under slow and fast clients."""
    chance = random.Random(seed)
    hub, publisher = Hub(own_valkey.url, options=QUICK), Publisher(own_valkey.url, patience=0.2)
    await hub.start()
    total, channels = 150, 6
    stores = [Store() for _ in range(channels)]
    readings: list[asyncio.Task[list[int]]] = []
    afters: list[int] = []

    def join() -> None:
        channel = chance.randrange(channels)
        behind = len(stores[channel].events)
        after = chance.choice([0, chance.randint(0, behind)])
        pause = chance.choice([None, lambda: chance.uniform(0, 0.03)])
        client = Client(hub, f"c{channel}", stores[channel], after=after, pause=pause)
        readings.append(asyncio.create_task(client.read(seconds=45)))
        afters.append(after)

    async def torment() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            act = chance.choice(["kill", "flush", "cut", "cut", "flush"])
            try:
                if act == "kill":
                    await asyncio.to_thread(kill, own_valkey)
                    await asyncio.sleep(chance.uniform(0, 0.5))
                    await asyncio.to_thread(own_valkey.stop)
                    await asyncio.to_thread(own_valkey.start)
                else:
                    with redis.Redis.from_url(own_valkey.url) as client:
                        client.flushall() if act == "flush" else client.client_kill_filter(_type="pubsub")
            except redis.RedisError:
                continue

    tormentor = asyncio.create_task(torment())
    for number in range(1, total + 1):
        for channel in range(channels):
            stores[channel].commit(number, "done" if number == total else "step")
            if chance.random() > 0.05:
                await asyncio.to_thread(publish, publisher, f"c{channel}", [number], total)
        if chance.random() < 0.3:
            join()
        await asyncio.sleep(0.01)
    tormentor.cancel()
    await asyncio.gather(tormentor, return_exceptions=True)
    own_valkey.start()
    for after, numbers in zip(afters, await asyncio.gather(*readings), strict=True):
        assert numbers == list(range(after + 1, total + 1))
    assert len(readings) > 20
    await hub.close()
