"""The German and the English texts fit together."""

from __future__ import annotations

import re

import pytest
import texts
from contact.v1 import contact_pb2, phone_order_pb2

PLACEHOLDER = re.compile(r"{\w+}")


def test_both_languages_have_the_same_texts() -> None:
    german, english = texts.LANGUAGES["de"], texts.LANGUAGES["en"]
    assert set(german) == set(english)
    for key, text in german.items():
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(english[key])), key


@pytest.mark.parametrize(
    "group, enum",
    [
        ("decision", phone_order_pb2.OrderDecision),
        ("denial", phone_order_pb2.OrderDenial),
        ("advice.denial", phone_order_pb2.OrderDenial),
        ("outcome", phone_order_pb2.PhoneOrderOutcome),
        ("channel", phone_order_pb2.VerifiedChannel),
        ("authentication", phone_order_pb2.AuthenticationMethod),
        ("type", contact_pb2.ContactType),
    ],
)
def test_every_value_has_a_word(group: str, enum) -> None:
    for name, value in enum.items():
        if value or group != "type":
            assert f"{group}.{value}" in texts.LANGUAGES["en"], name


@pytest.mark.parametrize(
    "variables, language",
    [
        ({}, "en"),
        ({"LANG": "de_AT.UTF-8"}, "de"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
    ],
)
def test_language_follows_the_locale(variables: dict[str, str], language: str) -> None:
    assert texts.default_language(variables) == language
