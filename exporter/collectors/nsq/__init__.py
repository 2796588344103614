"""NSQ: read through the HTTP interfaces of nsqd and nsqlookupd."""
