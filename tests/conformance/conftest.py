"""Fixtures, and the check that no request was answered with a 5xx."""
import os

import pytest

import kds


def pytest_configure(config):
    config.addinivalue_line("markers", "allow_5xx: a 5xx answer does not fail this test")
    config.addinivalue_line("markers", "slow: only with KDS_SLOW=1")
    config.addinivalue_line("markers", "overload: drives a shard over its limits")
    config.addinivalue_line("markers", "auth: wants signatures verified")
    if not kds.ENDPOINT:
        pytest.exit("set ENDPOINT_URL, e.g. ENDPOINT_URL=http://127.0.0.1:4567", 2)


def pytest_collection_modifyitems(config, items):
    if os.environ.get("KDS_SLOW") != "1":
        for it in items:
            if it.get_closest_marker("slow"):
                it.add_marker(pytest.mark.skip(reason="slow: set KDS_SLOW=1"))


def pytest_runtest_setup(item):
    try:
        kds.connect_socket(5).close()
    except OSError as e:
        pytest.fail("nothing answers at %s: %s" % (kds.ENDPOINT, e), pytrace=False)


def pytest_pyfunc_call(pyfuncitem):
    """Runs a test, then fails it if the server answered any of its requests with a 5xx."""
    del kds.server_errors[:]
    pyfuncitem.obj(**{a: pyfuncitem.funcargs[a] for a in pyfuncitem._fixtureinfo.argnames})
    if kds.server_errors and not pyfuncitem.get_closest_marker("allow_5xx"):
        pytest.fail("the server answered 5xx: %s" % kds.server_errors[:5])
    return True


@pytest.fixture(scope="session")
def kin():
    """A client as an application has it: it retries throttling (standard mode)."""
    return kds.client(retries=7)


@pytest.fixture(scope="session")
def once():
    """A client without retries."""
    return kds.client()


@pytest.fixture(scope="session")
def loose():
    """A client without retries and without botocore's own parameter checks: what is wrong reaches the server."""
    return kds.client(validate=False)


class Streams:
    """Creates streams, ahead of need where it can, and deletes what it created."""

    def __init__(self, c):
        self.c, self.made, self.ahead = c, [], {}

    def start(self, count=1):
        name = kds.unique()
        self.c.create_stream(StreamName=name, ShardCount=count)
        self.made.append(name)
        return name

    def take(self, count=1, spare=1):
        """The name of an ACTIVE stream nobody used; the next one starts being created."""
        queue = self.ahead.setdefault(count, [])
        while len(queue) < 1 + spare:
            queue.append(self.start(count))
        name = queue.pop(0)
        kds.wait_active(self.c, name)
        return name

    def drop(self, name):
        if name in self.made:
            self.made.remove(name)
            try:
                kds.call("DeleteStream", StreamName=name, EnforceConsumerDeletion=True)
            except Exception:
                pass


@pytest.fixture(scope="session")
def streams(kin):
    s = Streams(kin)
    yield s
    for name in list(s.made):
        s.drop(name)


@pytest.fixture
def stream(streams):
    """A fresh ACTIVE stream with one shard."""
    name = streams.take(1)
    yield name
    streams.drop(name)


@pytest.fixture
def stream2(streams):
    """A fresh ACTIVE stream with two shards."""
    name = streams.take(2)
    yield name
    streams.drop(name)


@pytest.fixture
def named(streams):
    """Registers names created by a test itself for deletion: name = named()."""
    mine = []

    def make(name=None):
        name = name or kds.unique()
        mine.append(name)
        streams.made.append(name)
        return name
    yield make
    for name in mine:
        streams.drop(name)


@pytest.fixture(scope="session")
def shared1(streams):
    """One stream with one shard for tests that only need some ACTIVE stream."""
    return streams.take(1)


@pytest.fixture(scope="session")
def shared4(streams):
    """One stream with four shards, never resharded, for routing tests."""
    return streams.take(4, spare=0)


@pytest.fixture(scope="session")
def account(kin, shared1):
    return kds.summary(kin, shared1)["StreamARN"].split(":")[4]
