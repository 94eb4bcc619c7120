#!/usr/bin/env python3
"""The HTTP front by curl, openssl and raw sockets: both protocols, strictness, limits, ends.

usage: tests/integration/http_front.py [BUILD-DIR] [NAME...]     build, and every test

Prints one line for each test and "N passed, N failed"; exits with 1 when one failed."""
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import http2_wire as h2  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Server:
    """A test server with these limits; ended by its own /quit, which must end with 0 (a sanitizer's exit is not)."""
    directory = None

    def __init__(self, **limits):
        if Server.directory is None:
            Server.directory = tempfile.mkdtemp(prefix="weir-http-")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout",
                            f"{Server.directory}/key.pem", "-out", f"{Server.directory}/cert.pem", "-days", "2",
                            "-nodes", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
        self.ca = f"{Server.directory}/cert.pem"
        self.process = subprocess.Popen(
            [f"{BUILD}/tests/http_test_server", self.ca, f"{Server.directory}/key.pem",
             *(f"{name}={value}" for name, value in limits.items())], stdout=subprocess.PIPE, text=True)
        self.tls, self.clear = map(int, self.process.stdout.readline().split())
        self.has_ended = False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if not self.has_ended:
                self.quit()
            code = self.process.wait(20 if kind is None else 3)
            expect(code == 0, f"the server ended with {code}")
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def quit(self):
        """Asks again where the limit of connections turns the question away."""
        end = time.monotonic() + 5
        while self.process.poll() is None and time.monotonic() < end:
            try:
                sock = self.raw()
                sock.sendall(b"GET /quit HTTP/1.1\r\nHost: h\r\n\r\n")
                read_all(sock, 1)
            except OSError:
                pass

    def curl(self, path, *options, tls=True):
        url = f"https://localhost:{self.tls}{path}" if tls else f"http://127.0.0.1:{self.clear}{path}"
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", self.ca, url, *options],
                              capture_output=True)
        expect(done.returncode == 0, f"curl {path} {options}: {done.returncode} {done.stderr.decode()}")
        return done.stdout

    def raw(self, tls=False, alpn=None, version=None):
        sock = socket.create_connection(("127.0.0.1", self.tls if tls else self.clear), 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context(cafile=self.ca)
            if alpn:
                context.set_alpn_protocols(alpn)
            if version:
                context.minimum_version = context.maximum_version = version
            sock = context.wrap_socket(sock, server_hostname="localhost")
        sock.settimeout(5)
        return sock

    def h2(self, tls=True, alpn=("h2",), settings=b"", ready=True):
        wire = h2.Wire(self.raw(tls, list(alpn) if tls and alpn else None), settings)
        if ready:  # before the server's SETTINGS the windows are small
            wire.wait(lambda f: f[0] == h2.SETTINGS and f[1] & h2.ACK)
        return wire

    def stats(self):
        text = self.curl("/stats", tls=False).decode()
        return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", text)}

    def until(self, condition, what, seconds=5):
        end = time.monotonic() + seconds
        while not condition(self.stats()):
            expect(time.monotonic() < end, f"{what}: {self.stats()}")
            time.sleep(0.05)


def read_all(sock, seconds=5):
    """Everything until the other side closes; raises socket.timeout when it does not."""
    out, end = b"", time.monotonic() + seconds
    while True:
        sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            data = sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return out
        if not data:
            return out
        out += data


def read_until(sock, text, seconds=5):
    out, end = b"", time.monotonic() + seconds
    while text not in out:
        sock.settimeout(max(0.01, end - time.monotonic()))
        data = sock.recv(65536)
        expect(data, f"closed after {out!r}")
        out += data
    return out


def is_open(sock, seconds=0.3):
    sock.settimeout(seconds)
    try:
        return sock.recv(65536) != b""
    except socket.timeout:
        return True
    except (ConnectionError, ssl.SSLError):
        return False


def post(path="/echo", body=b"", more=""):
    return f"POST {path} HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def crc32c(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


# ---- the protocols, by clients that people use


WAYS = {"h1 over TLS": (True, "--http1.1"), "h2 over TLS": (True, "--http2"), "h1 in the clear": (False, "--http1.1"),
        "h2 in the clear": (False, "--http2-prior-knowledge"), "h2 over TLS 1.2": (True, "--http2", "--tls-max", "1.2")}


@test
def curl_gets_answers_every_way():
    with Server() as server:
        for name, (tls, *options) in WAYS.items():
            out = server.curl("/echo?a=%2Fb&c", *options, "-d", "hello", "-H", "X-Amz-Target: T.Op", tls=tls).decode()
            version = "2" if "2" in options[0] else "1.1"
            for line in ("method: POST", "path: /echo", "query: a=%2Fb&c", f"version: {version}", "body: 5",
                         f"crc: {crc32c(b'hello')}", f"tls: {'yes' if tls else 'no'}", "source: 127.0.0.1",
                         "header x-amz-target: T.Op"):
                expect(line + "\n" in out, f"{name}: no {line!r} in {out}")
            host = ":authority" if version == "2" else "host"
            expect(re.search(rf"header {host}: (localhost|127.0.0.1):\d+\n", out), f"{name}: {out}")


@test
def large_bodies_go_both_ways():
    body = os.urandom(10 * 1024 * 1024)
    path = f"{Server.directory or '/tmp'}/weir-http-body-{os.getpid()}"
    with open(path, "wb") as file:
        file.write(body)
    try:
        with Server() as server:
            for name, (tls, *options) in WAYS.items():
                out = server.curl("/echo", *options, "--data-binary", f"@{path}", tls=tls).decode()
                expect(f"body: {len(body)}\n" in out, f"{name}: {out}")
                chunked = server.curl("/echo", *options, "-X", "POST", "-T", path, "-H", "Transfer-Encoding: chunked",
                                      tls=tls).decode()
                expect(re.search("crc: .*", chunked)[0] == re.search("crc: .*", out)[0], f"{name}: {chunked}")
                expect(len(server.curl("/size?14000000", *options, tls=tls)) == 14000000, name)
                expect(len(server.curl("/stream?100x100000", *options, tls=tls)) == 10000000, name)
            expect(server.stats()["unverified"] == 0, "bytes of bodies are still counted")
    finally:
        os.unlink(path)


@test
def dates_and_lengths_are_right():
    with Server() as server:
        for name, (tls, *options) in WAYS.items():
            out = server.curl("/echo", "-i", *options, tls=tls).decode().lower()
            date = re.search(r"\r\ndate: (.*)\r\n", out)[1]
            now = time.time()
            near = [time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + d)).lower() for d in (-2, -1, 0, 1)]
            expect(date in near, f"{name}: {date}")
            head = server.curl("/size?1234", "-I", *options, tls=tls).decode().lower()
            expect("content-length: 1234\r\n" in head, f"{name}: {head}")
            expect("content-length" not in server.curl("/empty", "-i", *options, tls=tls).decode().lower(), name)
            evil = server.curl("/inject", "-i", *options, tls=tls).decode().lower()
            expect("\nx-evil" not in evil and "x-text: a  x-evil: 1" in evil, f"{name}: {evil}")


