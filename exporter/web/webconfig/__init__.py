"""Prometheus's web configuration file: TLS, client certificates, users, response headers.

The format is exporter-toolkit's (`docs/web-configuration.md` there), so that one file serves every
exporter of a user. Where Python's TLS differs from Go's:

- `client_auth_type: RequireAnyClientCert` is refused: OpenSSL behind Python verifies whatever it
  asks for. `RequestClientCert` is taken as `NoClientCert`: nothing would look at the certificate.
- `min_version` below TLS12 is taken as TLS12, and a `max_version` below TLS12 is refused.
- `cipher_suites` decides on TLS 1.2; the suites of TLS 1.3 can't be chosen (nor can they in Go). A
  list of TLS 1.3 suites alone switches TLS 1.2 off.
- `curve_preferences` may name one curve, which is then the only one; several are refused.
- `http2` is accepted and does nothing: HTTP/1.1 is served.
- `TLS_RSA_…` suites, which Go has dropped too, are refused.
- `interval` without `burst` is refused. `burst: 0`, written out, lets nothing pass but health checks.
- `cert` and `key` in the file itself need Linux; `cert_file` and `key_file` work everywhere.
"""

from exporter.web.webconfig.errors import WebConfigError
from exporter.web.webconfig.loading import WebConfig, load
from exporter.web.webconfig.rate_limit import RateLimit
from exporter.web.webconfig.settings import WebSettings
from exporter.web.webconfig.users import Users

__all__ = ["RateLimit", "Users", "WebConfig", "WebConfigError", "WebSettings", "load"]
