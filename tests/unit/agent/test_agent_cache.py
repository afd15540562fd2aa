"""Artifacts by digest: checked on read, dropped by use."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.agent.cache import ArtifactCache
from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.testing.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def cache_of(tmp_path: Path, clock: FakeClock, limit_bytes: int = 100) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", limit_bytes, clock=clock)


def put(cache: ArtifactCache, clock: FakeClock, data: bytes) -> str:
    digest = digest_bytes(data)
    clock.advance(1_000_000_000)
    cache.partial(digest).write_bytes(data)
    cache.admit(digest)
    return digest


def test_what_is_put_in_comes_out(tmp_path: Path, clock: FakeClock) -> None:
    cache = cache_of(tmp_path, clock)
    digest = put(cache, clock, b"model")
    target = tmp_path / "out"
    assert cache.copy_to(digest, target)
    assert target.read_bytes() == b"model"
    assert not cache.copy_to(digest_bytes(b"other"), tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]


def test_what_comes_out_shares_nothing_with_the_cache(tmp_path: Path, clock: FakeClock) -> None:
    cache = cache_of(tmp_path, clock)
    digest = put(cache, clock, b"model")
    cache.copy_to(digest, tmp_path / "out")
    (tmp_path / "out").write_bytes(b"changed in place")
    assert cache.copy_to(digest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"model"


def test_a_damaged_file_counts_as_absent_and_is_removed(tmp_path: Path, clock: FakeClock) -> None:
    cache = cache_of(tmp_path, clock)
    digest = put(cache, clock, b"model")
    (stored,) = (tmp_path / "cache").iterdir()
    stored.write_bytes(b"m0del")
    assert not cache.copy_to(digest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_wrong_bytes_are_not_admitted(tmp_path: Path, clock: FakeClock) -> None:
    cache = cache_of(tmp_path, clock)
    digest = digest_bytes(b"model")
    cache.partial(digest).write_bytes(b"something else")
    with pytest.raises(EdgeconvError) as caught:
        cache.admit(digest)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_longest_unused_goes_first(tmp_path: Path, clock: FakeClock) -> None:
    cache = cache_of(tmp_path, clock, limit_bytes=100)
    first = put(cache, clock, b"1" * 40)
    second = put(cache, clock, b"2" * 40)
    clock.advance(1_000_000_000)
    assert cache.copy_to(first, tmp_path / "used")
    third = put(cache, clock, b"3" * 40)
    kept = [cache.copy_to(digest, tmp_path / "out") for digest in (first, second, third)]
    assert kept == [True, False, True]


def test_a_file_larger_than_the_limit_is_there_until_the_next_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    cache = cache_of(tmp_path, clock, limit_bytes=10)
    large = put(cache, clock, b"1" * 40)
    assert cache.copy_to(large, tmp_path / "out")
    put(cache, clock, b"2")
    assert not cache.copy_to(large, tmp_path / "out2")


@pytest.mark.parametrize("digest", ["", "../etc/passwd", "sha256:..", "md5:" + "0" * 64])
def test_what_is_no_digest_names_no_file(tmp_path: Path, clock: FakeClock, digest: str) -> None:
    with pytest.raises(EdgeconvError) as caught:
        cache_of(tmp_path, clock).partial(digest)
    assert caught.value.reason is Reason.FIELD_INVALID
