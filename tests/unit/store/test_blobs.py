"""Blobs: what goes in comes out; every way in which a bucket can fail has its own name and no secret in its words."""

from __future__ import annotations

import pytest

from mediaserver.errors import StorageError
from mediaserver.store.blobs import BlobError, BlobMissing, BlobRefused, S3Blobs
from tests.support import s3


async def test_what_goes_into_the_bucket_comes_out_again(moto_endpoint: str, bucket: str) -> None:
    blobs = s3.blobs(moto_endpoint, bucket=bucket)
    data = bytes(range(256)) * 1_000
    await blobs.put("2026/x/1.journal.0000", data)
    await blobs.put("2026/x/manifest.jsonl", b"one")
    await blobs.put("2026/x/manifest.jsonl", b"two")
    await blobs.put("2026/xy/other", b"three")
    assert await blobs.get("2026/x/1.journal.0000") == data
    assert await blobs.get("2026/x/manifest.jsonl") == b"two"
    assert await blobs.size("2026/x/1.journal.0000") == 256_000
    assert await blobs.size("2026/x/2.journal.0000") is None
    assert sorted(await blobs.names("2026/x")) == ["2026/x/1.journal.0000", "2026/x/manifest.jsonl"]
    await blobs.delete(await blobs.names("2026/x"))
    await blobs.delete(["2026/x/manifest.jsonl"])
    assert await blobs.names("2026/x") == []
    assert await blobs.get("2026/xy/other") == b"three"
    with pytest.raises(BlobMissing):
        await blobs.get("2026/x/manifest.jsonl")


async def test_a_bucket_that_is_not_there_is_a_refusal(moto_endpoint: str) -> None:
    blobs = s3.blobs(moto_endpoint, bucket="nowhere")
    with pytest.raises(BlobRefused, match="S3 bucket nowhere: answers 404 NoSuchBucket"):
        await blobs.put("x", b"x")
    with pytest.raises(BlobRefused):
        await blobs.get("x")


async def test_who_is_refused_is_told_the_code_and_no_secret(faulty: s3.FaultyS3) -> None:
    blobs = s3.blobs(faulty.endpoint)
    faulty.fault = "403"
    with pytest.raises(BlobRefused) as told:
        await blobs.put("x", b"x")
    assert str(told.value) == "S3 bucket recordings: answers 403 SignatureDoesNotMatch"
    assert told.value.reason == "refused"
    assert s3.SECRET not in repr(vars(blobs)) + repr(s3.settings(faulty.endpoint))


@pytest.mark.parametrize(("fault", "words"), [("503", "answers 503 SlowDown"), ("silent", "does not answer")])
async def test_a_bucket_that_is_overloaded_or_silent_is_unavailable(
    faulty: s3.FaultyS3, fault: str, words: str
) -> None:
    blobs = s3.blobs(faulty.endpoint, timeout_s=0.3)
    faulty.fault = fault
    with pytest.raises(BlobError, match=words) as told:
        await blobs.get("x")
    assert told.value.reason == "unavailable"


async def test_a_bucket_where_nobody_listens_is_unavailable(faulty: s3.FaultyS3) -> None:
    faulty.close()
    with pytest.raises(BlobError, match="does not answer") as told:
        await s3.blobs(faulty.endpoint).put("x", b"x")
    assert told.value.reason == "unavailable"


async def test_a_request_is_tried_again_at_once_a_bounded_number_of_times(faulty: s3.FaultyS3) -> None:
    faulty.fault = "503"
    blobs = S3Blobs(s3.settings(faulty.endpoint), tries=3, try_pause_s=0.001)
    with pytest.raises(BlobError):
        await blobs.get("x")
    assert len(faulty.asked) == 3


def test_without_the_package_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(StorageError, match=r"pip install 'mediaserver\[s3\]'"):
        S3Blobs(s3.settings("http://127.0.0.1:1"))
