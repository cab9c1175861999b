from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from provision.errors import RefusedError
from provision.host.resolve import check_resolved

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


def leads_to(mocker: MockerFixture, *addresses: str) -> None:
    found: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    mocker.patch("socket.getaddrinfo", return_value=found)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "224.0.0.1"])
def test_a_name_that_leads_to_an_unsafe_address_is_refused(address: str, mocker: MockerFixture) -> None:
    leads_to(mocker, "192.0.2.7", address)
    with pytest.raises(RefusedError, match="leads to"):
        check_resolved("innocent.example.com")


def test_any_other_name_gives_its_addresses_once(mocker: MockerFixture) -> None:
    leads_to(mocker, "192.0.2.7", "192.0.2.7", "2001:db8::1")
    assert check_resolved("api.example.com") == ("192.0.2.7", "2001:db8::1")


def test_addresses_are_taken_as_they_are() -> None:
    assert check_resolved("[::1]") == ("::1",)
    with pytest.raises(RefusedError):
        check_resolved("2852039166")


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "unknown"), UnicodeError("too long")])
def test_what_cannot_be_looked_up_is_left_to_a_proxy(failure: Exception, mocker: MockerFixture) -> None:
    mocker.patch("socket.getaddrinfo", side_effect=failure)
    assert check_resolved("only-the-proxy-knows.example") == ()
