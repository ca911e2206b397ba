"""Languages as data: a table of what Parrot must know of each, and how a text's is found.

A language is added by a table of `languages.toml`, or of a user's own file. Nothing else in Parrot
asks which language it deals with.
"""

from parrot_core.languages.identification import identify, script_of
from parrot_core.languages.table import (
    LANGUAGES,
    LANGUAGES_VARIABLE,
    PAPER_LANGUAGES,
    Language,
    add_languages,
    get_language,
    parse_languages,
)

__all__ = [
    "LANGUAGES",
    "LANGUAGES_VARIABLE",
    "PAPER_LANGUAGES",
    "Language",
    "add_languages",
    "get_language",
    "identify",
    "parse_languages",
    "script_of",
]
