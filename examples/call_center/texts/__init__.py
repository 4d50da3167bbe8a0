"""The words on the screen, in German and English."""

from __future__ import annotations

import os

from . import de, en

LANGUAGES = {"de": de.TEXTS, "en": en.TEXTS}

_language = "en"


def use(language: str) -> None:
    """Selects the language. Call it before the screens are imported: their key hints are class attributes."""
    global _language
    _language = language


def language() -> str:
    """The selected language: "de" or "en"."""
    return _language


def default_language(environment: dict[str, str] | None = None) -> str:
    """Returns the language of the locale (POSIX: LC_ALL before LC_MESSAGES before LANG); English if there is none."""
    variables = os.environ if environment is None else environment
    chosen = next(
        (variables[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if variables.get(name)), ""
    )
    return "de" if chosen.startswith("de") else "en"


def t(key: str, **values: object) -> str:
    """Returns a text with its values filled in."""
    return LANGUAGES[_language][key].format(**values)


def has(key: str) -> bool:
    return key in LANGUAGES[_language]
