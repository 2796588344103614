"""Masks secrets by their values, in every text that leaves the process.

Code that reads a secret calls `learn`. The log, and every error that a user sees, go through
`scrub`. Old values stay known after a rotation, because they may still be valid.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK = "***"
LEAST = 4
"""Least length of a secret that is masked everywhere. Shorter ones would garble every line."""
LEAST_LINE = 8
"""Least length of a line of a multi-line secret, such as a private key, to be masked everywhere."""
LEAST_BASE64 = 5
"""Least number of base64 characters by which a secret is recognized in a longer encoded text."""
LEAST_CUT = 4
"""Least length of a secret's beginning that is masked at the end of a truncated text."""
LEAST_END = 8
"""The same for the end of any text, because a library may have truncated it."""
MOST = 1_000
"""Largest number of known secrets. Those not read for the longest time are forgotten first."""

_SECRET_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token(?!\.endpoint)|credential|assertion|apikey|api.key|key\.pem"
    r"|access.?key|oauthbearer\.config|jaas|kinit\.cmd|(?:^|[._-])(?:auth|code|sig|signature|key|pass)$",
    re.IGNORECASE,
)
"""Names of properties and URL parameters with secret values."""
_NO_SECRET = re.compile(
    r"[._-](?:id|url|location|files?|method|subject|issuer|audience|scope|algorithm|type|name|seconds|ms|sub|aud|iss)$",
    re.IGNORECASE,
)
_PUBLIC_FILE = re.compile(r"username$|(?:^|\.)(?:ca|certificate)\.pem$|servers$", re.IGNORECASE)
"""Properties that are not secret, even if they are read from a file."""
_USER_INFO = re.compile(
    r"(?P<start>[a-z][a-z0-9+.-]*://[^\s/:@?#\"']*:)[^\s/@\"']+(?=@)", re.IGNORECASE
)
_SHORT = r"((?:passw\w*|pwd|secret|token|credential)[\"']?\s*(?:[:=]|is)\s*[\"']?){}(?!\w)"


class Scrubber:
    """Knows secrets and masks them. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, bool], frozenset[str]] = OrderedDict()
        self._forms: tuple[str, ...] = ()
        """The forms in which the secrets may be written, the longest first."""
        self._short: tuple[re.Pattern[str], ...] = ()

    def learn(self, *secrets: str) -> None:
        """Mask these from now on, in plain and in encoded form."""
        for secret in secrets:
            if secret:
                self._add((secret, True))

    def learn_login(self, user: str, password: str) -> None:
        """Mask a password, alone and together with its user as HTTP and SASL send them.

        A password that equals its user's name is masked only together with the name.
        """
        if password and password != user:
            self.learn(password)
        if password and user:
            self._add((f"{user}:{password}", False))
            self._add((f"\0{user}\0{password}", False))

    def learn_url(self, url: str) -> None:
        """Mask the password and the secret parameters of a URL, if there are any."""
        if "://" not in url and "@" not in url:
            return
        try:
            # curl, which librdkafka uses, also accepts an address without a scheme.
            parts = urlsplit(url if "://" in url else f"//{url}")
            user, password = parts.username, parts.password
        except ValueError:
            return
        if password:
            self.learn(password)
            self.learn_login(unquote(user or ""), unquote(password))
        for name, value in parse_qsl(parts.query):
            if is_secret(name):
                self.learn(value)

    def learn_property(self, name: str, value: str) -> None:
        """Mask secrets in the value of a client property. Its name decides what is secret."""
        if is_secret(name):
            self.learn(value)
            if "://" not in value and "=" in value:
                # A value with several settings, such as that of `sasl.oauthbearer.config`.
                for part in re.split(r"[\s,;]+", value):
                    inner, _, given = part.partition("=")
                    if is_secret(inner):
                        self.learn(given.strip("\"'"))
        self.learn_url(value)

    def scrub(self, text: str, *, cut: bool = False) -> str:
        """Return the text without secrets.

        `cut` says that it is truncated, perhaps inside a secret.
        """
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        for pattern in self._short:
            text = pattern.sub(rf"\g<1>{MASK}", text)
        text = self._without_end(text, LEAST_CUT if cut else LEAST_END)
        return _USER_INFO.sub(rf"\g<start>{MASK}", text) if "@" in text else text

    def _add(self, key: tuple[str, bool]) -> None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return
            secret, alone = key
            self._known[key] = frozenset(_forms(secret, alone=alone))
            while len(self._known) > MOST:
                self._known.popitem(last=False)
            every = frozenset[str]().union(*self._known.values())
            self._forms = tuple(sorted(every, key=lambda form: (-len(form), form)))
            self._short = tuple(
                re.compile(_SHORT.format(re.escape(each)), re.IGNORECASE)
                for each, whole in self._known
                if whole and len(each) < LEAST
            )

    def _without_end(self, text: str, least: int) -> str:
        """Mask the beginning of a secret at the end of the text."""
        if len(text) < least:
            return text
        for form in self._forms:
            at = text.find(form[:least], max(0, len(text) - len(form)))
            while at >= 0:
                if form.startswith(text[at:]):
                    return text[:at] + MASK
                at = text.find(form[:least], at + 1)
        return text


def is_secret(name: str) -> bool:
    """Return whether a client property or URL parameter with this name is secret."""
    return _SECRET_NAME.search(name) is not None and _NO_SECRET.search(name) is None


def is_public_file(name: str) -> bool:
    """Return whether a client property is public although it is read from a file.

    Such properties are user names and certificates.
    """
    return _PUBLIC_FILE.search(name) is not None


def _forms(secret: str, *, alone: bool) -> Iterator[str]:
    """Yield the forms in which texts may have a secret; none if it is too short."""
    plain = [secret]
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        plain += [ln for ln in lines if len(ln) >= LEAST_LINE and not ln.startswith("-----")]
    for each in plain:
        encoded = each.encode("utf-8", "surrogatepass")
        yield from _base64_forms(encoded, whole=not alone)
        if len(each) >= LEAST:
            yield from filter(lambda form: len(form) >= LEAST, _escaped(each, encoded))


def _escaped(secret: str, encoded: bytes) -> Iterator[str]:
    yield secret
    for made in (quote(encoded, safe=""), quote(encoded, safe="/"), quote_plus(encoded)):
        yield made
        yield re.sub("%..", lambda found: found[0].lower(), made)
        yield quote(made, safe="")  # a URL as a parameter of another one
    for ascii_only in (True, False):
        made = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield made
        yield made.replace("/", "\\/")
    yield repr(secret)[1:-1]
    yield repr(encoded)[2:-1]
    yield encoded.decode("latin-1")  # what a server makes of UTF-8 that it takes for Latin-1
    yield encoded.hex()
    yield encoded.hex().upper()
    yield html.escape(secret, quote=False)
    yield html.escape(secret)
    yield html.escape(secret).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _base64_forms(secret: bytes, *, whole: bool) -> Iterator[str]:
    """Yield the base64 forms of the secret at any position in the encoded data."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        if whole or len(secret) >= LEAST:
            made = encode(secret).decode()
            yield from {made, made.rstrip("="), quote(made, safe="")}
        for before, unsure in ((0, 0), (1, 2), (2, 3)):
            sure = (before + len(secret)) * 8 // 6
            part = encode(bytes(before) + secret).decode()[unsure:sure]
            if len(part) >= LEAST_BASE64:
                yield part


