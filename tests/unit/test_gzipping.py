"""Parts that are compressed separately form one stream that any reader can read."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.show.gzip_parts import part, stream


@given(st.lists(st.binary(max_size=200), max_size=6), st.binary(max_size=200))
def test_what_comes_out_is_what_went_in(data: list[bytes], end: bytes) -> None:
    parts = [part(each) for each in data]
    assert gzip.decompress(b"".join(stream(parts).ended_by(end))) == b"".join(data) + end
    assert [each.plain() for each in parts] == data


@pytest.mark.parametrize("size", [0, 1, 8_191, 8_192, 8_193, 10_240, 65_535, 3_000_000])
def test_it_is_one_member_of_any_size(size: int) -> None:
    data = b"0123456789" * (size // 10) + b"x" * (size % 10)
    assert part(data).plain() == data
    whole = b"".join(stream([part(data), part(b"small"), part(data)]).ended_by(b"end"))
    reader = zlib.decompressobj(31)
    assert reader.decompress(whole) == data + b"small" + data + b"end"
    assert reader.eof
    assert reader.unused_data == b""
