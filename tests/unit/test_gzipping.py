"""Parts that are compressed separately form one stream that any reader can read."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.show.gzip_parts import part, stream


@given(st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=6), st.binary(max_size=200))
def test_what_comes_out_is_what_went_in(parts: list[list[bytes]], end: bytes) -> None:
    whole = b"".join(stream([part(pieces) for pieces in parts]).ended_by(end))
    expected = b"".join(piece for pieces in parts for piece in pieces) + end
    assert gzip.decompress(whole) == expected


@pytest.mark.parametrize("size", [0, 1, 8_191, 8_192, 8_193, 10_240, 65_535, 3_000_000])
def test_it_is_one_member_of_any_size(size: int) -> None:
    data = b"0123456789" * (size // 10) + b"x" * (size % 10)
    whole = b"".join(stream([part([data]), part([b"small"]), part([data])]).ended_by(b"end"))
    reader = zlib.decompressobj(31)
    assert reader.decompress(whole) == data + b"small" + data + b"end"
    assert reader.eof
    assert reader.unused_data == b""
