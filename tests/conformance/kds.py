"""Helpers of the Kinesis conformance suite: clients, raw signed requests, CBOR, readers.

Everything talks to $ENDPOINT_URL and needs only Debian's python3-boto3 and python3-pytest.
"""
import base64
import datetime
import hashlib
import http.client
import json
import os
import random
import socket
import ssl
import string
import struct
import time
from urllib.parse import urlsplit

import botocore.config
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

ENDPOINTS = os.environ.get("ENDPOINT_URL", "").split(",")  # requests go to all of them in turn
ENDPOINT = ENDPOINTS[os.getpid() % len(ENDPOINTS)]  # of what keeps one connection
REGION = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
KEY_ID = os.environ.get("AWS_ACCESS_KEY_ID") or "AKIDCONFORMANCE"
SECRET = os.environ.get("AWS_SECRET_ACCESS_KEY") or "conformance-secret"
CA_BUNDLE = os.environ.get("AWS_CA_BUNDLE") or None
JSON11 = "application/x-amz-json-1.1"
CBOR11 = "application/x-amz-cbor-1.1"
TARGET = "Kinesis_20131202."
HASH_MAX = (1 << 128) - 1
MIB = 1 << 20
PREFIX = "cnf-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=6)) + "-"

# What the environment must hold for child processes (aws CLI, node).
os.environ.setdefault("AWS_ACCESS_KEY_ID", KEY_ID)
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", SECRET)
os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = REGION
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

server_errors = []  # every 5xx seen by a boto client of this module: (operation, status, code)
_counter = [0]


def unique(tag="s"):
    _counter[0] += 1
    return "%s%s-%d" % (PREFIX, tag, _counter[0])


_turn = [0]


def endpoint():
    """The next one."""
    _turn[0] += 1
    return ENDPOINTS[_turn[0] % len(ENDPOINTS)]


def _spread(request=None, **_):
    """Before a request is signed: sends it to the next endpoint, and a retry to another one."""
    request.url = urlsplit(request.url)._replace(netloc=urlsplit(endpoint()).netloc).geturl()


def _watch(parsed_response=None, event_name="", **_):
    # What an endpoint has changed, another one may show a moment later.
    if len(ENDPOINTS) > 1 and not event_name.split(".")[-1].startswith(("Get", "List", "Describe", "PutRecord", "Subscribe")):
        time.sleep(0.1)
    if parsed_response:
        status = parsed_response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500:
            server_errors.append((event_name.split(".")[-1], status, parsed_response.get("Error", {}).get("Code")))


def client(retries=0, validate=True, key=KEY_ID, secret=SECRET, timeout=30, pool=10, **config):
    """A botocore client. retries=0: every error surfaces; retries=N: standard mode with N attempts.

    botocore's client is what boto3.client() returns; test_sdk.py uses boto3 itself.
    """
    if retries:
        policy = {"mode": "standard", "total_max_attempts": retries}
    else:
        policy = {"total_max_attempts": 1}
    s = botocore.session.get_session()
    c = s.create_client("kinesis", region_name=REGION, endpoint_url=ENDPOINT, aws_access_key_id=key,
                        aws_secret_access_key=secret,
                        config=botocore.config.Config(retries=policy, parameter_validation=validate,
                                                      connect_timeout=10, read_timeout=timeout,
                                                      max_pool_connections=pool, **config))
    c.meta.events.register("response-received.kinesis", _watch)
    if len(ENDPOINTS) > 1:
        c.meta.events.register("before-sign.kinesis", _spread)
    return c


