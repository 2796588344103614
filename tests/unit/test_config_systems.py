"""The config of RabbitMQ and NSQ sources: what is accepted, and the messages for errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.collectors.nsq.from_config import nsq_settings
from exporter.collectors.rabbitmq.from_config import rabbit_settings
from exporter.config import ConfigError, parse
from exporter.config.nsq import NsqSource
from exporter.config.rabbitmq import RabbitSource
from exporter.config.shared import Schedule

RABBIT = """\
sources:
  - name: jobs
    system: rabbitmq
    management_url: https://rabbit:15671/
"""
NSQ = """\
sources:
  - name: events
    system: nsq
    nsqlookupd: [http://a:4161, "http://[::1]:4161"]
"""


def rabbit(more: str = "", **environ: str) -> RabbitSource:
    (found,) = parse(RABBIT + more, "c.yaml", environ, folder=Path("/etc/lag")).sources
    assert isinstance(found, RabbitSource)
    return found


def nsq(more: str = "", **environ: str) -> NsqSource:
    (found,) = parse(NSQ + more, "c.yaml", environ, folder=Path("/etc/lag")).sources
    assert isinstance(found, NsqSource)
    return found


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse(text, "c.yaml", {})
    return str(raised.value)


def test_one_address_is_a_list_of_one() -> None:
    assert rabbit().management_url == ("https://rabbit:15671",)
    more = "    amqp_url: [amqp://a, amqps://b:5671]\n"
    assert rabbit(more).amqp_url == ("amqp://a", "amqps://b:5671")
    assert nsq("    nsqd: http://n:4151\n").nsqd == ("http://n:4151",)


def test_files_are_beside_the_config() -> None:
    more = "    username: lag\n    password_file: secret\n    tls: {ca_file: ca.pem}\n"
    settings = rabbit_settings(rabbit(more))
    assert settings.login.password_file == Path("/etc/lag/secret")
    assert settings.tls.ca_file == Path("/etc/lag/ca.pem")
    more = "    probe: {auth_secret_file: auth}\n"
    assert nsq_settings(nsq(more)).auth_secret_file == Path("/etc/lag/auth")


def test_passwords_are_in_no_repr() -> None:
    more = "    username: lag\n    password: ${P}\n    amqp_url: amqp://r\n"
    config = rabbit(more, P="s3cret-value")
    settings = rabbit_settings(config)
    assert settings.login.password == "s3cret-value"
    for text in (repr(config), str(config), repr(settings), str(settings)):
        assert "s3cret-value" not in text
    secret = nsq('    probe: {auth_secret: "${P}"}\n', P="s3cret-value")
    for text in (repr(secret), repr(nsq_settings(secret))):
        assert "s3cret-value" not in text


def test_a_probe_is_sent_where_there_is_an_address_for_it() -> None:
    assert "probe" not in rabbit_settings(rabbit()).tasks()
    assert "probe" in rabbit_settings(rabbit("    amqp_url: amqp://r\n")).tasks()
    off = "    amqp_url: amqp://r\n    probe: {enabled: false}\n"
    assert "probe" not in rabbit_settings(rabbit(off)).tasks()
    assert "probe" in nsq_settings(nsq()).tasks()
    assert "probe" not in nsq_settings(nsq("    probe: {enabled: false}\n")).tasks()


def test_every_task_has_an_interval() -> None:
    tasks = {
        *rabbit_settings(rabbit("    amqp_url: amqp://r\n")).tasks(),
        *nsq_settings(nsq()).tasks(),
    }
    assert tasks <= set(Schedule.model_fields)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    amqp_url: http://r\n", "sources[0].amqp_url: expected an address such as amqp://"),
        ("    amqp_url: amqp://r/vhost\n", "without a path"),
        ("    amqp_url: amqp://me:pass@r\n", "must not contain a user or password"),
        ("    amqp_url: [amqp://r, amqp://r]\n", "the same address is listed twice"),
        ("    probe: {enabled: true}\n", "sources[0].probe: a probe needs amqp_url"),
        ("    tls: {key_file: k}\n", "key_file needs cert_file"),
        ("    password: a\n    password_file: b\n", "both password and password_file are set"),
        ('    password: ""\n', "must not be empty"),
        ("    password: a\n", "sources[0]: a password needs a username"),
        ("    username: a\n", "sources[0]: a username needs password or password_file"),
        ("    passwrod: a\n", "did you mean 'password'?"),
        ("    bootstrap_servers: k:9092\n", "unknown key; allowed here: username, password"),
        ('    vhosts: {include: ["("]}\n', "not a regular expression"),
        ("    channels: {}\n", "unknown key; did you mean 'destinations'?"),
    ],
)
def test_faults_of_a_rabbitmq_source(more: str, said: str) -> None:
    assert said in refusal(RABBIT + more)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NSQ.replace("nsqlookupd", "nsqlookup"), "did you mean 'nsqlookupd'?"),
        (
            "sources: [{name: e, system: nsq}]\n",
            "sources[0]: needs the HTTP addresses of nsqlookupd, nsqd or both",
        ),
        (NSQ + "    nsqd: nsqd:4151\n", "expected an address such as http://host:port"),
        (NSQ + "    nsqd: http://nsqd:99999\n", "expected an address such as http://host:port"),
        (NSQ + "    nsqd: []\n    nsqlookupds: []\n", "did you mean 'nsqlookupd'?"),
        (NSQ + "    timestamps: {method: record}\n", "expected 'auto', 'estimate' or 'percentile'"),
        (
            NSQ + "    probe: {auth_secret: a, auth_secret_file: b}\n",
            "both auth_secret and auth_secret_file are set",
        ),
        (RABBIT.replace("management_url", "url"), "sources[0].management_url: missing"),
        ("sources: [{name: e, sistem: nsq}]\n", "did you misspell it as 'sistem'?"),
        ("sources: [{name: e, system: 5}]\n", "expected one of kafka, rabbitmq, nsq, not a number"),
        ("sources: [{name: e, system: pulsar}]\n", "system 'pulsar' is not supported"),
    ],
)
def test_faults_of_other_sources(text: str, said: str) -> None:
    assert said in refusal(text)


def test_no_message_shows_an_address_with_a_password() -> None:
    text = RABBIT.replace("https://rabbit", "https://lag:hunter2@rabbit")
    assert "hunter2" not in refusal(text)