@test
def connections_are_kept():
    with Server() as server:
        for name, (tls, *options) in WAYS.items():
            if name == "h2 in the clear":
                continue  # curl 7.88 speaks it for one request only
            before = server.stats()["accepted"]
            port = f"https://localhost:{server.tls}" if tls else f"http://127.0.0.1:{server.clear}"
            subprocess.run(["curl", "-sS", "--cacert", server.ca, *options, *[f"{port}/echo?{i}" for i in range(20)]],
                           check=True, capture_output=True)
            expect(server.stats()["accepted"] - before == 2, f"{name}: more connections than one")


@test
def without_alpn_the_first_bytes_tell():
    with Server() as server:
        openssl = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{server.tls}", "-CAfile", server.ca,
                                    "-quiet", "-ign_eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        out, _ = openssl.communicate(post(more="Connection: close\r\n", body=b"x"), timeout=10)
        expect(b"200 OK" in out and b"version: 1.1" in out, out)
        for tls in (True, False):
            wire = server.h2(tls, alpn=None)
            wire.request(1, body=b"abc")
            status, body = wire.answer(1)
            expect(status == 200 and b"version: 2\n" in body, (status, body))
        # One byte at a time, and something that only begins like it.
        sock = server.raw()
        for byte in h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0):
            sock.sendall(bytes([byte]))
        expect(h2.Wire(sock, hello=False).next()[0] == h2.SETTINGS, "no SETTINGS")
        sock = server.raw()
        sock.sendall(b"PRI * HTTP/1.1\r\nHost: h\r\n\r\n")
        expect(b" 400 " in read_all(sock), "PRI is not a method")


