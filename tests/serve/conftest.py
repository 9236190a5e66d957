"""A server with a service that answers by rule, for the tests of a module."""

import pytest

from tests.serve.fake import FakeService, running


@pytest.fixture(scope="module")
def service():
    return FakeService()


@pytest.fixture(scope="module")
def server(tmp_path_factory, service):
    """On a port of its own; what it asks of models goes to `service`."""
    with running(tmp_path_factory.mktemp("served"), service, store_feedback=True) as started:
        yield started


@pytest.fixture(scope="module")
def key(server):
    """It may ask every model."""
    return server.key("everything")
