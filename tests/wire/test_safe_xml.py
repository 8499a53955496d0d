"""XML that tries something, and XML that merely is what warehouses send."""

from __future__ import annotations

import time
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any
from xml.etree.ElementTree import tostring

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import MappingError
from wire import safe_xml
from wire.safe_xml import XmlLimits, build, children, parse, to_value

LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><l>&j;</l>"
)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>', "dtd"),
        (b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><r/>', "dtd"),
        (LAUGHS, "dtd"),
        (b"\xef\xbb\xbf<r/>", "encoding"),
        ("<r>中</r>".encode("gbk"), "encoding"),
        ('<?xml version="1.0" encoding="GBK"?><r>中</r>'.encode("gbk"), "encoding"),
        (b'<?xml version="1.0" encoding="utf-7"?><r/>', "encoding"),
        ("<r/>".encode("utf-16"), "encoding"),
        (b"<a>" * 33 + b"</a>" * 33, "depth"),
        (b"<a>" * 50_000 + b"</a>" * 50_000, "depth"),
        (b"<r>" + b"<a/>" * 50_001 + b"</r>", "too_many_nodes"),
        (b"<r>" + b"<a/>" * 200_000 + b"</r>", "too_many_nodes"),
        (b"<r>", "xml"),
        (b"", "xml"),
        (b"<r>&unknown;</r>", "xml"),
        (b"not xml", "xml"),
    ],
)
def test_refuses_every_trick_quickly(data: bytes, code: str) -> None:
    spent = []
    for _ in range(3):  # a collection of the whole process's garbage may fall into one
        began = time.thread_time()
        with pytest.raises(MappingError) as caught:
            parse(data)
        assert caught.value.code == code
        spent.append(time.thread_time() - began)
    assert min(spent) < 1


def test_caps_the_size_before_reading() -> None:
    with pytest.raises(MappingError, match="too_large"):
        parse(b"<r>" + b"x" * 100, limits=XmlLimits(size=50))


def test_a_list_of_one_and_a_list_of_none_stay_lists() -> None:
    root = parse(
        "<request><deliveryOrder><code>1</code><note/></deliveryOrder>"
        "<orderLines><orderLine><itemCode>示例</itemCode></orderLine></orderLines><packages></packages></request>".encode()
    )
    assert to_value(root) == {
        "deliveryOrder": {"code": "1", "note": ""},
        "orderLines": [{"itemCode": "示例"}],
        "packages": [],
    }
    assert [each.findtext("itemCode") for each in children(root, "orderLines", "orderLine")] == ["示例"]
    assert children(root, "absent", "x") == []


def test_repeated_names_attributes_and_text_are_kept() -> None:
    root = parse(b'<r><a>1</a><a>2</a><b u="kg">3</b><a>4</a></r>')
    assert to_value(root) == {"a": ["1", "2", "4"], "b": {"@u": "kg", "#text": "3"}}


def test_builds_what_the_protocol_shows() -> None:
    tree = {
        "deliveryOrder": {"deliveryOrderCode": "A&B<C>", "freight": Decimal("8.00"), "remark": None},
        "orderLines": {"orderLine": [{"planQty": 2}, {"planQty": 1}]},
    }
    assert build("request", tree) == (
        b'<?xml version="1.0" encoding="utf-8"?><request><deliveryOrder><deliveryOrderCode>A&amp;B&lt;C&gt;'
        b"</deliveryOrderCode><freight>8.00</freight></deliveryOrder><orderLines><orderLine><planQty>2</planQty>"
        b"</orderLine><orderLine><planQty>1</planQty></orderLine></orderLines></request>"
    )


@pytest.mark.parametrize(
    "tree",
    [
        {"a": "x\x00"},
        {"a": "\x1b"},
        {"a": "\ud800"},
        {"a": "\uffff"},
        {"a": True},
        {"a": 1.5},
        {"a b": "1"},
        {"<x>": "1"},
    ],
)
def test_refuses_to_write_what_xml_cannot_carry(tree: Any) -> None:
    with pytest.raises(MappingError, match="unencodable"):
        build("request", tree)


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40)
    | st.just("a\r\nb\tc<]]>&")
)
def test_text_survives_the_round_trip(text: str) -> None:
    assert to_value(parse(build("r", {"a": text, "b": "."})))["a"] == text


@settings(max_examples=100, deadline=None)
@given(st.text("<>/a&;![]CDT?x= \"'", max_size=40).map(str.encode) | st.binary(max_size=40))
def test_never_raises_anything_but_a_mapping_error(data: bytes) -> None:
    with suppress(MappingError):
        to_value(parse(data))


TAGS = "<a>|</a>|<b x='1'>|</b>|<c/>|t|中|&amp;|&lt;|&#65;|&x;|<!--c-->|<![CDATA[d]]>|<?p i?>|\n|<!DOCTYPE a>"
HEADS = "|<?xml version='1.0' encoding='utf-8'?>|<?xml version='1.0' encoding='latin-1'?>"
PIECES = st.lists(st.sampled_from((TAGS + HEADS).split("|")), max_size=14)


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_the_quick_way_reads_what_the_wary_one_reads(pieces: list[str]) -> None:
    data = "".join(["<r>", *pieces, "</r>"] if len(pieces) % 2 else pieces).encode()

    def told(wary: bool) -> str:
        with pytest.MonkeyPatch.context() as patch:
            if wary:
                patch.setattr(safe_xml, "read_plain", partial(fromstring, forbid_dtd=True))
            try:
                return tostring(parse(data), encoding="unicode")
            except MappingError as error:
                return error.code

    assert told(wary=False) == told(wary=True)
