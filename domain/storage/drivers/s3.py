"""Blobs in a bucket of S3 or of a server that speaks its protocol.

Credentials, region and endpoint come from where the AWS tools read them (environment, profile, instance role;
`AWS_ENDPOINT_URL_S3` for another server).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.kernel.errors import NotFound, Unavailable
from domain.storage.ports import Entry, Link

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from types_boto3_s3 import S3Client

PART = 5 * 1024 * 1024
"""Bytes of a part: the smallest that S3 takes, because this is what an upload holds in memory. Parts grow (see
`_part_size`) so that 10,000 of them hold the largest file."""
PARTS = 10_000

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Store:
    """`BlobStore` in a bucket, below an optional prefix."""

    native_links = True

    def __init__(self, bucket: str, prefix: str = "", client: S3Client | None = None) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client: S3Client = client or boto3.client(
            "s3",
            config=Config(
                signature_version="s3v4",
                retries={"max_attempts": 4, "mode": "standard"},
                connect_timeout=5,
                read_timeout=30,
                max_pool_connections=32,
                # other servers do not know the newer checksums
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def writer(self, key: str) -> S3Writer:
        return S3Writer(self._client, self.bucket, self._prefix + key)

    def open(self, key: str) -> BinaryIO:
        size = self.size(key)
        if size is None:
            raise NotFound("The file is not there.")
        return io.BufferedReader(_Ranged(self._client, self.bucket, self._prefix + key, size), 64 * 1024)

    def size(self, key: str) -> int | None:
        try:
            with _reported():
                return self._client.head_object(Bucket=self.bucket, Key=self._prefix + key)["ContentLength"]
        except NotFound:
            return None

    def path(self, key: str) -> Path | None:
        return None

    def delete(self, key: str) -> None:
        with suppress(NotFound), _reported():
            self._client.delete_object(Bucket=self.bucket, Key=self._prefix + key)

    def copy(self, source: str, target: str) -> None:
        with _reported():
            self._client.copy_object(
                Bucket=self.bucket,
                Key=self._prefix + target,
                CopySource={"Bucket": self.bucket, "Key": self._prefix + source},
            )

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        with _reported():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    yield Entry(found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"])

    def clear(self, before: datetime) -> int:
        dropped = 0
        with _reported():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self._prefix
            )
            for page in pages:
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < before:
                        with suppress(NotFound), _reported():
                            self._client.abort_multipart_upload(
                                Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                            )
                            dropped += 1
        return dropped

    def upload_link(self, key: str, media_type: str, size: int, sha256: bytes | None, seconds: int) -> Link:
        """Type, length and sum are signed: the store itself refuses anything else."""
        given: dict[str, Any] = {"ContentType": media_type, "ContentLength": size}
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        if sha256 is not None:
            given["ChecksumSHA256"] = headers["x-amz-checksum-sha256"] = base64.b64encode(sha256).decode()
        return Link(self._signed("put_object", key, seconds, given), "PUT", headers, seconds)

    def download_link(self, key: str, name: str, media_type: str, seconds: int) -> Link:
        given = {
            "ResponseContentType": media_type,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        return Link(self._signed("get_object", key, seconds, given), "GET", {}, seconds)

    def check(self) -> None:
        key = f"{self._prefix}check/{uuid4()}"
        with _reported():
            self._client.put_object(Bucket=self.bucket, Key=key, Body=b"thalweg")
            try:
                said = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            finally:
                self._client.delete_object(Bucket=self.bucket, Key=key)
        if said != b"thalweg":
            raise Unavailable("The file storage does not keep what is written to it.")

    def _signed(self, act: str, key: str, seconds: int, given: dict[str, Any]) -> str:
        with _reported():
            return self._client.generate_presigned_url(
                act, Params={"Bucket": self.bucket, "Key": self._prefix + key, **given}, ExpiresIn=seconds
            )


class S3Writer:
    """`BlobWriter`: one request for what fits into a part, else a multi-part upload. Holds one part in memory."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client, self._bucket, self._key = client, bucket, key
        self._held = bytearray()
        self._upload: str | None = None
        self._parts: list[Any] = []
        self._done = False

    def write(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) >= _part_size(len(self._parts)):
            self._send()

    def adopt(self, path: str) -> bool:
        return False  # a bucket is fed by reading

    def commit(self) -> None:
        if self._done:
            raise Unavailable("The upload was given up.")
        if self._upload is None:
            with _reported():
                self._client.put_object(Bucket=self._bucket, Key=self._key, Body=self._held)  # type: ignore[arg-type]
        else:
            if self._held:
                self._send()
            with _reported():
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=self._key,
                    UploadId=self._upload,
                    MultipartUpload={"Parts": self._parts},
                )
        self._done = True
        self._held = bytearray()

    def abort(self) -> None:
        if self._done:
            return
        self._done = True
        self._held = bytearray()
        if self._upload is not None:
            with suppress(NotFound), _reported():
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)

    def _send(self) -> None:
        if self._done:
            raise Unavailable("The upload was given up.")
        where: dict[str, Any] = {"Bucket": self._bucket, "Key": self._key}
        with _reported():
            if self._upload is None:
                self._upload = self._client.create_multipart_upload(**where)["UploadId"]
            number = len(self._parts) + 1
            part: Any = self._held  # a copy would double what an upload holds
            said = self._client.upload_part(**where, UploadId=self._upload, PartNumber=number, Body=part)
        self._parts.append({"PartNumber": number, "ETag": said["ETag"]})
        self._held = bytearray()


class _Ranged(io.RawIOBase):
    """A blob read by ranges: one request for as long as it is read in order."""

    def __init__(self, client: S3Client, bucket: str, key: str, size: int) -> None:
        self._client, self._bucket, self._key, self._size = client, bucket, key, size
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        if at != self._at:
            self._at = at
            self._hang_up()
        return at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._size:
            return 0
        with _reported():
            if self._body is None:
                self._body = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._at}-")[
                    "Body"
                ]
            piece = self._body.read(len(view))
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def _part_size(number: int) -> int:
    """5 MiB, doubled each 2,000 parts: 10,000 of them hold 310 GiB."""
    return PART << (number // 2_000)


@contextmanager
def _reported() -> Iterator[None]:
    """The SDK's errors as the domain's; bucket, key and answer stay here."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _ABSENT:
            raise NotFound("The file is not there.") from None
        raise Unavailable(f"The file storage failed ({code[:60] or 'no reason given'}).") from None
    except (BotoCoreError, OSError) as error:
        raise Unavailable(f"The file storage failed ({type(error).__name__}).") from None