@test
def tls_is_strict():
    with Server() as server:
        expect(server.raw(True, ["h2", "http/1.1"]).selected_alpn_protocol() == "h2", "h2 is preferred")
        expect(server.raw(True, ["http/1.1"]).selected_alpn_protocol() == "http/1.1", "http/1.1 is offered")
        expect(server.raw(True, ["x", "http/1.1"]).selected_alpn_protocol() == "http/1.1", "others are passed over")
        # The client offers what it must for the server to be the one who refuses; the first is taken.
        old = ["-cipher", "ALL:@SECLEVEL=0"]
        for options in (["-tls1_2", *old], ["-alpn", "spdy/1"], ["-tls1_1", *old], ["-tls1", *old],
                        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"]):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.tls}", *options],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
            expect((done.returncode == 0) == (options == ["-tls1_2", *old]), f"{options}: {done.returncode} {done.stderr[-300:]}")
        # HTTP/1.1 was agreed on: HTTP/2 is then nonsense.
        sock = server.raw(True, ["http/1.1"])
        sock.sendall(h2.PREFACE)
        out = read_all(sock)
        expect(b" 400 " in out or b" 505 " in out, out)
        sock = server.raw()
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        expect(b" 400 " in read_all(sock), "a TLS hello in the clear")


# ---- HTTP/1.1 by hand


@test
def pipelined_requests_are_answered_in_order():
    with Server() as server:
        for tls in (False, True):
            sock = server.raw(tls, ["http/1.1"])
            sock.sendall(b"".join([post("/slow?300", b"1"), post("/echo?two", b"22"), post("/stream?3x5"),
                                   post("/slow?1", b"4444"), post("/echo?last", more="Connection: close\r\n")]))
            out = read_all(sock)
            expect(out.count(b"HTTP/1.1 200 OK") == 5, out)
            order = [out.index(text) for text in (b"query: 300", b"query: two", b"5\r\nxxxxx\r\n", b"query: 1\n",
                                                  b"query: last")]
            expect(order == sorted(order), out)
            expect(out.count(b"Connection: close") == 1 and out.rindex(b"Connection: close") > order[3], out)
        # No more than 16 of a connection are in flight; the others wait in the network.
        sock = server.raw()
        sock.sendall(post("/slow?500") * 100)
        server.until(lambda s: s["requests"] > 16, "in flight")
        time.sleep(0.2)
        expect(server.stats()["requests"] == 17, server.stats())
        sock.close()
        sock = server.raw(True)
        sock.sendall(b"".join(post(f"/slow?{i % 5}", b"x" * 3000) for i in range(300)))
        out, end = b"", time.monotonic() + 10
        while out.count(b"body: 3000\n") < 300:
            expect(time.monotonic() < end, out.count(b"body: 3000\n"))
            out += sock.recv(65536)
        # At every split.
        sock = server.raw()
        sock.sendall(b"".join(post(f"/slow?{20 if i % 7 == 0 else 0}", str(i).encode()) for i in range(200))
                     + post("/echo", more="Connection: close\r\n"))
        out = read_all(sock, 20)
        bodies = [int(n) for n in re.findall(rb"\nbody: (\d+)", out)]
        expect(bodies == [len(str(i)) for i in range(200)] + [0], bodies)
        data = post("/echo?a", b"hello") + post("/echo?b", b"hello", "Connection: close\r\n")
        for at in range(1, len(data), 5):
            sock = server.raw()
            sock.sendall(data[:at])
            time.sleep(0.002)
            sock.sendall(data[at:])
            out = read_all(sock)
            expect(out.count(b"body: 5\n") == 2 and b"query: b\n" in out, (at, out))


