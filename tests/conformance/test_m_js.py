"""The AWS SDK for JavaScript v3, over HTTP/1.1 and over what it uses by default, HTTP/2.

Its packages come by `npm install` into $KDS_JS_DIR (run does that); without them these tests are skipped.
The default handler wants HTTP/2: by ALPN on https://, and on http:// cleartext with prior knowledge (h2c).
"""
import json
import os
import shutil
import socket
import ssl
import subprocess
from urllib.parse import urlsplit

import pytest

import kds

JS = os.environ.get("KDS_JS_DIR") or "/tmp/kds-js-%d" % os.getuid()
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not NODE or not os.path.isdir(os.path.join(JS, "node_modules", "@aws-sdk")),
                                reason="no node or no packages in " + JS)
STEPS = ["create", "waiter", "summary", "put-record", "put-records", "get-records", "at-timestamp-ms",
         "error-not-found", "error-validation", "error-in-use", "paginate-list-streams", "large-record", "parallel",
         "register-consumer", "subscribe-to-shard", "subscribe-with-other-requests", "delete"]
done = {}


def smoke(handler, **more):
    env = dict(os.environ, ENDPOINT_URL=kds.endpoint(), HANDLER=handler, STREAM_NAME=kds.unique("js"),
               NODE_NO_WARNINGS="1", **more)
    if kds.CA_BUNDLE:
        env["NODE_EXTRA_CA_CERTS"] = kds.CA_BUNDLE
    p = subprocess.run([NODE, "smoke.mjs"], cwd=JS, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=150)
    rows = [json.loads(line) for line in p.stdout.splitlines() if line.startswith("{")]
    return {r["name"]: r for r in rows}, p.stderr


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("handler", ["h1", "default"])
def test_js_sdk(handler, step):
    if handler not in done:
        done[handler] = smoke(handler)
    rows, err = done[handler]
    assert step in rows, "the script ended before: " + err[-400:]
    assert rows[step]["ok"], rows[step].get("error")


def test_tls_offers_h2():
    if not kds.ENDPOINT.startswith("https"):
        pytest.skip("not https")
    ctx = ssl.create_default_context(cafile=kds.CA_BUNDLE)
    ctx.set_alpn_protocols(["h2", "http/1.1"])
    s = socket.create_connection(
        (urlsplit(kds.ENDPOINT).hostname, urlsplit(kds.ENDPOINT).port or 443), 10)
    with ctx.wrap_socket(s, server_hostname=urlsplit(kds.ENDPOINT).hostname) as t:
        assert t.selected_alpn_protocol() == "h2"


@pytest.mark.auth
@pytest.mark.parametrize("handler", ["h1", "default"])
@pytest.mark.parametrize("minutes", [-20, 20])
def test_js_sdk_corrects_a_wrong_clock(handler, minutes):
    """The first answer is InvalidSignatureException; the SDK takes the time from its Date header and tries again.

    A server that does not verify signatures passes this for nothing: see test_i_auth.py.
    """
    rows, err = smoke(handler, SKEW_MS=str(minutes * 60000))
    assert rows and rows["list"]["ok"], rows or err[-400:]
