import dataclasses

import pytest

from sparseret.documents import Document, Query


@pytest.mark.parametrize(
    ("title", "text", "content"),
    [
        ("Owls", "see at night", "Owls see at night"),
        ("Owls", "", "Owls"),
        ("", "see at night", "see at night"),
        ("", "", ""),
    ],
)
def test_content_joins_what_there_is(title, text, content):
    assert Document("d", text, title).content == content


def test_defaults_are_not_shared():
    assert Document("a") == Document("a", "", "", {})
    assert Document("a").metadata is not Document("b").metadata


@pytest.mark.parametrize("value", [Document("d"), Query("q", "owls")])
def test_instances_do_not_change(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.id = "other"
