"""Containers as a tenant has them, and code that agents run in them."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, select, update

from domain import containers, storage
from domain.audit.models import AuditEntry
from domain.containers import running
from domain.containers.drivers import local
from domain.containers.models import Container, ContainerBinding
from domain.kernel.confine.jail import Unconfined
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage
from domain.storage.models import StoredObject

# --- having them ----------------------------------------------------------------------------------------------------


def test_a_container_runs_at_once_and_says_what_it_is(world: Any) -> None:
    with world.ctx() as ctx:
        made = containers.create(ctx, "  analysis   sandbox ", notes={"team": "growth"})
        assert (made.name, made.memory, made.state, made.rest_minutes) == ("analysis sandbox", "1g", "running", 20)
        assert (made.driver, made.external_id) == ("local", f"cntr_{made.id.hex}")
        assert made.created_by == world.actor.user_id
        assert made.expires_at == made.last_active_at + timedelta(minutes=20)
    assert world.jobs() == []


def test_a_name_is_taken_once_whatever_its_case(world: Any, make_world: Any) -> None:
    world.container("Sandbox")
    with pytest.raises(Conflict) as taken:
        world.container("  sandbox ")
    assert taken.value.facts["reason"] == "name_taken"
    make_world().container("Sandbox")


def test_a_name_is_free_again_when_its_container_is_gone(world: Any) -> None:
    first = world.container("box")
    with world.ctx() as ctx:
        containers.delete_container(ctx, first)
    second = world.container("box")
    _rest(world, second, minutes=21)
    world.container("box")
    assert world.state(second) == "expired"


def test_a_tenant_has_ten_and_gets_a_place_back(world: Any, make_world: Any) -> None:
    made = [world.container() for _ in range(10)]
    with pytest.raises(Forbidden) as full:
        world.container()
    assert full.value.facts["limit"] == 10
    make_world().container()
    with world.ctx() as ctx:
        containers.delete_container(ctx, made[0])
    world.container()


def test_two_that_are_made_at_once_do_not_both_take_the_last_place(world: Any) -> None:
    for _ in range(9):
        world.container()
    outcomes: list[str] = []

    def one() -> None:
        try:
            world.container()
            outcomes.append("made")
        except Forbidden:
            outcomes.append("full")

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["full", "full", "full", "made"]


@pytest.mark.parametrize(
    ("most", "tier", "fine"), [("4g", "4g", True), ("4g", "16g", False), ("64g", "64g", True), ("64g", "2g", False)]
)
def test_only_the_tiers_that_the_server_offers(
    world: Any, bound_containers: Callable[..., None], most: str, tier: str, fine: bool
) -> None:
    bound_containers(memory=most)
    if fine:
        world.container(memory=tier)
    else:
        with pytest.raises(Forbidden):
            world.container(memory=tier)


def test_a_blank_name_is_none(world: Any) -> None:
    with pytest.raises(Invalid):
        world.container("   ")


def test_containers_that_are_switched_off_are_not_made(world: Any, bound_containers: Callable[..., None]) -> None:
    bound_containers("off")
    with pytest.raises(containers.Off):
        world.container()
    assert not containers.available()


def test_the_latest_come_first_and_deleted_ones_not_at_all(world: Any, make_world: Any) -> None:
    make_world().container()
    made = [world.container() for _ in range(4)]
    with world.ctx() as ctx:
        containers.delete_container(ctx, made[1])
        page = containers.list_containers(ctx, OffsetPage(limit=2, offset=0))
        rest = containers.list_containers(ctx, OffsetPage(limit=2, offset=2))
    assert ([each.id for each in page.items], page.total) == ([made[3], made[2]], 3)
    assert [each.id for each in rest.items] == [made[0]]


def test_another_organisations_container_is_not_there(world: Any, make_world: Any) -> None:
    made = world.container()
    other = make_world()
    with other.ctx() as ctx:
        for act in (containers.get, containers.delete_container):
            with pytest.raises(NotFound):
                act(ctx, made)
        with pytest.raises(NotFound):
            containers.bind(ctx, "code_assistant", made)
    assert world.state(made) == "running"


def test_what_is_deleted_stays_as_a_record_and_loses_files_and_agents(world: Any, confined: None) -> None:
    made = world.bound()
    world.run("open('a', 'w').write('x')")
    place = world.folder / made.hex
    assert place.is_dir()
    with world.ctx() as ctx:
        containers.delete_container(ctx, made)
        with pytest.raises(NotFound):
            containers.get(ctx, made)
        with pytest.raises(NotFound):
            containers.delete_container(ctx, made)
    assert world.state(made) == "deleted"
    assert world.settle() == ["containers.discard"]
    assert list(world.folder.iterdir()) == []
    with world.ctx() as ctx:
        assert ctx.session.scalars(select(ContainerBinding)).all() == []


def test_what_happens_to_a_container_is_in_the_audit_trail(world: Any) -> None:
    made = world.bound()
    with world.ctx() as ctx:
        containers.unbind(ctx, "code_assistant")
        containers.delete_container(ctx, made)
    with world.ctx() as ctx:
        entries = ctx.session.scalars(select(AuditEntry).order_by(AuditEntry.sequence)).all()
        actions = [entry.action for entry in entries if entry.action.startswith("container.")]
    assert actions == ["container.create", "container.bind", "container.unbind", "container.delete"]


# --- with files from the start ---------------------------------------------------------------------------------------


def test_files_are_put_in_by_a_job(world: Any, confined: None) -> None:
    first, second = world.stored(b"a,b\n1,2\n", "figures.csv"), world.stored(b"x", "../../notes/..txt")
    made = world.bound(file_ids=[first, second])
    assert world.state(made) == "creating"
    with pytest.raises(Unavailable, match="still being made"):
        world.run("print(1)")
    assert world.settle() == ["containers.prepare"]
    assert world.state(made) == "running"
    ran = world.run("import os; print(sorted(os.listdir()), open('figures.csv').read())")
    assert ran.stdout.startswith("['figures.csv', '")
    assert "a,b\n1,2" in ran.stdout
    assert ran.stdout.count("'") == 4


def test_a_file_that_is_not_there_makes_no_container(world: Any, make_world: Any) -> None:
    theirs = make_world().stored(b"x", "theirs.txt")
    for file_id in (theirs, str(new_id()), "file-9aB3xK"):
        with pytest.raises(NotFound):
            world.container(file_ids=[file_id])
    with world.ctx() as ctx:
        assert containers.list_containers(ctx, OffsetPage()).total == 0


def test_a_file_whose_bytes_have_not_come_yet_makes_no_container(world: Any) -> None:
    whole, file_id = world.stored(b"x", "whole.txt"), world.stored(b"x", "a.txt")
    with world.ctx() as ctx:
        ctx.session.execute(update(StoredObject).where(StoredObject.id == UUID(file_id)).values(state="pending"))
    with pytest.raises(NotFound):
        world.container(file_ids=[whole, file_id])


def test_many_files_are_looked_up_at_once_and_each_counts_once(world: Any) -> None:
    file_ids = [world.stored(b"x", f"{n}.txt") for n in range(12)]
    asked: list[str] = []
    with world.ctx() as ctx:
        engine = ctx.session.get_bind().engine

        def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            asked.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            made = containers.create(ctx, "box", file_ids=[*file_ids, file_ids[0].upper()])
        finally:
            event.remove(engine, "before_cursor_execute", note)
        assert made.file_ids == file_ids
    assert sum("stored_object" in statement for statement in asked) == 1


def test_files_that_do_not_fit_make_an_error_that_holds_no_place(world: Any) -> None:
    made = world.container("box", file_ids=[world.stored(b"x" * (9 << 20), "large.bin")])
    assert world.settle() == ["containers.prepare", "containers.discard"]
    assert world.state(made) == "error"
    with world.ctx() as ctx:
        assert "room for 8 MiB" in (containers.get(ctx, made).failure or "")
        with pytest.raises(Conflict):
            containers.bind(ctx, "code_assistant", made)
    world.container("box")


def test_a_file_that_is_deleted_before_it_was_put_in_makes_an_error(world: Any) -> None:
    file_id = world.stored(b"x", "a.txt")
    made = world.container(file_ids=[file_id])
    with world.ctx() as ctx:
        storage.delete(ctx, UUID(file_id))
    world.settle()
    assert world.state(made) == "error"


def test_a_container_that_is_deleted_while_it_is_made_leaves_nothing(world: Any) -> None:
    made = world.container(file_ids=[world.stored(b"x", "a.txt")])
    with world.ctx() as ctx:
        containers.delete_container(ctx, made)
    world.settle()
    assert world.state(made) == "deleted"
    assert not (world.folder / made.hex).exists()


# --- running code ----------------------------------------------------------------------------------------------------


def test_files_stay_between_runs(world: Any, confined: None) -> None:
    world.bound()
    first = world.run("open('kept.txt', 'w').write('from before')")
    assert [each.path for each in first.changed] == ["kept.txt"]
    assert world.run("print(open('kept.txt').read())").stdout == "from before\n"
    assert world.run("import os; os.remove('kept.txt')").removed == ("kept.txt",)
    assert world.run("import os; print(os.listdir())").stdout == "[]\n"


def test_an_agent_without_a_container_works_in_a_fresh_one_each_time(world: Any, confined: None) -> None:
    world.bound("data_analyst")
    world.run("open('a', 'w').close()", agent="data_analyst")
    for _ in range(2):
        assert world.run("import os; print(os.listdir()); open('b', 'w').close()").stdout == "[]\n"
    with world.ctx() as ctx:
        containers.unbind(ctx, "data_analyst")
    assert world.run("import os; print(os.listdir())", agent="data_analyst").stdout == "[]\n"


def test_binding_again_takes_the_place_of_the_container_before(world: Any, confined: None) -> None:
    first = world.bound()
    world.run("open('a', 'w').close()")
    world.bound()
    assert world.run("import os; print(os.listdir())").stdout == "[]\n"
    with world.ctx() as ctx:
        containers.bind(ctx, "code_assistant", first)
    assert world.run("import os; print(os.listdir())").stdout == "['a']\n"


def test_unbinding_what_is_not_bound_changes_nothing(world: Any) -> None:
    with world.ctx() as ctx:
        containers.unbind(ctx, "code_assistant")


def test_a_failing_program_keeps_what_it_has_written(world: Any, confined: None) -> None:
    world.bound()
    failed = world.run("open('a', 'w').write('x'); 1 / 0")
    assert (failed.ending, failed.lost) == ("failed", False)
    assert "ZeroDivisionError" in failed.stderr
    assert world.run("import os; print(os.listdir())").stdout == "['a']\n"


def test_a_program_that_is_stopped_keeps_what_it_has_written(world: Any, confined: None) -> None:
    world.bound()
    stopped = world.run("f = open('a', 'w'); f.write('x'); f.flush()\nwhile True: pass", seconds=1.5)
    assert stopped.ending == "timeout"
    assert world.run("print(open('a').read())").stdout == "x\n"


def test_what_does_not_fit_takes_the_whole_run_back(world: Any, confined: None) -> None:
    world.bound()
    world.run("open('a', 'w').write('old')")
    lost = world.run(
        """
