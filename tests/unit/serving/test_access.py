"""Tokens, host names and origins."""

import pytest

from ser.errors import UserError
from ser.serving.access import Access, check_origin, host_name, is_open, name_hosts


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("Bearer secret", True),
        ("bearer secret", True),
        ("BEARER  secret ", True),
        ("Bearer secrets", False),
        ("Bearer", False),
        ("Basic secret", False),
        ("secret", False),
        ("", False),
        ("Bearer \xff\xfe", False),
    ],
)
def test_the_scheme_of_a_token_is_case_insensitive(header, accepted):
    assert Access(token="secret").accepts_header(header) is accepted


def test_a_token_may_hold_any_characters():
    token = "geheim-ß-秘密"
    header = f"Bearer {token}".encode().decode("latin-1")  # as a server decodes it
    assert Access(token=token).accepts_header(header)
    assert Access().accepts_header("")


@pytest.mark.parametrize(("own", "given"), [("secret", "\ud800"), ("\udcff", "secret")])
def test_a_token_without_bytes_in_utf8_is_wrong(own, given):
    assert not Access(token=own).accepts_token(given)


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_refused(token):
    with pytest.raises(UserError, match="SER_TOKEN"):
        Access(token=token)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8000", "localhost"),
        ("LOCALHOST", "localhost"),
        ("[::1]:80", "::1"),
        ("evil.example@localhost", ""),
        ("[::1", ""),
        ("", ""),
        ("a\x00b", "a\x00b"),
    ],
)
def test_host_names_are_read_from_headers(header, name):
    assert host_name(header) == name


def test_loopback_services_answer_to_loopback_and_allowed_names():
    hosts = name_hosts("127.0.0.1", ["Hub.Example"])
    assert hosts == {"127.0.0.1", "localhost", "::1", "hub.example"}
    assert Access(hosts=hosts).accepts_host("hub.example:443")
    assert not Access(hosts=hosts).accepts_host("evil.example")
    assert name_hosts("0.0.0.0") is None
    assert Access(hosts=None).accepts_host("anything")


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (None, True),
        ("http://localhost:8000", True),
        ("http://localhost:9000", False),
        ("https://evil.example", False),
        ("https://front.example", True),
        ("https://hub.example", True),
        ("null", False),
        ("", False),
    ],
)
def test_only_own_and_allowed_pages_may_open_websockets(origin, accepted):
    access = Access(
        hosts=name_hosts("127.0.0.1", ["hub.example"]), origins=("https://front.example",)
    )
    assert access.accepts_origin(origin, "localhost:8000") is accepted


@pytest.mark.parametrize("origin", ["front.example", "https://front.example/", "ftp://a", "null"])
def test_origins_that_no_browser_sends_are_refused(origin):
    with pytest.raises(UserError, match="cors-origin"):
        Access(origins=(origin,))


def test_pages_are_open_and_data_is_not():
    assert all(map(is_open, ["/", "/docs", "/openapi.json", "/health", "/ready", "/web/demo.js"]))
    assert not any(
        map(is_open, ["/model", "/predict", "/metrics", "/examples/0", "/webx", "/docs/"])
    )


def test_a_malformed_origin_is_refused():
    access = Access()
    assert not access.accepts_origin("http://[", "localhost")
    with pytest.raises(UserError, match="--cors-origin"):
        check_origin("http://[")
