"""The strict reader against hostile documents, and against `json` on honest ones."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.errors import MappingError
from wire import strict_json
from wire.records import split_records
from wire.strict_json import JsonLimits, dump, parse, parse_value

from .json_values import VALUES


def code_of(data: bytes, **kw: Any) -> str:
    with pytest.raises(MappingError) as caught:
        parse(data, **kw)
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'\xef\xbb\xbf{"a":1}', "encoding"),
        ('{"a":1}'.encode("utf-16"), "encoding"),
        ('{"a":1}'.encode("utf-16-le"), "encoding"),
        ('{"a":"广东省"}'.encode("gbk"), "encoding"),
        (b'{"a":"\xed\xa0\x80"}', "encoding"),
        (b'{"total":"1","total":"999"}', "duplicate_key"),
        (b'[{"a":{"b":1,"\\u0062":2}}]', "duplicate_key"),
        (b'{"a":NaN}', "number"),
        (b'{"a":-Infinity}', "number"),
        (b'{"a":1e999}', "number"),
        (b'{"a":1E-999}', "number"),
        (b'{"a":1e99999999999999999999}', "number"),
        (b'{"a":' + b"9" * 5000 + b"}", "number"),
        (b'{"a":12345678901234567890}', "number"),
        (b'{"a":12345678901234567890.5}', "number"),
        (b'{"a":0.' + b"1" * 100 + b"}", "number"),
        (b"[" * 100_000, "depth"),
        (b"[" * 100_000 + b"]" * 100_000, "depth"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "depth"),
        (b"", "json"),
        (b"{", "json"),
        (b"{} x", "json"),
        (b'{"a":1,}', "json"),
        (b'{"a":"b', "json"),
        (b'{"a":"line\nbreak"}', "json"),
        (b'{"a":01}', "json"),
        (b"'", "json"),
        (b'{"a":"' + b"x" * 65537 + b'"}', "string_too_long"),
        (b'{"a":"' + b'\\"' * 40000 + b'"}', "string_too_long"),
    ],
)
def test_refuses_what_python_would_take_or_die_of(data: bytes, code: str) -> None:
    assert code_of(data) == code
    with pytest.raises(MappingError):
        split_records(data, "a.b")


def test_keeps_numbers_exactly() -> None:
    value = parse_value(
        b'{"id":3141592653589793238,"price":78.3615,"zero":1.50,"e":1e3,"long":78.36149999999999948840923025}'
    )
    assert value["id"] == 3141592653589793238
    assert [str(value[key]) for key in ("price", "zero", "e", "long")] == [
        "78.3615",
        "1.50",
        "1E+3",
        "78.36149999999999948840923025",
    ]
    assert isinstance(value["price"], Decimal)


@pytest.mark.parametrize("data", [b'{"a":"x\\u0000y"}', b'{"a":"x\\ud800y"}', b'{"a":"x\\uDFFFy"}'])
def test_replaces_what_databases_refuse_and_says_so(data: bytes) -> None:
    got = parse(data)
    assert (got.value, got.flags) == ({"a": "x�y"}, ("replaced_characters",))


def test_leaves_pairs_of_surrogates_and_escaped_backslashes_alone() -> None:
    got = parse(b'{"a":"\\ud83d\\ude00","b":"C:\\\\ud800","c":"\\\\","d":"say \\"[[[[\\""}')
    assert (got.value, got.flags) == ({"a": "😀", "b": "C:\\ud800", "c": "\\", "d": 'say "[[[["'}, ())


def test_keys_that_become_equal_by_replacement_are_duplicates() -> None:
    assert code_of(b'{"a\\u0000":1,"a\\ud800":2}') == "duplicate_key"


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    assert parse_value(json.dumps({"note": "[{" * 500}).encode())["note"] == "[{" * 500
    assert code_of(b"[[1]]", limits=JsonLimits(depth=1)) == "depth"
    assert code_of(b"[1234]", limits=JsonLimits(int_digits=3)) == "number"
    wide = b"[" + b",".join([b"[]"] * 5000) + b"]"
    assert len(parse_value(wide)) == 5000


@settings(max_examples=150, deadline=None)
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_reads_valid_json_as_python_does_and_writes_it_back(value: Any, ascii_only: bool, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert parse(data).value == json.loads(data) == value
    assert parse_value(dump(value)) == value


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40) | st.text('{}[]":,\\u0aeE-. d8', max_size=30).map(str.encode))
def test_never_raises_anything_but_a_mapping_error(data: bytes) -> None:
    try:
        value = parse_value(data)
    except MappingError:
        return
    assert parse_value(dump(value)) == value


SPELLINGS = st.text('{}[]":,\\/e.-+0123456789 \n\ufeffa中\x7f', max_size=24).map(str.encode)


@settings(max_examples=400, deadline=None)
@given(SPELLINGS | VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()))
@example(b'{"a":1,"a":1}')
@example(b'{"a":{"b":1},"a":{"b":1}}')
@example(b"[12345678901234567890]")
@example(b"[-9999999999999999999]")
@example(b"[9999999999999999999]")
@example(b"[-0]")
@example(b"[1e16]")
@example(b"[10000000000000000.0]")
@example(b'{"a":[' * 16 + b"[1]" + b"]}" * 16)
@example(b'{"a":[' * 16 + b"1" + b"]}" * 16)
@example(b'["\x7f"]')
@example(b'"\xef\xbf\xbf"')
def test_the_quick_way_reads_what_the_exact_way_reads(data: bytes) -> None:
    def told(exact: bool) -> str:
        with pytest.MonkeyPatch.context() as patch:
            if exact:
                patch.setattr(strict_json, "_quick", lambda _: None)
            try:
                return repr(parse(data))
            except MappingError as error:
                return error.code

    assert told(False) == told(True)


def test_depth_is_counted_to_the_level() -> None:
    for depth in (32, 33):
        for opening, closing in ((b'{"a":', b"}"), (b"[", b"]"), (b'[{},{"a":[1,', b"]}]")):
            levels = 3 if opening.startswith(b"[{}") else 1
            data = opening * (depth // levels) + b"[" * (depth % levels) + b"1" + b"]" * (depth % levels)
            data += closing * (depth // levels)
            if depth == 32:
                parse(data)
            else:
                assert code_of(data) == "depth"


def test_dump_is_compact_exact_and_refuses_what_is_not_json() -> None:
    assert (
        dump({"a": Decimal("1.50"), "b": [Decimal("0E-8"), 2], "中": "é"})
        == '{"a":1.50,"b":[0.00000000,2],"中":"é"}'.encode()
    )
    for bad, code in (
        (Decimal("NaN"), "number"),
        (float("inf"), "unencodable"),
        (object(), "unencodable"),
        ("\ud800", "unencodable"),
    ):
        with pytest.raises(MappingError) as caught:
            dump({"a": bad})
        assert caught.value.code == code