@test
def a_body_is_asked_for():
    with Server(body_max=1000) as server:
        sock = server.raw()
        head = b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        sock.sendall(head)
        expect(read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n", "it is asked for")
        sock.sendall(b"abc")
        expect(b"body: 3\n" in read_until(sock, b"content-length: 3\n"), "it is taken")
        # Behind a slow answer the invitation waits for its turn.
        sock.sendall(post("/slow?200") + head)
        out = read_until(sock, b"100 Continue\r\n\r\n")
        expect(out.startswith(b"HTTP/1.1 200 OK"), out)
        sock.sendall(b"abc")
        read_until(sock, b"body: 3\n")
        # Too large: no invitation.
        sock = server.raw()
        sock.sendall(head.replace(b": 3", b": 1001"))
        out = read_all(sock)
        expect(b" 413 " in out and b"100 Continue" not in out and b"Connection: close" in out, out)
        wire = server.h2()
        wire.request(1, body=b"", more=[("expect", "100-continue"), ("content-length", "3")])
        got = wire.wait(lambda f: f[0] == h2.HEADERS)
        expect(h2.status_of(got[3]) == 100 and not got[1] & h2.END_STREAM, got)
        wire.body(1, b"abc")
        expect(wire.answer(1)[0] == 200, "it is taken")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
SMUGGLING = {
    "CL and TE": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two CL": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\n",
    "CL list": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 36\r\n\r\n",
    "CL plus": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +0\r\n\r\n",
    "CL blank": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 0\r\n\r\n",
    "TE blank": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "TE twice": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE tab": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "TE fold": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: h\n\n",
    "bare LF in headers": b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n",
    "LF at the end": b"GET / HTTP/1.1\r\nHost: h\r\n\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "chunk extension": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n",
    "chunk LF": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "chunk overflow": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n0\r\n\r\n",
    "chunk too long": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    "trailer": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
    "absolute target": b"GET http://g/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
}


@test
def nothing_can_be_smuggled():
    with Server() as server:
        for name, data in SMUGGLING.items():
            sock = server.raw()
            sock.sendall(post("/echo?before") + data + SMUGGLED)
            out = read_all(sock)
            answers = re.findall(rb"HTTP/1\.1 (\d+)", out)
            expect(answers == [b"200", b"400"], f"{name}: {answers}")
            expect(b"smuggled" not in out and b"query: before" in out, f"{name}: {out}")
            expect(b"Connection: close" in out, name)
        # Nothing is read behind a last request, or behind a refused one, whenever it comes.
        for first in (post(more="Connection: close\r\n"), post("/slow?200", more="Connection: close\r\n"),
                      b"BAD\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            sock = server.raw()
            sock.sendall(first + SMUGGLED)
            time.sleep(0.05)
            try:
                sock.sendall(SMUGGLED)
            except ConnectionError:
                pass
            out = read_all(sock)
            expect(out.count(b"HTTP/1.1 ") == 1 and b"smuggled" not in out, f"{first}: {out}")
        # In HTTP/2 the headers that frame HTTP/1.1 have no place.
        for more in ([("transfer-encoding", "chunked")], [("connection", "close")], [("content-length", "5")],
                     [("content-length", "1"), ("content-length", "1")], [("Upper", "x")], [("a b", "x")],
                     [("x", "a\r\nb: c")], [("host", "a"), ("host", "b")], [(":path", "/again")]):
            wire = server.h2()
            wire.request(1, body=b"x", more=more)
            status, _ = wire.answer(1)
            expect(status in (400, "reset", "closed"), f"{more}: {status}")
        for path in ("", "relative", "http://h/", "/a b", "/#x", "/\x7f"):
            wire = server.h2()
            wire.request(1, path)
            expect(wire.answer(1)[0] in (400, "reset"), path)


@test
def heads_have_limits():
    with Server() as server:
        for data, status in ((b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b" 414 "),
                             (b"GET /" + b"a" * 100000, b" 414 "),
                             (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 64 + b"\r\n", b" 431 "),
                             (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 17000 + b"\r\n\r\n", b" 431 "),
                             (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 1000000, b" 431 "),
                             (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
                             (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", b" 417 "),
                             (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b" 501 "),
                             (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", b" 505 ")):
            sock = server.raw()
            try:
                sock.sendall(data)
            except ConnectionError:
                pass
            out = read_all(sock)
            expect(status in out, (data[:40], out))
        for more, status in (([("a", "b")] * 65, 431), ([("a", "b" * 10000)] * 3, 431),
                             ([("content-length", "99999999")], 413)):
            wire = server.h2()
            block = h2.hpack(h2.request_pairs(more=more))
            pieces = [block[i:i + 16384] for i in range(0, len(block), 16384)]
            wire.send(h2.frame(h2.HEADERS, h2.END_HEADERS if len(pieces) == 1 else 0, 1, pieces[0]))
            for i, piece in enumerate(pieces[1:]):
                wire.send(h2.frame(h2.CONTINUATION, h2.END_HEADERS if i == len(pieces) - 2 else 0, 1, piece))
            got = wire.answer(1)
            expect(got[0] == status, (more[0], got))
            wire.request(3)
            expect(wire.answer(3)[0] == 200, "other streams go on")
        wire = server.h2()
        wire.request(1, "/" + "a" * 9000)
        expect(wire.answer(1)[0] == 414, "a long path")


@test
def bodies_have_limits():
    with Server(body_max=100000, unverified_per_source=150000) as server:
        sock = server.raw()
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
                     b"c350\r\n" + b"x" * 50000 + b"\r\nc351\r\n" + b"x" * 50001 + b"\r\n0\r\n\r\n")
        expect(b" 413 " in read_all(sock), "a chunked body beyond the limit")
        wire = server.h2()
        wire.request(1, body=b"x" * 100001)
        status, body = wire.answer(1)
        expect(status == 413, (status, body))
        wire.request(3, body=b"x" * 100000)
        expect(wire.answer(3)[0] == 200, "the connection goes on")
        # Two half sent bodies from one address leave no room for a third, until they are gone.
        held = [server.raw() for _ in range(2)]
        for sock in held:
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 80000\r\n\r\n" + b"x" * 70000)
        server.until(lambda s: s["unverified"] == 140000, "bytes are counted")
        sock = server.raw()
        sock.sendall(post(body=b"x" * 20000))
        expect(b" 503 " in read_all(sock), "no room")
        wire.request(5, body=b"x" * 20000)
        expect(wire.answer(5)[0] == 503, "no room over HTTP/2")
        held.pop().close()
        server.until(lambda s: s["unverified"] == 70000, "bytes go with their connection")
        sock = server.raw()
        sock.sendall(post(body=b"x" * 20000))
        expect(b"200 OK" in read_until(sock, b"body: 20000\n"), "room again")


@test
def slow_clients_are_cut_off():
    limits = {"header_ms": 400, "idle_ms": 700, "body_grace_ms": 500}
    with Server(**limits) as server:
        began = time.monotonic()
        waiting = {
            "a head that drips": (server.raw(), b"GET / HTTP/1.1\r\nHost: h\r\nA:", b" 408 "),
            "a second head": (server.raw(), post("/empty") + b"GET", b" 408 "),
            "a body that does not come": (server.raw(), b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nx", b" 408 "),
            "half a preface": (server.raw(), h2.PREFACE[:10], b""),
            "nothing": (server.raw(), b"", b""),
            "nothing after a request": (server.raw(), post("/empty"), b"204 "),
            "nothing over TLS": (server.raw(True, ["http/1.1"]), b"", b""),
        }
        for sock, data, _ in waiting.values():
            sock.sendall(data)
        dripping = waiting["a head that drips"][0]
        for _ in range(3):
            time.sleep(0.1)
            dripping.sendall(b"x")
        for name, (sock, _, status) in waiting.items():
            out = read_all(sock, 3)
            expect(status in out, f"{name}: {out}")
        expect(time.monotonic() - began < 2.5, "it took too long")
        # A body that keeps the pace stays, one that does not is refused in the middle.
        sock = server.raw()
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\n")
        for _ in range(10):
            time.sleep(0.1)
            sock.sendall(b"x" * 300)
        expect(b"body: 3000\n" in read_until(sock, b"content-length: 3000\n"), "kept the pace")
        wire = server.h2()
        wire.request(1, body=b"", more=[("content-length", "100")])
        wire.send(h2.frame(h2.DATA, 0, 1, b"x" * 50))
        expect(wire.answer(1)[0] == 408, "a slow body over HTTP/2")
        wire = server.h2()
        wire.send(h2.frame(h2.HEADERS, 0, 1, h2.hpack(h2.request_pairs())))
        expect(wire.ended(2) is not None, "a head without an end")
        # An idle HTTP/2 connection is told, and closed.
        wire = server.h2()
        wire.request(1)
        wire.answer(1)
        expect(wire.ended(4) == 0, "GOAWAY without an error")
        # A handshake that stands still does not stop others; it has 10 s.
        sock = socket.create_connection(("127.0.0.1", server.tls))
        sock.sendall(b"\x16\x03\x01")
        expect(b"200" in server.curl("/echo", "-i"), "others are served")
        expect(is_open(sock), "it has its 10 s")


@test
def a_handshake_has_ten_seconds():
    with Server() as server:
        began = time.monotonic()
        silent = socket.create_connection(("127.0.0.1", server.tls))
        half = socket.create_connection(("127.0.0.1", server.tls))
        half.sendall(b"\x16\x03\x01")
        expect(read_all(silent, 15) == b"" and read_all(half, 5) == b"", "nothing to say")
        expect(9 < time.monotonic() - began < 13, time.monotonic() - began)


@test
def an_answer_in_flight_is_no_idle_connection():
    with Server(idle_ms=300) as server:
        for tls, *options in WAYS.values():
            expect(b"query: 1500" in server.curl("/slow?1500", *options, tls=tls), options)


@test
def connections_are_counted():
    with Server(connections_max=10, connections_per_source_max=6) as server:
        held = [server.raw() for _ in range(6)]
        for sock in held:
            sock.sendall(post())
            read_until(sock, b"body: 0\n")
        expect(not is_open(server.raw()), "the seventh of one address")
        held.pop().close()
        end = time.monotonic() + 3
        while True:
            sock = server.raw()
            sock.sendall(post())
            try:
                read_until(sock, b"body: 0\n")
                break
            except (AssertionError, ConnectionError):
                expect(time.monotonic() < end, "no room after one has gone")
        other = socket.socket()
        other.bind(("127.0.0.2", 0))
        other.connect(("127.0.0.1", server.clear))
        other.sendall(post())
        expect(b"source: 127.0.0.2" in read_until(other, b"body: 0\n"), "another address")
        for sock in [*held, sock]:
            sock.close()


# ---- answers in pieces


@test
def pieces_arrive_when_they_are_written():
    with Server() as server:
        for tls in (True, False):
            wire = server.h2(tls)
            wire.request(1, "/events?50")
            for _ in range(3):
                got = wire.wait(lambda f: f[0] == h2.DATA)
                expect(got[3] == b"event\n", got)
            wire.send(h2.frame(h2.RST_STREAM, 0, 1, struct.pack(">I", 8)))
            sock = server.raw(tls, ["http/1.1"])
            sock.sendall(post("/events?50"))
            out = b""
            while out.count(b"6\r\nevent\n\r\n") < 3:
                out += sock.recv(4096)
            expect(b"Transfer-Encoding: chunked\r\n" in out, out)
            sock.close()
        server.until(lambda s: s["cancelled"] == 4 and s["requests"] == 1, "cancelled")
        sock = server.raw()
        sock.sendall(b"POST /stream?3x4 HTTP/1.0\r\n\r\n")
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
        expect(body == b"x" * 12 and b"chunked" not in head and b"Connection: close" in head, head)


@test
def who_does_not_read_makes_writers_wait():
    with Server(stream_queue=200000) as server:
        sock = server.raw()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        sock.sendall(post("/stream?300x100000", more="Connection: close\r\n"))
        wire = server.h2()
        wire.send(h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
        wire.request(1, "/stream?300x100000")
        server.until(lambda s: s["busy"] >= 2, "BUSY")
        time.sleep(0.3)
        stats = server.stats()
        expect(stats["queued_max"] <= 300000 and stats["streams"] == 2, stats)
        # Another stream of the same connection is not held up.
        wire.request(3)
        expect(wire.answer(3)[0] == 200, "the other stream")
        total = len(read_all(sock, 20))
        expect(total > 30000000, total)
        # The first 64 KiB came before stream 3's answer; windows open again.
        received = 65535
        wire.send(h2.frame(h2.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1 << 30)))
        status = "more"
        while status == "more":
            got = wire.wait(lambda f: f[0] == h2.DATA and f[2] == 1)
            received += len(got[3])
            status = "end" if got[1] & h2.END_STREAM else "more"
        expect(received == 30000000, received)
        expect(server.stats()["writable"] >= 2, "writable")


@test
def who_never_reads_is_cut_off():
    with Server(stall_ms=500, stream_stall_ms=500) as server:
        for path in ("/size?14000000", "/stream?200x100000"):
            sock = server.raw()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(post(path))
            wire = server.h2()
            wire.request(1, path)
            server.until(lambda s: s["requests"] <= 1 and s["streams"] == 0, path, 8)
            expect(wire.answer(1)[0] in ("reset", "closed"), path)
            server.until(lambda s: s["connections"] <= 2, path, 8)
            sock.close()
            wire.sock.close()


@test
def an_answer_can_be_broken_off():
    with Server() as server:
        wire = server.h2()
        wire.request(1, "/broken")
        expect(wire.answer(1) == ("reset", 2), "INTERNAL_ERROR")
        wire.request(3)
        expect(wire.answer(3)[0] == 200, "the connection goes on")
        sock = server.raw()
        sock.sendall(post("/broken") + post("/echo"))
        out = read_all(sock)
        expect(b"0\r\n\r\n" not in out and b"method" not in out, out)


@test
def clients_that_go_cancel_what_they_asked_for():
    with Server() as server:
        sock = server.raw()
        sock.sendall(post("/slow?60000") + post("/slow?60000"))
        tls = server.raw(True, ["http/1.1"])
        tls.sendall(post("/slow?60000"))
        wire = server.h2()
        wire.request(1, "/slow?60000")
        wire.request(3, "/slow?60000")
        server.until(lambda s: s["requests"] == 6, "in flight")
        wire.send(h2.frame(h2.RST_STREAM, 0, 1, struct.pack(">I", 8)))
        server.until(lambda s: s["cancelled"] == 1, "a reset")
        sock.close()
        tls.close()
        wire.sock.close()
        server.until(lambda s: s["cancelled"] == 5 and s["requests"] == 1 and s["connections"] == 1, "closed")
        server.raw().sendall(post("/slow?60000"))  # left for /quit to cancel


# ---- HTTP/2's floods


def flood(server, make, count=20000):
    """Sends frames until the server ends the connection; its code."""
    wire = server.h2(tls=False)
    try:
        for i in range(0, count, 100):
            wire.send(b"".join(make(n) for n in range(i, i + 100)))
            if i < 1000:
                time.sleep(0.02)  # so that each hundred is answered before the next
    except (ConnectionError, BrokenPipeError, socket.timeout):
        pass
    return wire.ended(10)


@test
def floods_end_the_connection():
    block = h2.hpack(h2.request_pairs("/slow?60000"))
    wrong = h2.hpack(h2.request_pairs(more=[("Upper", "case")]))
    calm = 11
    with Server() as server:
        floods = {
            "rapid reset": lambda n: h2.frame(h2.HEADERS, 5, 2 * n + 1, block) +
            h2.frame(h2.RST_STREAM, 0, 2 * n + 1, b"\0\0\0\x08"),
            "PING": lambda n: h2.frame(h2.PING, 0, 0, b"12345678"),
            "SETTINGS": lambda n: h2.frame(h2.SETTINGS, 0, 0),
            "PRIORITY": lambda n: h2.frame(h2.PRIORITY, 0, 2 * n + 1, b"\0\0\0\0\x10"),
            "provoked resets": lambda n: h2.frame(h2.HEADERS, 5, 2 * n + 1, wrong),
        }
        for name, make in floods.items():
            code = flood(server, make)
            expect(code in (calm, "closed"), f"{name}: {code}")
        wire = server.h2(tls=False)
        try:
            wire.send(h2.frame(h2.HEADERS, 0, 1, block))
            for _ in range(6):
                wire.send(h2.frame(h2.CONTINUATION, 0, 1))
        except ConnectionError:
            pass
        expect(wire.ended() is not None, "CONTINUATION")
        # One large field in the table, then told again in a byte each.
        wire = server.h2(tls=False)
        bomb = h2.hpack(h2.request_pairs()) + b"\x40" + h2.hpack_text("x") + h2.hpack_text("y" * 3000) + b"\xbe" * 10000
        wire.send(h2.frame(h2.HEADERS, 5, 1, bomb))
        expect(wire.ended() in (calm, "closed"), "an HPACK bomb")
        wire = server.h2(tls=False)
        try:
            wire.request(1, "/echo", body=b"")
            for _ in range(2000):
                wire.send(h2.frame(h2.DATA, 0, 1))
        except ConnectionError:
            pass
        expect(wire.ended() in (calm, "closed"), "empty DATA")
        server.until(lambda s: s["requests"] == 1 and s["connections"] == 1, "nothing is left of them")


@test
def many_streams_run_side_by_side():
    with Server() as server:
        wire = server.h2(tls=False, settings=struct.pack(">HI", 4, 1 << 20), ready=False)
        wire.send(h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24)))
        got = wire.wait(lambda f: f[0] == h2.SETTINGS and not f[1] & h2.ACK)
        settings = dict(struct.unpack(">HI", got[3][i:i + 6]) for i in range(0, len(got[3]), 6))
        expect(settings[3] == 1000 and settings[6] == 24 * 1024, settings)
        for n in range(1000):
            wire.request(2 * n + 1, "/slow?1000")
        server.until(lambda s: s["requests"] == 1001, "a thousand in flight")
        done = set()
        while len(done) < 1000:
            _, flags, stream, _ = wire.wait(lambda f: f[0] in (h2.DATA, h2.RST_STREAM))
            if flags & h2.END_STREAM:
                done.add(stream)
        # Who opens more than was agreed on does not speak the protocol.
        for n in range(1001):
            wire.request(2 * n + 2001, "/slow?60000")
        expect(wire.ended() == 1, "PROTOCOL_ERROR")


@test
def trailers_are_refused():
    with Server() as server:
        wire = server.h2()
        wire.request(1, body=b"")
        wire.send(h2.frame(h2.DATA, 0, 1, b"abc"))
        wire.send(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, h2.hpack([("x", "y")])))
        expect(wire.answer(1)[0] == 400, "trailers")


# ---- ends


@test
def a_drain_lets_requests_end():
    with Server() as server:
        busy = server.raw()
        busy.sendall(post("/slow?1500"))
        idle = server.raw()
        idle.sendall(post("/echo"))
        read_until(idle, b"body: 0\n")
        coming = server.raw()
        coming.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
        wire = server.h2()
        wire.request(1, "/slow?1500")
        server.until(lambda s: s["requests"] == 3, "in flight")
        server.raw().sendall(post("/drain"))
        server.has_ended = True
        expect(not is_open(idle, 2), "idle connections end at once")
        try:
            server.raw()
            expect(False, "it still accepts")
        except ConnectionError:
            pass
        got = wire.wait(lambda f: f[0] == h2.GOAWAY)
        expect(got[3][:4] == b"\x7f\xff\xff\xff", "the first GOAWAY names no last stream")
        wire.request(3, "/echo")  # still on its way
        coming.sendall(b"abc")
        out = read_all(coming)
        expect(b"body: 3\n" in out and b"Connection: close" in out, out)
        last, answers = None, set()
        while len(answers) < 2 or last is None:
            kind, flags, stream, payload = wire.wait(lambda f: f[0] in (h2.GOAWAY, h2.DATA))
            if kind == h2.GOAWAY:
                last = payload[:4]
            elif flags & h2.END_STREAM:
                answers.add(stream)
        expect(last == b"\0\0\0\x03" and answers == {1, 3}, (last, answers))
        out = read_all(busy)
        expect(b"query: 1500" in out and b"Connection: close" in out, out)


def main():
    global BUILD
    names = sys.argv[1:]
    if names and os.path.isdir(names[0]):
        BUILD = os.path.abspath(names.pop(0))
    passed = failed = 0
    for function in TESTS:
        if names and function.__name__ not in names:
            continue
        began = time.monotonic()
        try:
            function()
            passed += 1
            print(f"ok     {function.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as why:  # whatever it is, the others run
            failed += 1
            print(f"FAILED {function.__name__}: {why}", flush=True)
            if not isinstance(why, AssertionError):
                traceback.print_exc()
    if Server.directory:
        for name in os.listdir(Server.directory):
            os.unlink(f"{Server.directory}/{name}")
        os.rmdir(Server.directory)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
