"""The native protocol by hand, for tests that send what no client of ours would."""
import socket
import ssl
import struct

from cluster import expect

CALL, REPLY, CANCEL, MESSAGE = 1, 2, 3, 4
HELLO, REGISTER_BROKER, FENCE, WATCH, CREATE_STREAM, PUT, READ, APPEND, RAFT = 1, 10, 12, 20, 21, 40, 41, 60, 80
STATUS = {0: "OK", 1: "INVALID", 2: "NOT_FOUND", 3: "EXISTS", 13: "CORRUPT", 17: "DENIED", 18: "WRONG_CLUSTER",
          19: "WRONG_IDENTITY", 20: "UNSUPPORTED", 21: "TOO_LARGE", 5: "NOT_LEADER", 6: "NOT_ACTIVE"}


def varint(n):
    out = b""
    while True:
        out += bytes([n & 0x7f | (0x80 if n > 0x7f else 0)])
        n >>= 7
        if not n:
            return out


def field(number, value):
    """One protobuf field: an integer as a varint, bytes or text with a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def frame(kind, call, method, body=b"", attachment=b"", magic=0x57, version=1, length=None, body_bytes=None):
    size = 32 + len(body) + len(attachment) if length is None else length
    return struct.pack("<IBBBBQHHIII", size, magic, version, kind, 0, call, method, 0,
                       len(body) if body_bytes is None else body_bytes, 0, 0) + body + attachment


class Wire:
    """A connection with a certificate; hello=False leaves out the first call."""

    def __init__(self, port, env, hello=True, cert=None, key=None, ca=None, cluster=None, name="admin"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_verify_locations(ca or env["WEIR_CA"])
        context.load_cert_chain(cert or env["WEIR_CERT"], key or env["WEIR_KEY"])
        raw = socket.create_connection(("127.0.0.1", port), 5)
        raw.settimeout(5)
        self.socket = context.wrap_socket(raw)
        self.input = b""
        if hello:
            status, text = self.call(HELLO, field(1, cluster) + field(2, name) + field(4, 1) + field(5, 1))
            expect(status == "OK", f"HELLO was answered {status}: {text}")

    def send(self, data):
        self.socket.sendall(data)

    def read_frame(self):
        """(kind, call, method, status, body, attachment), or None when the other side has closed."""
        while len(self.input) < 4 or len(self.input) < struct.unpack_from("<I", self.input)[0]:
            try:
                chunk = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not chunk:
                return None
            self.input += chunk
        size, _, _, kind, _, call, method, status, body_bytes = struct.unpack_from("<IBBBBQHHI", self.input)
        whole, self.input = self.input[:size], self.input[size:]
        return kind, call, method, status, whole[32:32 + body_bytes], whole[32 + body_bytes:]

    def call(self, method, body=b"", attachment=b"", number=1):
        """(status name, body), or ("CLOSED", b"")."""
        self.send(frame(CALL, number, method, body, attachment))
        while True:
            got = self.read_frame()
            if got is None:
                return "CLOSED", b""
            if got[0] == REPLY and got[1] == number:
                return STATUS.get(got[3], str(got[3])), got[4]

    def is_closed(self):
        """Whether the other side ends the connection (within the socket's timeout)."""
        try:
            while self.read_frame() is not None:
                pass
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()
