#!/usr/bin/env python3
"""Writes the seeds of the HTTP, JSON, CBOR, SigV4, token and event stream targets: tests/fuzz/corpus/TARGET/NAME.

Only what is worth a start is kept; libFuzzer finds the rest. Run it again after api.def got an operation."""
import base64
import json
import os
import re
import struct
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))


def write(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


# ---- HTTP ----

POST = (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n"
        b"X-Amz-Target: Kinesis_20131202.ListStreams\r\n")
HTTP1 = {
    "length": POST + b"Content-Length: 2\r\n\r\n{}",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    "continue": POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    "pipelined": (POST + b"Content-Length: 2\r\n\r\n{}") * 3,
    "both": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "bare-lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "old": b"GET /a?b=c HTTP/1.0\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "close": b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
}


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEAD = b"\x83\x86\x84" + literal(b":authority", b"localhost") + literal(b"content-length", b"2")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
HTTP2 = {
    "request": PREFACE + frame(1, 4, 1, HEAD) + frame(0, 1, 1, b"{}"),
    "two": PREFACE + frame(1, 4, 1, HEAD) + frame(1, 4, 3, HEAD) + frame(0, 1, 3, b"{}") + frame(0, 1, 1, b"{}"),
    "continued": PREFACE + frame(1, 0, 1, HEAD[:10]) + frame(9, 4, 1, HEAD[10:]) + frame(0, 1, 1, b"{}"),
    "reset": PREFACE + frame(1, 4, 1, HEAD) + frame(3, 0, 1, b"\0\0\0\x08"),
    "ping": PREFACE + frame(6, 0, 0, b"12345678") + frame(8, 0, 0, b"\0\0\xff\xff"),
    "settings": PREFACE + frame(4, 0, 0, b"\0\x04\0\0\0\0") + frame(1, 5, 1, b"\x82\x86\x84" + literal(b":authority", b"a")),
    "padded": PREFACE + frame(1, 0xc, 1, b"\x03" + HEAD + b"\0\0\0") + frame(0, 9, 1, b"\x02{}\0\0"),
    "goodbye": PREFACE + frame(7, 0, 0, b"\0" * 8),
}

# ---- bodies ----

STREAM = {"StreamName": "orders", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/orders"}
BODIES = {
    "PutRecord": dict(STREAM, Data="aGVsbG8=", PartitionKey="key \u00e9 \U0001f40b", ExplicitHashKey="123"),
    "PutRecords": dict(STREAM, Records=[{"Data": "AA==", "PartitionKey": "a"}, {"Data": "", "PartitionKey": "b"}]),
    "GetShardIterator": dict(STREAM, ShardId="shardId-000000000000", ShardIteratorType="AT_TIMESTAMP", Timestamp=1700000000.25),
    "GetRecords": {"ShardIterator": "AAAA", "Limit": 10000, "DryRun": False},
    "CreateStream": {"StreamName": "s", "ShardCount": 4, "Tags": {"a": "b", "c": ""},
                     "StreamModeDetails": {"StreamMode": "PROVISIONED"}},
    "ListShards": dict(STREAM, MaxResults=10, ShardFilter={"Type": "AT_TIMESTAMP", "Timestamp": 1.5e9}),
    "SubscribeToShard": {"ConsumerARN": STREAM["StreamARN"] + "/consumer/c:1700000000", "ShardId": "shardId-000000000001",
                         "StartingPosition": {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "495" * 18}},
    "TagResource": {"ResourceARN": STREAM["StreamARN"], "Tags": {"k": "v"}},
    "UpdateShardCount": dict(STREAM, TargetShardCount=9007199254740993, ScalingType="UNIFORM_SCALING"),
    "EnableEnhancedMonitoring": dict(STREAM, ShardLevelMetrics=["ALL", None], Unknown={"a": [1, {"b": None}]}),
}


def operations():
    """Names in the order of api.def, which is that of their numbers."""
    with open(os.path.join(HERE, "..", "..", "broker", "gateway", "api.def"), encoding="utf-8") as file:
        return [m[1] for m in re.finditer(r"^OPERATION\((\w+),", file.read(), re.M)]


def cbor_head(major, value):
    for size, code, form in ((24, value, ""), (1 << 8, 24, "B"), (1 << 16, 25, "H"), (1 << 32, 26, "I"), (1 << 64, 27, "Q")):
        if value < size:
            return bytes([major << 5 | (value if not form else code)]) + (struct.pack(">" + form, value) if form else b"")
    raise ValueError(value)


def cbor(value, name=""):
    if value is None or isinstance(value, bool):
        return bytes([{None: 0xf6, False: 0xf4, True: 0xf5}[value]])
    if name == "Timestamp":
        return cbor_head(6, 1) + cbor_head(0, int(value * 1000))
    if name == "Data":
        data = base64.b64decode(value)
        return cbor_head(2, len(data)) + data
    if isinstance(value, str):
        text = value.encode()
        return cbor_head(3, len(text)) + text
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, list):
        return cbor_head(4, len(value)) + b"".join(cbor(v) for v in value)
    return cbor_head(5, len(value)) + b"".join(cbor(k) + cbor(v, k) for k, v in value.items())


# ---- event streams ----

def message(headers, payload):
    head = b"".join(bytes([len(n)]) + n + b"\x07" + struct.pack(">H", len(v)) + v for n, v in headers)
    front = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    front += struct.pack(">I", zlib.crc32(front)) + head + payload
    return front + struct.pack(">I", zlib.crc32(front))


def main():
    for name, data in HTTP1.items():
        write("http1", name, data)
        write("front", "h1-" + name, b"\0" + data)
    for name, data in HTTP2.items():
        write("front", "h2-" + name, b"\0" + data)
        write("front", "h2-cut-" + name, b"\3" + data)
    names = operations()
    for name, body in BODIES.items():
        number = bytes([names.index(name)])
        write("json", name, number + json.dumps(body, ensure_ascii=False).encode())
        write("cbor", name, number + cbor(body))
    write("json", "escapes", bytes([names.index("PutRecord")]) + rb' { "PartitionKey" : "\u00e9\ud83d\udc0b\n\"" , "Data":"aGk=" }')
    write("cbor", "indefinite", bytes([names.index("PutRecord")]) + b"\xbf\x64Data\x5f\x41a\x41b\xff\x6cPartitionKey\x7f\x61k\xff\xff")
    credential = b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date"
    for vector in range(6):
        for part in range(4):
            write("sigv4", "%d-%d" % (vector, part), bytes([vector, part, 77 * part & 255, vector]) + credential +
                  b", Signature=" + b"0" * 64)
    write("iterator", "numbers", bytes(range(40)))
    write("iterator", "text", b'"AAAAAAAAAAHkAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="')
    event = [(b":message-type", b"event"), (b":event-type", b"SubscribeToShardEvent")]
    write("eventstream", "initial", message([(b":message-type", b"event"), (b":event-type", b"initial-response")], b"{}"))
    write("eventstream", "event", message(event, b'{"Records":[]}') * 2)
    write("eventstream", "bare", message([], b""))
    write("eventstream", "parts", b"\x03\x05nameworldand a payload")


if __name__ == "__main__":
    main()
