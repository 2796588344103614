"""The command that the user gave, with placeholders.

It is split into words first, as a shell would, and the placeholders are replaced inside the words.
So no name can become a second word, and no shell sees it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.scale.advice import ValidAdvice
from exporter.scaling.board import SubscriptionName

PLACEHOLDERS = ("consumers", "before", "source", "vhost", "destination", "group")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


class TemplateError(ValueError):
    """The command is invalid. The text says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """A command with placeholders."""

    words: tuple[str, ...]

    def fill(self, values: Mapping[str, str]) -> list[str]:
        """Return the words with the values of the placeholders in them."""

        def text(found: re.Match[str]) -> str:
            return found[0][0] if found[1] is None else values[found[1]]

        return [_TOKEN.sub(text, word) for word in self.words]


def template_of(text: str) -> Template:
    """Return the command in `text`. `{{` and `}}` are literal braces. Raises `TemplateError`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise TemplateError(f"{text!r} cannot be split into words: {error}") from None
    if not words or not words[0]:
        raise TemplateError("the command is empty")
    names = [found[1] for word in words for found in _TOKEN.finditer(word)]
    for name in names:
        if name is not None and name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise TemplateError(
                f"unknown placeholder {{{name}}}; expected one of {known}; "
                "write {{ and }} for braces"
            )
    if "consumers" not in names:
        raise TemplateError("the command must contain {consumers}")
    if any(found[1] is not None for found in _TOKEN.finditer(words[0])):
        raise TemplateError("the program, the first word, cannot have placeholders")
    return Template(tuple(words))


def values_of(place: SubscriptionName, consumers: int, before: int | None) -> dict[str, str]:
    """Return the values of the placeholders. What is unknown or does not apply is empty."""
    return {
        "consumers": str(consumers),
        "before": _text(before),
        "source": place.source,
        "vhost": place.vhost or "",
        "destination": place.destination,
        "group": place.group or "",
    }


def variables_of(values: Mapping[str, str], advice: ValidAdvice) -> dict[str, str]:
    """Return the environment variables for the command: the placeholders, and the advice."""
    return {
        **{f"MQ_{name.upper()}": value for name, value in values.items()},
        "MQ_PRESENT": _text(advice.present),
        "MQ_MINIMUM": _text(advice.minimum),
        "MQ_MAXIMUM": _text(advice.maximum),
        "MQ_SCORE": _text(advice.score),
        "MQ_HELD": advice.held or "",
        "MQ_REASON": advice.reason,
    }


def _text(value: float | None) -> str:
    return "" if value is None else str(value)
