"""Ports that are taken."""

import os
import socket

import pytest

from chatire.stack.errors import StackError
from chatire.stack.ports import free_port, require_free


def test_taken_port_names_its_owner_and_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError) as caught:
            require_free(port, user="web", variable="WEB_PORT")
    assert f"Port {port}, wanted by web, is taken" in str(caught.value)
    assert f"(pid {os.getpid()})" in str(caught.value)
    assert f"WEB_PORT={port + 100}" in caught.value.remedy


def test_free_port_is_accepted():
    require_free(free_port(), user="web", variable="WEB_PORT")


def test_free_port_is_none_that_an_outgoing_connection_could_take():
    """A server takes a while to start; by then it would be gone."""
    assert all(free_port() < 32_768 for _ in range(50))  # where Linux's begin
