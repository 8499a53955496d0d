"""A list's records as they were sent: the quick way against the exact one, and both against hostile documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.errors import MappingError
from wire import records
from wire.records import split_records
from wire.strict_json import parse_value

from .json_values import VALUES


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=5), VALUES, st.sampled_from([None, 2]))
def test_splits_an_array_into_the_bytes_as_sent(records: list[Any], other: Any, indent: int | None) -> None:
    document = {"before": other, "data": {"orders": {"total": 3, "nodes": records}, "x": other}, "after": [other]}
    data = json.dumps(document, indent=indent, ensure_ascii=False).encode()
    whole, parts = split_records(data, "data.orders.nodes")
    assert whole == document
    assert [value for _, value in parts] == records
    position = 0
    for raw, value in parts:
        assert parse_value(raw) == value
        position = data.index(raw, position) + len(raw)


def test_splits_keep_spacing_escapes_and_number_text() -> None:
    data = b' { "o" : [ {"a" : 1.50 , "b":"\\u4e2d"} , 2.0 ] , "n":1 } '
    whole, parts = split_records(data, "o")
    assert [raw for raw, _ in parts] == [b'{"a" : 1.50 , "b":"\\u4e2d"}', b"2.0"]
    assert whole == parse_value(data)
    assert split_records(b"[1,2]", "")[1] == [(b"1", 1), (b"2", 2)]


@pytest.mark.parametrize("data", [b"{}", b'{"o":null}', b'{"o":{"p":1}}', b'{"error":"x"}', b"[]", b'"o"'])
def test_an_absent_list_is_an_error_unless_the_source_is_known_for_it(data: bytes) -> None:
    with pytest.raises(MappingError) as caught:
        split_records(data, "o")
    assert (caught.value.code, caught.value.path) == ("records_missing", "o")
    assert split_records(data, "o", missing_ok=True)[1] == []


@pytest.mark.parametrize(
    "data", [b'{"o":[1],"o":[2]}', b'{"o":[1]', b'{"o":[1,]}', b'{"o":[1]}x', b"{o:[1]}", b'{"o" [1]}']
)
def test_a_broken_page_gives_no_records_at_all(data: bytes) -> None:
    with pytest.raises(MappingError):
        split_records(data, "o")


def test_split_records_are_cleaned_like_whole_documents() -> None:
    whole, parts = split_records(b'{"o":[{"n":"a\\u0000"}]}', "o")
    assert parts == [(b'{"n":"a\\u0000"}', {"n": "a�"})]
    assert whole == {"o": [{"n": "a�"}]}


def written(value: Any) -> bytes:
    """As orjson writes it, whatever its numbers."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def told(data: bytes, path: str, *, exact: bool) -> str:
    with pytest.MonkeyPatch.context() as patch:
        if exact:
            patch.setattr(records, "_quick_elements", lambda *_: None)
        try:
            return repr(split_records(data, path))
        except MappingError as error:
            return repr((error.code, error.detail, error.path))


FRACTIONS = st.decimals(-(10**17), 10**17, places=4).map(lambda d: format(d, "f").encode()) | st.sampled_from(
    [
        b"1.50",
        b"0.0825",
        b"-0.0",
        b"1.0",
        b"1e5",
        b"1e16",
        b"10000000000000000.0",
        b"0.00001",
        b"0.10000000000000000555",
    ]
)
SPELLED = (
    VALUES.map(written)
    | FRACTIONS
    | st.tuples(VALUES.map(written), FRACTIONS).map(lambda both: b'{"a":%b,"rate":[%b]}' % both)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | VALUES.map(lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode())
    | st.text('{}[]":,\\/u0e.-+12 \n中\x7f', max_size=8).map(str.encode)
    | st.sampled_from(
        [
            b'"\\/"',
            b'"\\u0026"',
            b'"\\u0000"',
            b'"\\ud83d\\ude00"',
            b'{"a":1,"a":1}',
            b"18446744073709551615",
            b"-0",
            b"1 2",
            b'".5]"',
            b'"\\".5]"',
        ]
    )
)
SPACES = st.sampled_from([b"", b"", b"", b" ", b"\n\t"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SPACES, SPELLED, SPACES), max_size=5), SPELLED, SPELLED, st.booleans())
@example([(b"", b"1", b""), (b"", b"2", b"")], b"[1,2]", b'[[1,2],"[1,2]"]', True)
@example([(b"", b"1.5", b"")], b"[1.5]", b"2.0", False)
@example([], b"1.50", b"null", False)
def test_the_quick_way_finds_what_the_exact_way_finds(
    parts: list[tuple[bytes, bytes, bytes]], before: bytes, after: bytes, twice: bool
) -> None:
    array = b"[" + b",".join(a + record + z for a, record, z in parts) + b"]"
    again = b',"nodes":[1]' if twice else b""
    data = b'{"\xe4\xb8\xad":' + before + b',"o":{"nodes":' + array + again + b'},"x":' + after + b"}"
    assert told(data, "o.nodes", exact=False) == told(data, "o.nodes", exact=True)
    assert told(array, "", exact=False) == told(array, "", exact=True)


@settings(max_examples=200, deadline=None)
@given(st.text('{}[]":,\\/e.-+0123456789 \n\ufeffa中\x7f', max_size=24).map(str.encode))
@example(b'{"a":[1],"a":[1]}')
@example(b'{"a":[12345678901234567890]}')
@example(b'{"a":[9999999999999999999,-0,1e16]}')
@example(b'{"a":[' * 16 + b"[1]" + b"]}" * 16)
@example(b'{"a":[' * 16 + b"1" + b"]}" * 16)
@example(b'{"a":["\x7f","\xef\xbf\xbf"]}')
@example(b'{"a":["' + b"x" * 65537 + b'"]}')
@example(b'{"a":["' + b"x" * 65536 + b'"],"b":"' + b"y" * 65536 + b'"}')
def test_the_quick_way_refuses_what_the_exact_way_refuses(data: bytes) -> None:
    assert told(data, "a", exact=False) == told(data, "a", exact=True)


@pytest.mark.parametrize("odd", [b'{"note":"a\\/b"}', b'{"note" : 1}', b'{"rate":1.50}', b'{"note":"\\u4e2d","r":0.1}'])
def test_one_oddly_spelled_record_leaves_its_neighbours_the_quick_way(
    odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b'{"o":[{"n":"\xe4\xb8\xad","rate":0.5},' + odd + b',{"n":"\xe4\xb8\xad"}],"cost": 1.0}'
    monkeypatch.setattr(records, "_elements", lambda *_: pytest.fail("the exact way"))
    _, found = split_records(page, "o")
    assert [raw for raw, _ in found] == [b'{"n":"\xe4\xb8\xad","rate":0.5}', odd, b'{"n":"\xe4\xb8\xad"}']
    assert [value for _, value in found] == [parse_value(raw) for raw, _ in found]