SCRUBBER = Scrubber()
"""The secrets of this process."""

learn = SCRUBBER.learn
learn_login = SCRUBBER.learn_login
learn_url = SCRUBBER.learn_url
learn_property = SCRUBBER.learn_property
scrub = SCRUBBER.scrub


def learn_client(properties: Mapping[str, str]) -> None:
    """Mask the secrets among the properties of a Kafka client."""
    for name, value in properties.items():
        learn_property(name, value)
    password = properties.get("sasl.password")
    if password:
        learn_login(properties.get("sasl.username", ""), password)


def shown(text: str, most: int) -> str:
    """Return the beginning of a text from outside, without secrets.

    They are masked before the text is truncated, because a part of a secret might not be
    recognized.
    """
    return scrub(text, cut=True)[:most]


def scrubbed(value: Any) -> Any:
    """Return a value of a log event as plain data without secrets."""
    if isinstance(value, str):
        return scrub(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {scrub(str(key)): scrubbed(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrubbed(each) for each in value]
    return scrub(repr(value))


def traceback_text(error: BaseException) -> str:
    """Return Python's text for an uncaught error, without secrets."""
    return scrub("".join(traceback.format_exception(error)))


def guard_tracebacks() -> None:
    """Mask secrets in the tracebacks of uncaught errors, in all threads."""

    def whole(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        _print([traceback_text(error)])

    def in_thread(hook: threading.ExceptHookArgs) -> None:
        if hook.exc_value is not None and not isinstance(hook.exc_value, SystemExit):
            name = hook.thread.name if hook.thread is not None else "?"
            _print([f"Exception in thread {name}:\n", traceback_text(hook.exc_value)])

    def unraisable(hook: sys.UnraisableHookArgs) -> None:
        if hook.exc_value is not None:
            _print([f"{hook.err_msg or 'Exception ignored'}:\n", traceback_text(hook.exc_value)])

    sys.excepthook, threading.excepthook, sys.unraisablehook = whole, in_thread, unraisable


def _print(texts: Iterable[str]) -> None:
    if sys.stderr is not None:
        sys.stderr.write("".join(texts))
