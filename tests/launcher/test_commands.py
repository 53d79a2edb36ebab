"""The command line as a user meets it: what it prints, and how it ends."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def thalweg(tmp_path, database_url, valkey_url):
    """Runs a command against the test servers, from a folder that is not the project's."""

    def run(*arguments, stores=True, **environ):
        own = {name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")}
        own |= {"PYTHONPATH": f"{ROOT}:{ROOT}/src", "THALWEG_ROOT": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
        own |= {"THALWEG_DATA_DIR": str(tmp_path / "data")}
        if stores:
            own |= {"THALWEG_DATABASE_URL": database_url, "THALWEG_REDIS_URL": valkey_url}
        return subprocess.run(
            [sys.executable, "-P", "-m", "thalweg", *arguments],
            capture_output=True, text=True, env={**own, **environ}, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_help_lists_every_command(thalweg):
    done = thalweg("--help")
    assert done.returncode == 0
    names = ["up", "serve", "worker", "scheduler", "doctor", "test", "demo", "key", "brain", "jobs", "db", "contract"]
    for name in names:
        assert re.search(rf"│ {name} ", done.stdout), name
    assert "prepare" not in done.stdout


def test_help_imports_neither_domain_nor_edge(thalweg):
    code = "import sys; sys.argv = ['thalweg', '--help']\nfrom thalweg.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += (
        "print(sorted(n for n in sys.modules if n in ('sqlalchemy', 'connexion', 'flask', 'rq', 'domain.identity')))"
    )
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/src", "THALWEG_ROOT": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_settings_end_with_2_and_are_all_named(thalweg):
    done = thalweg("serve", THALWEG_PROT="1", THALWEG_MODEL="gpt")
    assert done.returncode == 2
    assert "THALWEG_PROT" in done.stderr
    assert "THALWEG_PORT?" in done.stderr
    assert "THALWEG_MODEL" in done.stderr
    assert "Traceback" not in done.stderr


def test_serving_without_stores_names_what_is_missing(thalweg):
    for command in (["serve"], ["worker"], ["scheduler"]):
        done = thalweg(*command, stores=False)
        assert done.returncode == 2
        assert "THALWEG_DATABASE_URL" in done.stderr
        assert "THALWEG_REDIS_URL" in done.stderr


def test_production_does_not_serve_without_keys(thalweg):
    done = thalweg("serve", THALWEG_ENVIRONMENT="production")
    assert done.returncode == 2
    assert "THALWEG_SECRET_KEYS" in done.stderr


def test_an_unknown_surface_is_named_with_those_that_there_are(thalweg):
    done = thalweg("up", "--surface", "thallium")
    assert done.returncode == 1
    assert "thallium" in done.stderr
    assert "thalium" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_ends_with_2(thalweg):
    assert thalweg("serv").returncode == 2


def test_a_key_is_shown_once_works_and_can_be_revoked(thalweg, database):
    from domain import identity
    from domain.kernel.errors import Unauthenticated

    made = thalweg("key", "create", "nightly import", "--scope", "invoke")
    assert made.returncode == 0, made.stderr
    plain = made.stdout.strip()
    assert identity.verify_api_key(database, plain, "thalium").scopes == {"invoke"}
    listed = thalweg("key", "list", "--json")
    [row] = [row for row in json.loads(listed.stdout) if row["name"] == "nightly import"]
    assert plain not in listed.stdout
    assert row["state"] == "active"
    assert thalweg("key", "revoke", row["id"]).returncode == 0
    with pytest.raises(Unauthenticated):
        identity.verify_api_key(database, plain, "thalium")
    assert "revoked" in thalweg("key", "list").stdout


def test_what_the_domain_refuses_is_said_in_its_words(thalweg):
    done = thalweg("key", "create", "x", "--scope", "everything")
    assert done.returncode == 1
    assert "everything" in done.stderr
    assert "Traceback" not in done.stderr
    assert "no organisation" in thalweg("key", "list", "-o", "nobody").stderr


def test_a_brain_can_be_made_and_found(thalweg):
    made = thalweg("brain", "create", "Warehouse")
    assert made.returncode == 0, made.stderr
    listed = thalweg("brain", "list")
    assert made.stdout.strip() in listed.stdout
    assert "warehouse" in listed.stdout


def test_an_operator_sets_plan_networks_and_idle_time_of_an_organisation(thalweg):
    thalweg("key", "create", "one", "-o", "north", "--create")
    assert "plan pro of thallus" in thalweg("organisation", "plan", "north", "thallus", "pro").stdout
    assert "10.0.0.0/8" in thalweg("organisation", "networks", "north", "10.1.2.3/8").stdout
    assert "30 idle minutes" in thalweg("organisation", "idle", "north", "30").stdout
    shown = json.loads(thalweg("organisation", "list", "--json").stdout)
    north = next(row for row in shown if row["slug"] == "north")
    assert "thallus=pro" in north["plans"]
    assert north["networks"] == "10.0.0.0/8"


def test_an_operator_is_told_what_is_wrong_with_a_network_or_a_plan(thalweg):
    thalweg("key", "create", "one", "-o", "south", "--create")
    for wrong in (("networks", "south", "10.0.0.0/99"), ("plan", "south", "thallus", "gold")):
        done = thalweg("organisation", *wrong)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr


def test_the_first_run_greets_with_a_call_to_paste_and_the_next_ones_do_not(thalweg, database_url):
    thalweg("key", "create", "somebody was here")
    greeting = thalweg("demo").stdout
    assert re.search(
        r"curl -N http://127\.0\.0\.1:8080/thalium/v1/brain/[0-9a-f-]{36}/invoke -H 'X-API-Key: \S+'", greeting
    )
    again = thalweg("prepare", "http://127.0.0.1:1", THALWEG_ENVIRONMENT="development")
    assert (again.returncode, again.stdout) == (0, "")


def test_jobs_that_failed_are_listed(thalweg):
    assert thalweg("jobs", "list").stdout == "No jobs are failed.\n"
    assert thalweg("jobs", "retry").returncode == 2
    missing = thalweg("jobs", "retry", "01900000-0000-7000-8000-000000000000")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr


def test_the_database_can_be_upgraded_twice(thalweg):
    assert thalweg("db", "upgrade").returncode == 0
    assert "is at" in thalweg("db", "upgrade").stdout


def test_a_command_without_a_database_says_how_to_get_one_and_makes_none(thalweg, tmp_path):
    done = thalweg("key", "list", stores=False)
    assert done.returncode == 1
    assert "./thalweg up" in done.stderr
    assert not (tmp_path / "data").exists()


# --- doctor -----------------------------------------------------------------------------------------------------------


def found(done) -> dict[str, tuple[str, str]]:
    return {
        check["name"]: (check["state"], check["found"] + " " + check["advice"]) for check in json.loads(done.stdout)
    }


def test_the_doctor_finds_a_sound_installation_sound(thalweg):
    done = thalweg("doctor", "--json")
    checks = found(done)
    states = {name: state for name, (state, _) in checks.items() if name not in ("packages", "thalweg", "valkey")}
    assert set(states.values()) == {"ok"}, checks
    assert {"python", "database", "extensions", "clock", "schema", "models", "files", "mail", "data folder"} <= set(
        states
    )
    assert checks["valkey"][0] == "warn", "the one of the tests has no append-only file"
    assert ":***@" in checks["database"][1], "no password is shown"


def test_the_doctor_works_when_nothing_runs_and_changes_nothing(thalweg, tmp_path):
    checks = found(thalweg("doctor", "--json", stores=False))
    assert checks["database"][0] == checks["valkey"][0] == "ok"
    assert "not made yet" in checks["database"][1]
    assert not (tmp_path / "data").exists()


def test_the_doctor_says_what_to_do_and_ends_with_1_when_something_is_broken(thalweg):
    done = thalweg(
        "doctor", "--json",
        THALWEG_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x",
        THALWEG_REDIS_URL="redis://:hunter2@127.0.0.1:1/0",
        THALWEG_MAIL_URL="smtp://127.0.0.1:1",
    )  # fmt: skip
    checks = found(done)
    assert done.returncode == 1
    for name in ("database", "valkey", "mail"):
        assert checks[name][0] == "fail"
        assert f"THALWEG_{ {'valkey': 'REDIS'}.get(name, name.upper()) }_URL" in checks[name][1]
    assert "hunter2" not in done.stdout + done.stderr


def test_the_doctor_names_wrong_settings_and_looks_at_the_rest(thalweg):
    done = thalweg("doctor", "--json", THALWEG_PORT="high")
    checks = found(done)
    assert done.returncode == 1
    assert "THALWEG_PORT" in checks["settings"][1]
    assert checks["python"][0] == "ok"
