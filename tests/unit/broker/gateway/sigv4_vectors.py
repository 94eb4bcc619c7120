#!/usr/bin/env python3
"""Writes sigv4_vectors.h: requests signed by botocore (pip install botocore), for sigv4_test.c to verify.

What botocore does not do itself (HTTP/2's :authority, a Date header, headers that repeat) is signed here, by the same
canonical request, and eight cases of AWS's published test suite must come out with their published signatures.

usage: tests/unit/broker/gateway/sigv4_vectors.py > tests/unit/broker/gateway/sigv4_vectors.h"""
import datetime
import hashlib
import hmac
import re

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
WHEN = datetime.datetime(2015, 8, 30, 12, 36, 0)
STAMP = "20150830T123600Z"
JSON = "application/x-amz-json-1.1"


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method, headers, body, signed, region, service):
    """The Authorization header, by the rules and not by a library."""
    lines = []
    for name in signed:
        found = [re.sub(r"[ \t]+", " ", v.strip(" \t")) for n, v in headers if n == name]
        lines.append("%s:%s\n" % (name, ",".join(found)))
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join([method, "/", "", "".join(lines), ";".join(signed), digest])
    scope = "%s/%s/%s/aws4_request" % (STAMP[:8], region, service)
    text = "\n".join(["AWS4-HMAC-SHA256", STAMP, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in (STAMP[:8], region, service, "aws4_request"):
        key = mac(key, part)
    return "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        KEY, scope, ";".join(signed), hmac.new(key, text.encode(), hashlib.sha256).hexdigest())


class Clocked(SigV4Auth):
    def add_auth(self, request):
        request.context["timestamp"] = STAMP
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, canonical), request))


def by_botocore(name, body, headers, region="us-east-1", service="kinesis", token=None, host="kinesis.local:4567"):
    request = AWSRequest(method="POST", url="https://%s/" % host, data=body, headers=dict(headers))
    Clocked(Credentials(KEY, SECRET, token), service, region).add_auth(request)
    sent = [("host", host)] + [(k.lower(), v) for k, v in request.headers.items() if k.lower() != "host"]
    sent.append(("user-agent", "not signed"))
    return name, "POST", sent, body, region, service


def by_rules(name, method, headers, body, signed, region="us-east-1", service="kinesis"):
    headers = list(headers)
    headers.append(("authorization", sign(method, headers, body, signed, region, service)))
    return name, method, headers, body, region, service


def published(name, method, headers, body, signature):
    headers = [("host", "example.amazonaws.com")] + headers + [("x-amz-date", STAMP)]
    signed = sorted({n for n, _ in headers})
    case = by_rules("suite " + name, method, headers, body, signed, service="service")
    assert case[2][-1][1].endswith("Signature=" + signature), name
    return case


def cases():
    target = ("X-Amz-Target", "Kinesis_20131202.ListStreams")
    yield by_botocore("boto3", b"{}", [("Content-Type", JSON), target])
    yield by_botocore("boto3 with a session", b'{"StreamName":"s"}', [("Content-Type", JSON), target], token="FwoGZXIvYXdz/+=")
    yield by_botocore("boto3 in another region", b"", [("Content-Type", "application/x-amz-cbor-1.1"), target], region="eu-west-3")
    yield by_botocore("runs of blanks", bytes(range(256)), [("Content-Type", JSON), target, ("X-Amz-Meta-Test", "a   b \t c")])
    body = b'{"Limit":10}'
    digest = hashlib.sha256(body).hexdigest()
    js = [(":authority", "localhost:4567"), ("content-type", JSON), ("x-amz-target", target[1]),
          ("x-amz-user-agent", "aws-sdk-js/3.0"), ("amz-sdk-invocation-id", "6b3d"), ("amz-sdk-request", "attempt=1; max=3"),
          ("content-length", "12"), ("x-amz-date", STAMP), ("x-amz-content-sha256", digest)]
    yield by_rules("JavaScript over HTTP/2", "POST", js, body, sorted(n for n, _ in js))
    java = [("host" if n == ":authority" else n, v) for n, v in js]
    case = by_rules("Java over HTTP/2", "POST", java, body, sorted(n for n, _ in java))
    yield case[:2] + ([(":authority" if n == "host" else n, v) for n, v in case[2]],) + case[3:]
    yield by_rules("a Date header", "POST", [("host", "h"), ("date", "Sun, 30 Aug 2015 12:36:00 GMT")], b"x", ["date", "host"])
    yield by_rules("no blanks", "POST", [("host", "h"), ("x-amz-date", STAMP)], b"x", ["host", "x-amz-date"])
    yield published("get-vanilla", "GET", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
    yield published("post-vanilla", "POST", [], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")
    yield published("get-header-key-duplicate", "GET",
                    [("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")], b"",
                    "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea")
    yield published("get-header-value-order", "GET",
                    [("my-header1", "value4"), ("my-header1", "value1"), ("my-header1", "value3"),
                     ("my-header1", "value2")], b"",
                    "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01")
    yield published("get-header-value-trim", "GET", [("my-header1", " value1"), ("my-header2", ' "a   b   c"')], b"",
                    "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736")
    yield published("post-header-key-sort", "POST", [("my-header1", "value1")], b"",
                    "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c")
    yield published("post-header-value-case", "POST", [("my-header1", "VALUE1")], b"",
                    "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d")
    yield published("post-x-www-form-urlencoded", "POST", [("content-type", "application/x-www-form-urlencoded")],
                    b"Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a")


def c(text, indent=10):
    """As string literals of at most 80 characters."""
    parts = [text[i:i + 80] for i in range(0, len(text), 80)] or [""]
    quoted = ['"%s"' % p.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") for p in parts]
    return ("\n" + " " * indent).join(quoted)


def main():
    print("/* Written by sigv4_vectors.py: requests and the signatures that others gave them. */")
    print("#pragma once\n\n/* clang-format off */\nenum { VECTOR_HEADERS_MAX = 16 };\n")
    print("static const struct vector {\n    const char *name, *method, *region, *service, *body_hash;")
    print("    const char *headers[VECTOR_HEADERS_MAX][2]; /* up to NULL */\n} vectors[] = {")
    for name, method, headers, body, region, service in cases():
        if name == "no blanks":
            headers = [(n, v.replace(", ", ",") if n == "authorization" else v) for n, v in headers]
        rows = ",\n".join("         {%s,\n          %s}" % (c(n), c(v)) for n, v in headers)
        print("    {%s, %s, %s, %s,\n     %s,\n     {\n%s}}," % (c(name), c(method), c(region), c(service),
                                                              c(hashlib.sha256(body).hexdigest()), rows))
    print("};")


main()
