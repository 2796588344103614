"""Tokens for Amazon MSK with IAM: a URL signed with AWS credentials by Amazon's library."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from exporter.collectors.access import reason_of
from exporter.collectors.kafka.login.tokens import Token
from exporter.model import CollectError

MECHANISM = "AWS_MSK_IAM"
CONFIG = "sasl.oauthbearer.config"
KEYS = ("region", "profile", "role_arn", "role_session_name")
SESSION_NAME = "mq-lag-exporter"
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
SECONDS = 3.0
"""Timeout of each request to AWS."""
_HOST = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.(?:amazonaws|vpce\.amazonaws)\.")
_MISSING = (
    f"sasl.mechanism {MECHANISM} needs the package aws-msk-iam-sasl-signer-python: "
    "pip install 'mq-lag-exporter[msk-iam]'"
)


def fetch(properties: Mapping[str, str]) -> Token:
    """Sign a token. Raises `CollectError`.

    The credentials come from the default chain of AWS, from a profile, or from a role.
    """
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415
        from botocore import exceptions  # noqa: PLC0415
    except ImportError:
        raise CollectError("invalid", _MISSING) from None
    options = parse_options(properties.get(CONFIG, ""))
    region = options.get("region") or region_of(properties, os.environ)
    sign = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider
    try:
        value, expiry_ms = sign(region, _provider(options, region))
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise CollectError("unreachable", f"AWS credentials: {reason_of(error)}") from None
    except (exceptions.ClientError, exceptions.BotoCoreError, ValueError) as error:
        raise CollectError("unauthorized", f"AWS credentials: {reason_of(error)}") from None
    return Token(value, expiry_ms / 1000 - time.time())


def _provider(options: Mapping[str, str], region: str) -> Any:
    """Return a provider of the source's current credentials for the signer."""
    from botocore.credentials import CredentialProvider  # noqa: PLC0415

    class Provider(CredentialProvider):  # type: ignore[misc] # the library has no types
        METHOD = "mq-lag-exporter"

        def load(self) -> Any:
            return _credentials(options, region)

    return Provider()


def _credentials(options: Mapping[str, str], region: str) -> Any:
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    made = boto3.session.Session(profile_name=options.get("profile"), region_name=region)
    found = made.get_credentials()
    if found is None:
        text = "no AWS credentials were found; see `Amazon MSK` in docs/kafka.md"
        raise CollectError("unauthorized", text)
    if "role_arn" not in options:
        return found.get_frozen_credentials()
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"max_attempts": 1})
    role = made.client("sts", config=config).assume_role(
        RoleArn=options["role_arn"],
        RoleSessionName=options.get("role_session_name", SESSION_NAME),
    )["Credentials"]
    return Credentials(role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"])


def parse_options(text: str) -> dict[str, str]:
    """Parse `sasl.oauthbearer.config`, such as `region=eu-west-1 profile=lag`.

    Raises `CollectError`.
    """
    pairs = [each.partition("=") for each in re.split(r"[\s,]+", text) if each]
    for name, equals, value in pairs:
        if name not in KEYS or not equals or not value:
            text = (
                f"{CONFIG} under `client` must be of the form region=… and may have "
                f"{', '.join(KEYS[1:])}"
            )
            raise CollectError("invalid", text)
    return {name: value for name, _, value in pairs}


def region_of(properties: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return the region in the brokers' names, or else in the environment.

    Raises `CollectError` if there is none.
    """
    found = _HOST.search(properties.get("bootstrap.servers", ""))
    if found is not None:
        return found[1]
    for name in REGION_VARIABLES:
        if environ.get(name):
            return environ[name]
    text = f"the region of the MSK cluster is not known; set {CONFIG} to region=… under `client`"
    raise CollectError("invalid", text)
