#!/usr/bin/env python3
"""usage: rolling.py BIN [NAME]: all six processes are restarted one after another under load of native clients and of boto3; no
request fails, nothing is lost or doubled. Prints how long it took and the longest time without an acknowledgement.

boto3 as in kinesis_api.py; without it the SDK's part is left out, and that is said."""
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import LOCAL, Cluster, expect, run_all  # noqa: E402
from kinesis_api import with_boto3  # noqa: E402
from steady_load import Native, Sdk  # noqa: E402

BIN = sys.argv[1] if len(sys.argv) > 1 else "build/release/bin"
NO_SDK = None  # why boto3 is not there


def boots(cluster):
    return {b["name"]: b["boot"] for b in cluster.json("weirctl", "broker", "list")["brokers"]}


def expect_handed_over(cluster):
    for name in (n for n in cluster.names() if n.startswith("broker")):
        stops = re.findall(r"server: stops, leading (\d+) shards", cluster.log(name))
        expect(stops and set(stops) == {"0"}, f"{name} has handed over all that it led when it stops: {stops}")


# ---- what a client sees of a broker that stops ----

def signed(cluster, target, body):
    """The bytes of a signed request of HTTP/1.1."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    env = cluster.env
    request = AWSRequest("POST", env["WEIR_KINESIS_ENDPOINT"] + "/", data=body, headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202." + target})
    SigV4Auth(Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]), "kinesis", env["AWS_REGION"]).add_auth(request)
    head = f"POST / HTTP/1.1\r\nHost: {env['WEIR_KINESIS_ENDPOINT'].split('//')[1]}\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return head.encode() + b"\r\n" + body.encode()


class Wire:
    """One connection to broker-1's port, and what comes back on it."""

    def __init__(self, cluster):
        host, port = cluster.env["WEIR_KINESIS_ENDPOINT"].split("//")[1].split(":")
        context = ssl.create_default_context(cafile=cluster.env["AWS_CA_BUNDLE"])
        self.tls = context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=host)

    def answer(self):
        """Status, whether the connection ends, body. (0, True, b""): it was broken off."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.tls.recv(65536)
            if not more:
                return 0, True, b""
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
        while len(body) < length:
            body += self.tls.recv(65536)
        return int(head.split()[1]), b"connection: close" in head.lower(), body


def a_broker_that_stops_answers_what_is_under_way():
    with Cluster(BIN) as c:
        c.create("orders", 3)
        c.wait_in_sync("orders")
        Sdk.wait_serving(c)
        names = signed(c, "ListStreams", "{}")
        idle, busy = Wire(c), Wire(c)
        idle.tls.sendall(names)
        status, closes, _ = idle.answer()
        expect(status == 200 and not closes, f"a broker that stays keeps its connections: {status}, {closes}")
        record = '{"StreamName": "orders", "PartitionKey": "k", "Data": "' + "QUJD" * 5000 + '"}'
        put = signed(c, "PutRecord", record)
        busy.tls.sendall(put[:-9000])
        time.sleep(0.1)
        os.kill(int(c.local("pid", "broker-1")), signal.SIGTERM)
        time.sleep(0.2)
        idle.tls.sendall(names)
        status, closes, _ = idle.answer()
        expect(status == 200 and closes, f"a client is told, with an answer, to come by another connection: {status}, {closes}")
        new = Wire(c)
        new.tls.sendall(names)
        expect(new.answer()[0] == 200, "and may come by another one for a while")
        time.sleep(1.3)  # the port is closed by now
        busy.tls.sendall(put[-9000:])
        status, closes, body = busy.answer()
        expect(status == 200 and closes and b"SequenceNumber" in body, f"the put under way is answered: {status}, {closes}, {body[:200]}")
        end = time.monotonic() + 10
        while subprocess.run([LOCAL, "pid", "broker-1", "--dir", c.dir], capture_output=True, check=False).returncode == 0:
            expect(time.monotonic() < end, "broker-1 ends")
            time.sleep(0.05)
        expect("leading 0 shards" in c.log("broker-1"), "it has handed over")
        c.local("start", "broker-1")
        c.wait_in_sync("orders")
        lines = c.run("weir", "get", "orders", "--from", "trim-horizon").stdout.split()
        expect(lines == ["ABC" * 5000], f"the record is there, once: {len(lines)}")


def every_process_is_restarted_under_load():
    with Cluster(BIN) as c:
        c.create("orders", 6)
        c.create("clicks", 6)
        c.wait_in_sync("orders")
        c.wait_in_sync("clicks")
        native = Native(c, "orders", "native")
        sdk = None if NO_SDK else Sdk(c, "clicks", modes=("legacy", "standard"))
        time.sleep(2)
        before = boots(c)
        began = time.monotonic()
        said = c.local("rolling-restart")
        took = time.monotonic() - began
        expect(said.count("restarted") == 6, f"six processes are restarted: {said}")
        after = boots(c)
        expect(all(after[name] > before[name] for name in before), f"every broker has started again: {before}, {after}")
        expect_handed_over(c)
        time.sleep(1)
        if sdk:
            sdk.stop()
        native.stop()
        c.no_reports()
        return (f"six processes in {took:.1f} s\n    native client: {native.sent} lines, 0 failed; longest gap between two acknowledgements "
                f"{native.gap:.2f} s, between two records read {native.read_gap:.2f} s\n    " +
                (sdk.figures() if sdk else f"SDK clients: left out: {NO_SDK}"))


if __name__ == "__main__":
    NO_SDK = with_boto3()
    tests = [every_process_is_restarted_under_load] + ([] if NO_SDK else [a_broker_that_stops_answers_what_is_under_way])
    sys.exit(run_all([(f.__name__.replace("_", " "), f) for f in tests if len(sys.argv) < 3 or sys.argv[2] in f.__name__]))
