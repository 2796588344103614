"""An OIDC issuer for tests: a token endpoint for client credentials, and its public keys."""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT, SECRET, AUDIENCE = "lag", "hunter2-oidc", "kafka"
KEY_ID = "key-1"
LIVES = "lives-"

Answer = tuple[int, Mapping[str, Any] | bytes]


@functools.cache
def _signing_key() -> rsa.RSAPrivateKey:
    """The key, created once per test run because that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """Issues tokens valid for an hour, or for N seconds if the requested scope is `lives-N`.

    `stop` and `start` simulate an outage, at the same port.
    """

    def __init__(self, port: int) -> None:
        self._key = _signing_key()
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self.secret = SECRET
        self.given: Counter[str] = Counter()
        """Number of issued tokens by scope."""
        self.forms: list[dict[str, str]] = []
        self.answer: Callable[[], Answer] | None = None
        """Response instead of a token."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def keys_url(self) -> str:
        return f"{self.url}/keys"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; return when connections are accepted."""
        server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def keys(self) -> dict[str, Any]:
        """The key set (JWKS)."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID}
        return {"keys": [{**key, "n": _number(numbers.n), "e": _number(numbers.e)}]}

    def token(self, subject: str, lifetime: float) -> str:
        """A signed token."""
        now = time.time()
        head = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime,
            "jti": str(self.given.total()),
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"

    def grant(self, login: str, form: dict[str, str]) -> Answer:
        """The response of the token endpoint."""
        self.forms.append(form)
        if self.answer is not None:
            return self.answer()
        expected = base64.b64encode(f"{CLIENT}:{self.secret}".encode()).decode()
        if login != f"Basic {expected}":
            return 401, {"error": "invalid_client", "error_description": f"no such login: {login}"}
        scope = form.get("scope", "")
        word = scope.partition(" ")[0]
        lifetime = float(word.removeprefix(LIVES)) if word.startswith(LIVES) else 3600.0
        self.given[scope] += 1
        token = self.token(CLIENT, lifetime)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send((200, issuer.keys()) if self.path == "/keys" else (404, b""))

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            form = {k: v[0] for k, v in parse_qs(self.rfile.read(size).decode()).items()}
            if self.path != "/token":
                self._send((404, b""))
                return
            self._send(issuer.grant(self.headers.get("Authorization", ""), form))

        def _send(self, answer: Answer) -> None:
            status, said = answer
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"{issuer.url}/keys")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
