"""What an operator sets, and what they are told when it is wrong."""

import json
import pickle
from pathlib import Path

import pytest

from thalweg.config import Secret, Settings, SettingsError, environment_of, load
from thalweg.config_page import page
from thalweg.settings import FIELDS

KEY = "k1:" + "A" * 43 + "="


def problems(environ, **given):
    with pytest.raises(SettingsError) as caught:
        load(environ, **given)
    return {problem.name: str(problem) for problem in caught.value.problems}


def test_without_anything_the_defaults_hold(tmp_path):
    settings = load({}, root=tmp_path)
    assert (settings.host, settings.port, settings.environment) == ("127.0.0.1", 8080, "production")
    assert settings.data_dir == tmp_path / ".data"
    assert settings.database_url is None


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path):
    (tmp_path / "thalweg.toml").write_text('port = 1\nhost = "file"\nmodel = "demo"\n')
    environ = {"THALWEG_PORT": "2", "THALWEG_HOST": "variable"}
    settings = load(environ, root=tmp_path, overrides={"port": 3, "host": None})
    assert (settings.port, settings.host, settings.model) == (3, "variable", "demo")


def test_what_a_command_prefers_gives_way_to_what_is_set(tmp_path):
    prefers = {"environment": "development"}
    assert load({}, root=tmp_path, defaults=prefers).environment == "development"
    assert load({"THALWEG_ENVIRONMENT": "test"}, root=tmp_path, defaults=prefers).environment == "test"


def test_everything_that_is_wrong_is_said_at_once_with_its_origin_and_what_is_allowed(tmp_path):
    (tmp_path / "thalweg.toml").write_text("prt = 1\napi_threads = 0\n")
    found = problems({"THALWEG_PORT": "x", "THALWEG_HOTS": "a", "THALWEG_MODEL": "gpt"}, root=tmp_path)
    assert "THALWEG_PORT" in found["port"]
    assert "0 to 65535" in found["port"]
    assert "THALWEG_HOST" in found["hots"]
    assert found["prt"] == "thalweg.toml: prt: there is no such setting. Did you mean port?"
    assert "thalweg.toml: api_threads" in found["api_threads"]
    assert "openai:<name>" in found["model"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"), ("port", "8080.5"), ("port", ""[:0] + "-1"), ("port", "９９９９９"), ("api_processes", "0"),
        ("metrics", "perhaps"), ("environment", "prod"), ("environment", "Production"), ("log_level", "INFO"),
        ("database_url", "mysql://a:b@c/d"), ("database_url", "postgresql://"), ("redis_url", "http://a"),
        ("blob_url", "s3://"), ("blob_url", "ftp://a"), ("public_url", "example.com"), ("public_url", "https://a b"),
        ("otel_endpoint", "http://host:99999999"), ("trusted_proxies", "10.0.0.0/8,nonsense"),
        ("trusted_proxies", "10.0.0.0/99"), ("cors_origins", "https://a/path"), ("cors_origins", "example.com"),
        ("secret_keys", "short"), ("secret_keys", "k1:" + "A" * 42), ("secret_keys", "k 1:" + "A" * 43),
        ("limits", "a"), ("limits", "a=0/minute"), ("limits", "a=5/fortnight"), ("stream_life_seconds", "nan"),
        ("stream_heartbeat_seconds", "inf"), ("metrics_basic_auth", "nocolon"), ("mail_url", "mail.example.com"),
        ("model", "openai:"), ("vision_model", "extractive"), ("data_dir", "a\0b"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_refused(name, value, tmp_path):
    assert set(problems({f"THALWEG_{name.upper()}": value}, root=tmp_path)) == {name}


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("port", "0", 0), ("metrics", "off", False), ("metrics", "TRUE", True), ("queues", "a, b ,", ("a", "b")),
        ("trusted_proxies", "10.1.2.3/8,::1", ("10.1.2.3/8", "::1")), ("cors_origins", "*", ("*",)),
        ("stream_life_seconds", "1.5", 1.5), ("blob_url", "file:///srv/x", "file:///srv/x"),
        ("model", "openai:gpt-4.1", "openai:gpt-4.1"), ("secret_keys", KEY, (Secret(KEY),)),
        ("limits", "a.b=5/minute, c=1/day", {"a.b": {"rate": "5/minute"}, "c": {"rate": "1/day"}}),
    ],
)  # fmt: skip
def test_a_variable_is_read_as_its_setting_means_it(name, value, wanted, tmp_path):
    assert getattr(load({f"THALWEG_{name.upper()}": f" {value} "}, root=tmp_path), name) == wanted


def test_a_file_may_say_the_same_in_its_own_words(tmp_path):
    (tmp_path / "thalweg.toml").write_text(
        'port = 81\nmetrics = false\nqueues = ["a", "b"]\nstream_life_seconds = 2\n'
        f'secret_keys = ["{KEY}"]\ndata_dir = "here"\n'
        '[limits]\n"x.y" = "5/hour"\n"x.z" = { rate = "1/second", per = "user" }\n'
    )
    settings = load({}, root=tmp_path)
    assert (settings.port, settings.metrics, settings.queues) == (81, False, ("a", "b"))
    assert settings.limits["x.z"] == {"rate": "1/second", "per": "user"}
    assert settings.data_dir == tmp_path / "here"  # beside the file that says so


