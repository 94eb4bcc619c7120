"""HTTP/2 by hand, for tests that send what no client would."""
import socket
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATIC_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
# The digits of RFC 7541's appendix B: all that a status needs.
DIGITS = {"00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4", "011011": "5", "011100": "6",
          "011101": "7", "011110": "8", "011111": "9"}


def frame(kind, flags, stream, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def hpack_int(value, bits, first=0):
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytes([first | limit])
    value -= limit
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def hpack_text(text):
    data = text if isinstance(text, bytes) else text.encode()
    return hpack_int(len(data), 7) + data


def hpack(pairs):
    """Literals without indexing."""
    return b"".join(b"\x00" + hpack_text(name) + hpack_text(value) for name, value in pairs)


def request_pairs(path="/echo", method="POST", more=()):
    return [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), *more]


def status_of(block):
    """Of an answer's head; None where it stands in the dynamic table."""
    while block and block[0] & 0xe0 == 0x20:  # a change of the table's size
        block = block[1:]
    if block[0] & 0x80:
        return STATIC_STATUS.get(block[0] & 0x7f)
    assert block[0] & 0x3f in (8, 9, 10, 11, 12, 13, 14), block[:8]
    size, text = block[1] & 0x7f, ""
    value = block[2:2 + size]
    if not block[1] & 0x80:
        return int(value)
    bits, code = "".join(f"{byte:08b}" for byte in value), ""
    for bit in bits:
        code += bit
        if code in DIGITS:
            text, code = text + DIGITS[code], ""
    return int(text)


class Wire:
    """A connection that has said hello. Frames come as (kind, flags, stream, payload)."""

    def __init__(self, sock, settings=b"", hello=True):
        self.sock, self.input = sock, b""
        if hello:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        self.sock.sendall(data)

    def request(self, stream, path="/echo", body=None, more=(), method="POST"):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if body is None else 0), stream,
                        hpack(request_pairs(path, method, more))))
        if body is not None:
            self.body(stream, body)

    def body(self, stream, body, end=True):
        for at in range(0, len(body), 16384):
            last = end and at + 16384 >= len(body)
            self.send(frame(DATA, END_STREAM if last else 0, stream, body[at:at + 16384]))

    def next(self, timeout=5):
        """The next frame, or None when the other side has closed."""
        self.sock.settimeout(timeout)
        while len(self.input) < 9 or len(self.input) < 9 + int.from_bytes(self.input[:3], "big"):
            try:
                more = self.sock.recv(65536)
            except (ConnectionError, BrokenPipeError):
                return None
            if not more:
                return None
            self.input += more
        size = int.from_bytes(self.input[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.input[3:9])
        payload, self.input = self.input[9:9 + size], self.input[9 + size:]
        return kind, flags, stream, payload

    def wait(self, wanted, timeout=5):
        """The first frame for which wanted(frame) is true, answering SETTINGS on the way; None at the end."""
        while (got := self.next(timeout)) is not None:
            if got[0] == SETTINGS and not got[1] & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            if wanted(got):
                return got
        return None

    def answer(self, stream, timeout=5):
        """(status, body) of a stream; ("reset", code) or ("closed", None)."""
        status, body = None, b""
        while True:
            try:
                got = self.wait(lambda f: f[2] == stream and f[0] in (HEADERS, DATA, RST_STREAM) or f[0] == GOAWAY,
                                timeout)
            except socket.timeout:
                return "timeout", body
            if got is None:
                return "closed", None
            kind, flags, _, payload = got
            if kind == RST_STREAM:
                return "reset", struct.unpack(">I", payload)[0]
            if kind == HEADERS:
                status = status_of(payload)
            elif kind == DATA:
                body += payload
            if kind in (HEADERS, DATA) and flags & END_STREAM and status != 100:
                return status, body

    def ended(self, timeout=5):
        """The code of the last GOAWAY before the connection closed, "closed" without one, None when it stays open."""
        code = "closed"
        try:
            while (got := self.next(timeout)) is not None:
                if got[0] == GOAWAY:
                    code = struct.unpack(">I", got[3][4:8])[0]
        except socket.timeout:
            return None
        return code
