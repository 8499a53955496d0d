"""Our own JSON is the same value, and for sorted keys the same text, as the standard library writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.compact import pack, sorted_text, unpack

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_a_value_comes_back(value: Any) -> None:
    assert unpack(pack(value)) == value == json.loads(pack(value))


@given(st.dictionaries(texts, st.integers(-(2**60), 2**60) | texts | st.lists(texts), max_size=5))
def test_texts_of_events_are_what_they_always_were(value: Any) -> None:
    assert sorted_text(value) == json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def test_what_json_has_no_name_for_is_refused() -> None:
    for wrong in ({1, 2}, b"x", object()):
        with pytest.raises(TypeError):
            pack(wrong)