def test_a_relative_folder_in_a_variable_is_meant_from_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load({"THALWEG_DATA_DIR": "x"}, root=Path("/")).data_dir == tmp_path / "x"


def test_an_empty_variable_counts_as_not_set(tmp_path):
    assert load({"THALWEG_PORT": "", "THALWEG_DATABASE_URL": " "}, root=tmp_path).port == 8080


def test_a_named_file_has_to_be_there_and_has_to_be_toml(tmp_path):
    assert "there is no file" in problems({"THALWEG_CONFIG": str(tmp_path / "gone.toml")})["config"]
    (tmp_path / "bad.toml").write_text("port = = 1")
    assert "cannot be read" in problems({"THALWEG_CONFIG": str(tmp_path / "bad.toml")})["config"]


def test_variables_of_tests_and_of_others_are_left_alone(tmp_path):
    load({"THALWEG_TEST_ANYTHING": "1", "PATH": "x", "THALWEGX": "y", "THALWEG_ROOT": "/"}, root=tmp_path)


# --- secrets ----------------------------------------------------------------------------------------------------------


SECRETS = {
    "THALWEG_DATABASE_URL": "postgresql://me:hunter2@db/x",
    "THALWEG_REDIS_URL": "redis://:hunter2@host/0",
    "THALWEG_OPENAI_API_KEY": "hunter2-key",
    "THALWEG_SECRET_KEYS": KEY,
    "THALWEG_MAIL_URL": "smtp://me:hunter2@mail:587",
    "THALWEG_METRICS_BASIC_AUTH": "me:hunter2",
}


def test_no_secret_is_printed(tmp_path):
    settings = load(SECRETS, root=tmp_path)
    shown = f"{settings} {settings!r} {settings.database_url} {settings.openai_api_key:}"
    assert "hunter2" not in shown
    assert "AAAA" not in shown
    assert "postgresql://me:***@db/x" in shown
    assert settings.database_url.reveal() == SECRETS["THALWEG_DATABASE_URL"]


@pytest.mark.parametrize("spoil", [lambda secret: json.dumps(secret), lambda secret: pickle.dumps(secret)])
def test_a_secret_does_not_leave_by_the_back_door(spoil):
    with pytest.raises(TypeError):
        spoil(Secret("hunter2"))


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if "Secret" in str(field.type)])
def test_the_error_about_a_secret_does_not_show_it(name, tmp_path):
    found = problems({f"THALWEG_{name.upper()}": "hunter2\nmore"}, root=tmp_path)
    assert "hunter2" not in found[name]


def test_a_url_with_a_password_is_refused_where_it_would_be_printed(tmp_path):
    found = problems({"THALWEG_PUBLIC_URL": "https://me:hunter2@example.com"}, root=tmp_path)
    assert "hunter2" not in found["public_url"]


# --- handing settings on ----------------------------------------------------------------------------------------------


def test_what_is_handed_to_a_child_arrives_unchanged(tmp_path):
    given = {
        "port": 0, "metrics": False, "queues": ("a", "b"), "data_dir": tmp_path, "secret_keys": (Secret(KEY),),
        "database_url": Secret("postgresql://a:b@c/d?host=/x%20y"), "surfaces": (), "public_url": None,
    }  # fmt: skip
    settings = load(environment_of(given))
    for name, value in given.items():
        assert getattr(settings, name) == value, name


def test_an_unknown_setting_is_not_handed_on():
    with pytest.raises(KeyError):
        environment_of({"prot": 1})


def test_a_setting_that_a_command_cannot_do_without_is_named():
    with pytest.raises(SettingsError) as caught:
        Settings().need("database_url", "redis_url", "host")
    assert [problem.origin for problem in caught.value.problems] == ["THALWEG_DATABASE_URL", "THALWEG_REDIS_URL"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "http://127.0.0.1:8080"), ({"host": "0.0.0.0", "port": 1}, "http://127.0.0.1:1"),
        ({"host": "::"}, "http://[::1]:8080"), ({"host": "fe80::1"}, "http://[fe80::1]:8080"),
        ({"public_url": "https://a.example/"}, "https://a.example"),
    ],
)  # fmt: skip
def test_links_are_made_from_what_partners_can_reach(given, wanted):
    assert Settings(**given).base_url == wanted


# --- documentation ----------------------------------------------------------------------------------------------------


def test_the_page_of_the_documentation_is_current():
    written = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert written.read_text(encoding="utf-8") == page(), "python -m thalweg.config_page > docs/configuration.md"


def test_every_default_is_allowed():
    for name, field in FIELDS.items():
        default = getattr(Settings(), name)
        if default not in (None, ()) and name != "limits":
            assert field.metadata["field"].deserialize(default) == default, name
