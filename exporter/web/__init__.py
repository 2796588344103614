"""HTTP: the server, its TLS and authentication, and the page."""
