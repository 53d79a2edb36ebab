from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

from workers import registry as registry_module
from workers.registry import BadArguments, Registry, UnknownJob, load_jobs


def act(ctx: Any, args: dict[str, Any]) -> None: ...


class Nested(Schema):
    brain_id = fields.UUID(required=True)
    options = fields.Nested(Schema.from_dict({"depth": fields.Integer(required=True)}))


def test_two_jobs_or_two_cron_entries_of_one_name_are_refused(registry: Registry) -> None:
    registry.cron("* * * * *")(registry.job("a")(act))
    with pytest.raises(ValueError, match="two jobs"):
        registry.job("a")(act)
    with pytest.raises(ValueError, match="two cron entries"):
        registry.cron("* * * * *")(act)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda r: r.job("a", soft=10, hard=5), "soft limit"),
        (lambda r: r.job("a", queue="fast"), "no queue 'fast'"),
        (lambda r: r.cron("every day"), "not a cron expression"),
        (lambda r: r.cron("* * * * *")(act), "stands above @job"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_at_start_up(declare: Any, says: str, registry: Registry) -> None:
    with pytest.raises(ValueError, match=says):
        declare(registry)


def test_cron_arguments_must_fit_the_jobs_schema(registry: Registry) -> None:
    registry.job("a", args=Nested)(act)
    with pytest.raises(BadArguments):
        registry.cron("* * * * *", args={"brain_id": "no"})(act)


def test_arguments_are_loaded_by_the_schema_and_faults_named_by_field_not_by_value(registry: Registry) -> None:
    registry.job("a", args=Nested)(act)
    spec = registry.find("a")
    loaded = spec.load({"brain_id": "01920000-0000-7000-8000-000000000000"})
    assert str(loaded["brain_id"]) == "01920000-0000-7000-8000-000000000000"
    with pytest.raises(BadArguments) as caught:
        spec.load({"brain_id": "s3cret", "options": {"depth": "s3cret"}})
    assert str(caught.value) == (
        "The arguments do not fit: brain_id: Not a valid UUID.; options.depth: Not a valid integer."
    )


def test_an_unknown_job_is_an_error_of_its_own(registry: Registry) -> None:
    with pytest.raises(UnknownJob, match="knows no job 'b'"):
        registry.find("b")


def test_every_module_of_the_jobs_package_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    package = tmp_path / "some_jobs"
    (package / "deeper").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "deeper" / "__init__.py").touch()
    source = "from workers import registry\n@registry.registry.job('{0}')\ndef act(work, args): ...\n"
    (package / "one.py").write_text(source.format("one"))
    (package / "deeper" / "two.py").write_text(source.format("two"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry_module, "registry", registry)
    assert set(load_jobs("some_jobs").jobs) == {"one", "two"}
    for name in [name for name in sys.modules if name.startswith("some_jobs")]:
        del sys.modules[name]
