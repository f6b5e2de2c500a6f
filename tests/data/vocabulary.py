"""Which strings of a recording are words of the API, and may stay as they are."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal, get_args, get_origin

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

FREE_FIELDS: Final = frozenset(
    {
        # Texts, ids and names: whatever they say is the recorder's, even if it is such a word.
        *("arguments", "command", "commands", "default", "delta", "description", "enum", "id"),
        *("input", "instructions", "item_id", "message", "model", "name", "obfuscation", "output"),
        *("pattern", "prompt_cache_key", "queries", "query", "refusal", "required", "text"),
        *("title", "token", "url", "user"),
    }
)
NAME_MAPS: Final = frozenset(
    {
        # Objects whose members are named by whoever made the request.
        *("$defs", "arguments", "attributes", "definitions", "headers", "metadata"),
        *("properties", "variables"),
    }
)
PROMPTS: Final = frozenset(
    {
        # Prose that is told to models: not even its punctuation is kept.
        *("definition", "description", "instructions", "message", "revised_prompt"),
        *("server_description",),
    }
)
EXTRA_WORDS: Final = frozenset(
    {
        # What servers say and the official package does not know.
        *("array", "boolean", "integer", "null", "number", "object", "string"),  # JSON schemas
        *(
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2020-12/schema",
        ),
        *("insufficient_quota", "invalid_request_error", "rate_limit_error"),
        *("cache_read", "cache_write", "completion", "prompt", "safe"),
    }
)


@cache
def official_words() -> frozenset[str]:
    """The words of every enumeration that events and Responses have in the official package."""
    words: set[str] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [ResponseStreamEvent, Response]
    while waiting:
        annotation = waiting.pop()
        if get_origin(annotation) is Literal:
            words.update(word for word in get_args(annotation) if isinstance(word, str))
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation not in seen:
                seen.add(annotation)
                waiting += [field.annotation for field in annotation.model_fields.values()]
        else:
            waiting += get_args(annotation)
    return frozenset(words)


def is_wire_word(text: str) -> bool:
    """Whether the API itself has this word."""
    return text in EXTRA_WORDS or text in official_words()