def poll(what, want, seconds=30, step=0.1):
    """Calls what() until want(result); returns the result, or fails after the limit."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if want(got):
            return got
        assert time.monotonic() < end, "still %r after %ss" % (got, seconds)
        time.sleep(step)


def summary(c, name):
    return c.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]


def wait_active(c, name, seconds=60):
    """Everywhere: an endpoint may show a moment longer what was before a change that went to another."""
    return poll(lambda: [summary(c, name) for _ in ENDPOINTS],
                lambda all_of_them: all(d["StreamStatus"] == "ACTIVE" for d in all_of_them), seconds, 0.06)[-1]


def wait_gone(c, name, seconds=60):
    def gone():
        try:
            return summary(c, name)["StreamStatus"]
        except ClientError as e:
            return e.response["Error"]["Code"]
    return poll(gone, lambda s: s == "ResourceNotFoundException", seconds)


def shards(c, name, open_only=False):
    rows = c.describe_stream(StreamName=name)["StreamDescription"]["Shards"]
    rows.sort(key=lambda s: s["ShardId"])
    return [s for s in rows if not open_only or is_open(s)]


def is_open(shard):
    return shard["SequenceNumberRange"].get("EndingSequenceNumber") is None


def hash_range(shard):
    r = shard["HashKeyRange"]
    return int(r["StartingHashKey"]), int(r["EndingHashKey"])


def md5_hash(key):
    return int(hashlib.md5(key.encode("utf-8")).hexdigest(), 16)


def shard_for(rows, hash_key):
    hits = [s["ShardId"] for s in rows if is_open(s) and hash_range(s)[0] <= hash_key <= hash_range(s)[1]]
    assert len(hits) == 1, "hash %d is in %d open shards" % (hash_key, len(hits))
    return hits[0]


def key_for(rows, shard_id, salt=""):
    """A partition key whose MD5 falls in the given open shard."""
    for i in range(10000):
        k = "%sk%d" % (salt, i)
        if shard_for(rows, md5_hash(k)) == shard_id:
            return k
    raise AssertionError("no key for " + shard_id)


def covers_everything(rows):
    """Do the ranges of rows tile 0..2^128-1 without gap or overlap?"""
    at = 0
    for lo, hi in sorted(hash_range(s) for s in rows):
        if lo != at:
            return False
        at = hi + 1
    return at == HASH_MAX + 1


def iterator(c, name, shard_id, kind="TRIM_HORIZON", **kw):
    return c.get_shard_iterator(StreamName=name, ShardId=shard_id, ShardIteratorType=kind, **kw)["ShardIterator"]


def read(c, it, want=None, seconds=20, limit=None, step=0.05):
    """Reads from an iterator until `want` records came or the shard ended (want=None: until caught up or ended).

    Returns (records, last response). Empty pages in between are allowed, as in AWS.
    """
    out, last, idle = [], None, 0
    end = time.monotonic() + seconds
    while it:
        last = c.get_records(ShardIterator=it, **({"Limit": limit} if limit else {}))
        out += last["Records"]
        it = last.get("NextShardIterator")
        if want is not None and len(out) >= want:
            break
        if not last["Records"]:
            idle += 1
            if want is None and (last.get("MillisBehindLatest") == 0 and idle >= 2 or idle >= 8):
                break
            time.sleep(step)
        assert time.monotonic() < end, "got %d records of %s in %ss" % (len(out), want, seconds)
    return out, last


def read_shard(c, name, shard_id, want=None, **kw):
    return read(c, iterator(c, name, shard_id), want, **kw)[0]


def drain(c, it, seconds=20):
    """Reads a closed shard to its end; returns (records, last response)."""
    out, last = [], None
    end = time.monotonic() + seconds
    while it:
        last = c.get_records(ShardIterator=it)
        out += last["Records"]
        it = last.get("NextShardIterator")
        if it:
            assert time.monotonic() < end, "a closed shard did not end in %ss" % seconds
            time.sleep(0.05)
    return out, last


def fails(code, fn, **kw):
    """Calls fn(**kw), wants a ClientError with the code (or one of the codes); returns its message."""
    codes = (code,) if isinstance(code, str) else tuple(code)
    try:
        got = fn(**kw)
    except ClientError as e:
        assert e.response["Error"]["Code"] in codes, "wanted %s, got %s" % ("/".join(codes), e)
        assert 400 <= e.response["ResponseMetadata"]["HTTPStatusCode"] < 500
        return e.response["Error"]["Message"]
    got.pop("ResponseMetadata", None)
    raise AssertionError("wanted %s, got success %s" % ("/".join(codes), str(got)[:300]))


# ---- raw requests -------------------------------------------------------------------------------------------------

class Answer:
    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {k.lower(): v for k, v in headers}

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def cbor(self):
        return cbor_loads(self.body)

    @property
    def code(self):
        try:
            d = self.cbor if "cbor" in self.headers.get("content-type", "") else self.json
        except Exception:
            return None
        return str(d.get("__type") or d.get("code") or "").split("#")[-1] or None

    @property
    def message(self):
        d = self.cbor if "cbor" in self.headers.get("content-type", "") else self.json
        return d.get("message") or d.get("Message") or ""

    def __repr__(self):
        return "<%s %s %r>" % (self.status, self.headers.get("content-type"), self.body[:300])


class ClockedSigV4(SigV4Auth):
    """SigV4Auth with the time of signing given."""

    def __init__(self, creds, service, region, when):
        super().__init__(creds, service, region)
        self.when = when

    def add_auth(self, request):
        request.context["timestamp"] = self.when.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, canonical), request))


def utcnow():
    return datetime.datetime.utcnow()


def signed_headers(op, body, content_type=JSON11, key=KEY_ID, secret=SECRET, region=REGION, service="kinesis",
                   when=None, extra=None, target=None, path="/"):
    h = {"Content-Type": content_type, "X-Amz-Target": TARGET + op if target is None else target}
    h.update(extra or {})
    req = AWSRequest(method="POST", url=ENDPOINT.rstrip("/") + path, data=body, headers=h)
    ClockedSigV4(Credentials(key, secret), service, region, when or utcnow()).add_auth(req)
    return dict(req.headers.items())


def _context():
    ctx = ssl.create_default_context(cafile=CA_BUNDLE)
    return ctx


def connect(timeout=15):
    u = urlsplit(ENDPOINT)
    if u.scheme == "https":
        return http.client.HTTPSConnection(u.hostname, u.port or 443, timeout=timeout, context=_context())
    return http.client.HTTPConnection(u.hostname, u.port or 80, timeout=timeout)


def connect_socket(timeout=15):
    u = urlsplit(ENDPOINT)
    s = socket.create_connection((u.hostname, u.port or (443 if u.scheme == "https" else 80)), timeout)
    s.settimeout(timeout)
    return _context().wrap_socket(s, server_hostname=u.hostname) if u.scheme == "https" else s


def host_header():
    u = urlsplit(ENDPOINT)
    return u.netloc.split("@")[-1]


def send(method, headers, body, conn=None, path="/"):
    own = conn is None
    conn = conn or connect()
    try:
        conn.request(method, path, body=body, headers=headers)
        r = conn.getresponse()
        return Answer(r.status, r.getheaders(), r.read())
    finally:
        if own:
            conn.close()


def raw(op, body, conn=None, **kw):
    """A signed POST with the given body: bytes as they are, str encoded, anything else as JSON."""
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return send("POST", signed_headers(op, body, **kw), body, conn)


def listed(a):
    """Was this the answer to a ListStreams that was served?"""
    return a.status == 200 and isinstance(a.json.get("StreamNames"), list)


def call(op, **params):
    """An operation by its wire name and JSON parameters: for what Debian's botocore does not know yet."""
    a = raw(op, params)
    if a.status == 200:
        return a.json if a.body else {}
    raise ClientError({"Error": {"Code": a.code or str(a.status), "Message": a.message if a.code else repr(a)},
                       "ResponseMetadata": {"HTTPStatusCode": a.status}}, op)


