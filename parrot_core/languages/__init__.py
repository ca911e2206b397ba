"""Languages as data: a table of what Parrot must know of each, and how a text's is found.

A language is added by a row of `table`. Nothing else in Parrot asks which language it deals with.
"""

from parrot_core.languages.identification import identify, script_of
from parrot_core.languages.table import (
    LANGUAGES,
    PAPER_LANGUAGES,
    Language,
    get_language,
    parse_languages,
)

__all__ = [
    "LANGUAGES",
    "PAPER_LANGUAGES",
    "Language",
    "get_language",
    "identify",
    "parse_languages",
    "script_of",
]
