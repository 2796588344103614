"""Prometheus's web configuration file: TLS, client certificates, users, response headers.

The format is that of exporter-toolkit (`docs/web-configuration.md` there), so that one file serves
all exporters of a user. Where Python's TLS differs from Go's:

- `client_auth_type: RequireAnyClientCert` is rejected, because OpenSSL in Python verifies every
  certificate that it requests. `RequestClientCert` is treated as `NoClientCert`, because the
  certificate would not be used.
- `min_version` below TLS12 is treated as TLS12, and a `max_version` below TLS12 is rejected.
- `cipher_suites` applies to TLS 1.2; the suites of TLS 1.3 cannot be chosen (in Go neither). A list
  of TLS 1.3 suites alone switches TLS 1.2 off.
- `curve_preferences` may name one curve, which is then the only one; several are rejected.
- `http2` is accepted and has no effect: HTTP/1.1 is served.
- `TLS_RSA_…` suites, which Go has dropped too, are rejected.
- `interval` without `burst` is rejected. An explicit `burst: 0` allows only health checks.
- Inline `cert` and `key` need Linux; `cert_file` and `key_file` work everywhere.
"""

from exporter.web.webconfig.errors import WebConfigError
from exporter.web.webconfig.loading import WebConfig, load
from exporter.web.webconfig.rate_limit import RateLimit
from exporter.web.webconfig.settings import WebSettings
from exporter.web.webconfig.users import Users

__all__ = ["RateLimit", "Users", "WebConfig", "WebConfigError", "WebSettings", "load"]