def b64(data):
    return base64.b64encode(data).decode()


# ---- CBOR (the part that Kinesis uses) ----------------------------------------------------------------------------

class Tag:
    def __init__(self, tag, value):
        self.tag, self.value = tag, value

    def __repr__(self):
        return "Tag(%d, %r)" % (self.tag, self.value)


def _head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for code, fmt, top in ((24, ">B", 1 << 8), (25, ">H", 1 << 16), (26, ">I", 1 << 32), (27, ">Q", 1 << 64)):
        if n < top:
            return bytes([major << 5 | code]) + struct.pack(fmt, n)
    raise ValueError(n)


def cbor_dumps(v, indefinite=False):
    """indefinite=True writes maps and lists the way the Java SDK's generator does: open, items, break."""
    if v is None:
        return b"\xf6"
    if v is True or v is False:
        return b"\xf5" if v else b"\xf4"
    if isinstance(v, int):
        return _head(0, v) if v >= 0 else _head(1, -1 - v)
    if isinstance(v, float):
        return b"\xfb" + struct.pack(">d", v)
    if isinstance(v, bytes):
        return _head(2, len(v)) + v
    if isinstance(v, str):
        e = v.encode()
        return _head(3, len(e)) + e
    if isinstance(v, Tag):
        return _head(6, v.tag) + cbor_dumps(v.value, indefinite)
    if isinstance(v, (list, tuple)):
        items = b"".join(cbor_dumps(x, indefinite) for x in v)
        return b"\x9f" + items + b"\xff" if indefinite else _head(4, len(v)) + items
    if isinstance(v, dict):
        items = b"".join(cbor_dumps(k, indefinite) + cbor_dumps(x, indefinite) for k, x in v.items())
        return b"\xbf" + items + b"\xff" if indefinite else _head(5, len(v)) + items
    raise TypeError(type(v))


_BREAK = object()


def cbor_loads(data):
    v, at = _item(data, 0)
    if at != len(data):
        raise ValueError("%d bytes after the CBOR item" % (len(data) - at))
    return v


def _item(d, i):
    b = d[i]
    major, low = b >> 5, b & 31
    i += 1
    if low < 24:
        n = low
    elif low < 28:
        size = 1 << (low - 24)
        n = int.from_bytes(d[i:i + size], "big")
        i += size
    elif low == 31:
        n = None
    else:
        raise ValueError("bad CBOR head %02x" % b)
    if major == 0:
        return n, i
    if major == 1:
        return -1 - n, i
    if major in (2, 3):
        if n is None:
            parts = []
            while True:
                v, i = _item(d, i)
                if v is _BREAK:
                    return (b"" if major == 2 else "").join(parts), i
                parts.append(v)
        if i + n > len(d):
            raise ValueError("short CBOR string")
        v = d[i:i + n]
        return (bytes(v) if major == 2 else v.decode()), i + n
    if major == 4:
        out = []
        while n is None or len(out) < n:
            v, i = _item(d, i)
            if v is _BREAK:
                break
            out.append(v)
        return out, i
    if major == 5:
        out = {}
        while n is None or len(out) < n:
            k, i = _item(d, i)
            if k is _BREAK:
                break
            out[k], i = _item(d, i)
        return out, i
    if major == 6:
        v, i = _item(d, i)
        return Tag(n, v), i
    if low == 20:
        return False, i
    if low == 21:
        return True, i
    if low in (22, 23):
        return None, i
    if low == 25:
        return struct.unpack(">e", d[i - 2:i])[0], i
    if low == 26:
        return struct.unpack(">f", d[i - 4:i])[0], i
    if low == 27:
        return struct.unpack(">d", d[i - 8:i])[0], i
    if low == 31:
        return _BREAK, i
    raise ValueError("CBOR simple %d" % low)