import os
open('a', 'w').write('new')
with open('hole', 'wb') as f: f.truncate(6 << 20)
os.link('hole', 'again')
"""
    )
    assert lost.lost
    assert world.run("import os; print(os.listdir(), open('a').read())").stdout == "['a'] old\n"


def test_a_run_that_is_killed_in_the_middle_leaves_the_container_as_it_was(world: Any, confined: None) -> None:
    """The worker goes: `beat` stands for it."""
    made = world.bound()
    world.run("open('a', 'w').write('old')")

    class Killed(BaseException):
        pass

    started = time.monotonic()

    def beat() -> None:
        if time.monotonic() - started > 1:
            raise Killed

    with pytest.raises(Killed):
        world.run("f = open('a', 'w'); f.write('new'); f.flush()\nwhile True: pass", beat=beat)
    assert world.run("print(open('a').read())").stdout == "old\n"
    assert len([entry for entry in (world.folder / made.hex).iterdir() if entry.name.startswith("tree-")]) == 1


def test_what_a_dead_worker_has_left_is_tidied_by_the_next_run(world: Any, confined: None) -> None:
    made = world.bound()
    world.run("open('a', 'w').write('old')")
    (world.folder / made.hex / "tree-dead").mkdir()
    (world.folder / made.hex / "tree-dead" / "half").write_text("x")
    (world.folder / made.hex / "link-dead").symlink_to("tree-dead")
    assert world.run("import os; print(os.listdir())").stdout == "['a']\n"
    assert sorted(entry.name[:5] for entry in (world.folder / made.hex).iterdir()) == ["now", "tree-"]


def test_a_full_container_can_still_be_entered_and_made_empty(world: Any, confined: None) -> None:
    world.bound()
    filled = world.run(
        """
