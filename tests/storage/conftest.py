"""A world for files: organisations, a folder or a bucket to keep them in, and a job's hold on the platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from domain import identity, storage
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from domain.kernel.ids import new_id
from domain.storage import binding
from domain.storage.ports import BlobStore
from tests.fakes import FakeWork

BUCKET = "thalweg-tests"


@dataclass
class World:
    """One organisation and the store that is bound."""

    database: Database
    organisation_id: UUID
    store: BlobStore
    root: Path | None = None

    def context(self, organisation_id: UUID | None = None, **more: Any) -> AbstractContextManager[Ctx]:
        return self.database.context(SystemActor("test"), organisation_id or self.organisation_id, **more)

    def work(self, organisation_id: UUID | None = None) -> FakeWork:
        return FakeWork(self.database, organisation_id or self.organisation_id, seconds=60.0)

    def platform_work(self) -> FakeWork:
        return FakeWork(self.database, None, seconds=60.0)

    def usage(self) -> storage.Usage:
        with self.context() as ctx:
            return storage.usage(ctx)

    def blobs(self) -> set[str]:
        """Every blob of the organisation."""
        return {entry.key for entry in self.store.entries(str(self.organisation_id))}

    def found(self) -> UUID:
        """Another organisation."""
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            return identity.create_organisation(ctx, name="Other", slug=f"o-{new_id().hex}").id


@pytest.fixture
def organisation(database: Database) -> UUID:
    with database.context(SystemActor("test"), None, platform=True) as ctx:
        return identity.create_organisation(ctx, name="Test", slug=f"t-{new_id().hex}").id


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Callable[..., BlobStore]]:
    """Bind a store: `bind(blob_url=None, quota=0, largest=512 MiB)`."""
    before = binding._bound

    def make(blob_url: str | None = None, *, quota: int = 0, largest: int = 512 << 20) -> BlobStore:
        storage.bind(
            SimpleNamespace(
                blob_url=blob_url,
                data_dir=tmp_path,
                base_url="http://files.test",
                storage_quota_bytes=quota,
                storage_file_bytes=largest,
            )
        )
        return binding.bound().store

    yield make
    binding._bound = before


@pytest.fixture
def folder(database: Database, organisation: UUID, bind: Callable[..., BlobStore], tmp_path: Path) -> World:
    """Files in a folder."""
    return World(database, organisation, bind(), tmp_path / "files")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server on loopback that speaks S3."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(
    database: Database,
    organisation: UUID,
    bind: Callable[..., BlobStore],
    s3_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Files on S3."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return World(database, organisation, bind(f"s3://{BUCKET}/files"))


@pytest.fixture(params=["folder", "bucket"])
def world(request: pytest.FixtureRequest) -> World:
    """Both."""
    made: World = request.getfixturevalue(request.param)
    return made