n = 0
try:
    for n in range(10_000):
        with open(f"f{n}", "wb") as file: file.write(b"x" * (5000 + n))
except OSError:
    print("full")
"""
    )
    assert (filled.stdout, filled.lost) == ("full\n", False)
    emptied = world.run("import os\nfor name in os.listdir(): os.remove(name)\nprint(len(os.listdir()))")
    assert (emptied.stdout, emptied.lost) == ("0\n", False)


def test_a_container_that_became_too_large_by_a_new_setting_says_so(
    world: Any, confined: None, bound_containers: Callable[..., None]
) -> None:
    world.bound()
    world.run("open('a', 'wb').write(b'x' * (3 << 20))")
    bound_containers(megabytes=2)
    with pytest.raises(Unavailable, match="larger than they may be"):
        world.run("print(1)")
    bound_containers(megabytes=4)
    assert world.run("import os; print(os.path.getsize('a'))").stdout == "3145728\n"


def test_runs_of_one_container_wait_for_each_other(world: Any, confined: None) -> None:
    world.bound()
    code = """
import os, time
n = int(open("n").read()) if os.path.exists("n") else 0
time.sleep(0.4)
open("n", "w").write(str(n + 1))
"""
    threads = [threading.Thread(target=world.run, args=(code,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.run("print(open('n').read())").stdout == "2\n"


def test_more_runs_than_there_are_places_wait_and_are_turned_away(
    world: Any, confined: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[Any] = []

    def meanwhile() -> None:
        if not refused:
            monkeypatch.setattr(running, "PATIENCE", 0.2)
            with pytest.raises(Unavailable) as busy:
                world.run("print(1)")
            refused.append(busy.value.facts["retry_after"])

    others = running.AT_ONCE - 1
    for _ in range(others):
        assert running._places.acquire(timeout=20)
    try:
        assert world.run("import time; time.sleep(1.5); print(1)", beat=meanwhile).stdout == "1\n"
    finally:
        running._places.release(others)
    assert refused == [5]
    assert world.run("print(1)").stdout == "1\n"


def test_the_memory_of_the_container_is_its_tier(world: Any, confined: None) -> None:
    world.bound(memory="1g")
    code = "x = bytearray(1200 << 20); print('had it')"
    assert "MemoryError" in world.run(code).stderr


def test_a_container_that_is_deleted_while_code_runs_keeps_nothing(
    world: Any, confined: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "PATIENCE", 60.0)  # the job waits until the code has ended
    made = world.bound()
    settled: list[str] = []
    settling = threading.Thread(target=lambda: settled.extend(world.settle()))

    def meanwhile() -> None:
        if settling.ident is None:
            with world.ctx() as ctx:
                containers.delete_container(ctx, made)
            settling.start()

    with pytest.raises(containers.Gone):
        world.run("import time; time.sleep(1.5); open('a', 'w').write('x')", beat=meanwhile)
    settling.join()
    assert settled == ["containers.discard"]
    assert not (world.folder / made.hex).exists()


def test_a_program_has_a_longest_length(world: Any) -> None:
    with pytest.raises(Invalid):
        world.run("#" * 100_001)


def test_where_there_is_no_sandbox_code_never_runs_and_the_error_says_why(world: Any, refusing: str) -> None:
    made = world.bound()
    with pytest.raises(Unconfined, match="namespaces"):
        world.run("open('a', 'w').write('x')")
    with pytest.raises(Unconfined, match="namespaces"):
        world.run("print(1)", agent="nobody")
    assert world.state(made) == "running"
    with pytest.raises(Unconfined, match="namespaces"):
        containers.chosen().check()


# --- rest -------------------------------------------------------------------------------------------------------------


def _rest(world: Any, container_id: UUID, minutes: float) -> None:
    with world.platform() as ctx:
        found = ctx.session.get(Container, container_id)
        found.expires_at -= timedelta(minutes=minutes)
    with world.platform() as ctx:
        containers.expire(ctx)


def test_one_that_rested_too_long_is_gone_with_its_files(world: Any, confined: None) -> None:
    made = world.bound(rest_minutes=5)
    world.run("open('a', 'w').close()")
    _rest(world, made, minutes=4)
    assert world.state(made) == "running"
    _rest(world, made, minutes=2)
    assert world.state(made) == "expired"
    world.settle()
    assert not (world.folder / made.hex).exists()
    with pytest.raises(containers.Gone):
        world.run("print(1)")
    with world.ctx() as ctx:
        assert containers.get(ctx, made).expires_at is None
        with pytest.raises(Conflict):
            containers.bind(ctx, "data_analyst", made)


def test_a_run_begins_the_rest_anew(world: Any, confined: None) -> None:
    made = world.bound(rest_minutes=5)
    _rest(world, made, minutes=4)
    world.run("print(1)")
    _rest(world, made, minutes=4)
    assert world.state(made) == "running"


def test_the_sweep_drops_workspaces_that_no_row_speaks_of(
    world: Any, confined: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.bound()
    world.run("open('a', 'w').close()")
    orphan = world.folder / new_id().hex
    (orphan / "tree-x").mkdir(parents=True)
    assert containers.sweep(world.platform_work()) == 0  # too young to tell
    monkeypatch.setattr(local, "YOUNG", -1.0)
    work = world.platform_work()
    assert containers.sweep(work) == 1
    assert work.done
    assert not orphan.exists()
    assert (world.folder / made.hex).exists()


def test_the_sweep_holds_no_transaction_while_it_drops_and_leaves_busy_ones_to_the_next(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "YOUNG", -1.0)
    monkeypatch.setattr(local, "PATIENCE", 0.1)
    busy, idle = sorted((world.folder / new_id().hex for _ in range(2)), key=lambda place: place.name)
    for orphan in (busy, idle):
        orphan.mkdir(parents=True)
    work = world.platform_work()
    discard = local.Local.discard

    def watched(self: Any, external_id: str) -> None:
        assert not work.open
        discard(self, external_id)

    monkeypatch.setattr(local.Local, "discard", watched)
    with busy.with_name(f"{busy.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert containers.sweep(work) == 1
    assert work.done
    assert (busy.exists(), idle.exists()) == (True, False)
    assert containers.sweep(world.platform_work()) == 1
    assert not busy.exists()
