#!/usr/bin/env python3
"""Bad input: each gets a clear error, nothing is lost, no process ends.

usage: bad_input.py --bin DIR [--only NAME]"""
import argparse
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid

import wire
from cluster import Cluster, Failed, expect, run_all
from wire import Wire, field, frame


def certificate(directory, ca_dir, name, uri):
    """A certificate of the cluster's authority with any SAN URI; returns (cert, key)."""
    key, request, cert = (os.path.join(directory, f"{name}.{end}") for end in ("key", "csr", "crt"))
    extension = os.path.join(directory, f"{name}.ext")
    with open(extension, "w", encoding="ascii") as file:
        file.write(f"extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=URI:{uri}\n")
    quiet = {"check": True, "capture_output": True}
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], **quiet)
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request], **quiet)
    subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", os.path.join(ca_dir, "ca.crt"), "-CAkey",
                    os.path.join(ca_dir, "ca.key"), "-CAcreateserial", "-days", "2", "-out", cert, "-extfile", extension], **quiet)
    return cert, key


def new_authority(directory):
    os.makedirs(directory)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    os.path.join(directory, "ca.key"), "-out", os.path.join(directory, "ca.crt"), "-days", "2", "-subj", "/CN=other"],
                   check=True, capture_output=True)
    return directory


class Tests:
    def __init__(self, cluster):
        self.c = cluster
        with open(os.path.join(cluster.dir, "cluster"), encoding="ascii") as file:
            facts = dict(line.strip().split("=", 1) for line in file)
        self.uuid = uuid.UUID(facts["uuid"])
        self.base = int(facts["base_port"])
        self.certs = os.path.join(cluster.dir, "certs")
        self.ports = [self.base + 1, self.base + 11]  # a controller and a broker
        cluster.create("steady", 3)
        cluster.run("weir", "put", "steady", "--key-field", "1", stdin="".join(f"k{i % 5} {i}\n" for i in range(500)))

    def wire(self, port, **options):
        options.setdefault("cluster", self.uuid.bytes)
        return Wire(port, self.c.env, **options)

    def still_fine(self):
        for name in self.c.names():
            self.c.local("pid", name)
        out = self.c.run("weir", "get", "steady").stdout.splitlines()
        expect(len(out) == 500, f"{len(out)} of 500 records are left")

    def garbage(self):
        chance = random.Random(1)
        for port in self.ports:
            for size in (1, 5, 100, 5000):
                with socket.create_connection(("127.0.0.1", port), 5) as plain:
                    plain.settimeout(5)
                    plain.sendall(bytes(chance.randrange(256) for _ in range(size)))
                    plain.shutdown(socket.SHUT_WR)
                    try:
                        while plain.recv(4096):
                            pass
                    except OSError:
                        pass
        self.still_fine()

    def frames(self):
        hello = frame(wire.CALL, 1, wire.HELLO, field(1, self.uuid.bytes) + field(2, "admin") + field(4, 1) + field(5, 1))
        bad = {
            "magic": frame(wire.CALL, 2, wire.PUT, magic=0x58), "version": frame(wire.CALL, 2, wire.PUT, version=9),
            "kind": frame(77, 2, wire.PUT), "shorter than a header": frame(wire.CALL, 2, wire.PUT, length=8),
            "4 GiB": frame(wire.CALL, 2, wire.PUT, length=0xffffffff),
            "body beyond the frame": frame(wire.CALL, 2, wire.PUT, body_bytes=5000),
        }
        for port in self.ports:
            for what, data in bad.items():
                connection = self.wire(port, hello=False)
                connection.send(hello + data)
                expect(connection.is_closed(), f"port {port}: a frame with a bad '{what}' did not end the connection")
            connection = self.wire(port, hello=False)
            connection.send(frame(wire.CALL, 1, wire.WATCH))
            expect(connection.is_closed(), f"port {port}: a call before HELLO was accepted")
        self.still_fine()

    def messages(self):
        garbage = b"\xff\xfe\xfd\x07" * 9
        for port, methods in zip(self.ports, ((wire.CREATE_STREAM, wire.WATCH), (wire.PUT, wire.READ))):
            for method in methods:
                status, _ = self.wire(port).call(method, garbage)
                expect(status in ("INVALID", "CORRUPT"), f"port {port}: method {method} with garbage was answered {status}")
            status, _ = self.wire(port).call(9999)
            expect(status == "UNSUPPORTED", f"port {port}: an unknown method was answered {status}")
        broker = self.ports[1]
        key = self.c.json("weirctl", "stream", "describe", "steady")["id"] << 32
        status, _ = self.wire(broker).call(wire.PUT, field(1, key), b"not a batch at all" * 20)
        expect(status in ("INVALID", "CORRUPT", "NOT_LEADER"), f"a put without a batch was answered {status}")
        status, _ = self.wire(broker).call(wire.PUT, field(1, 1 << 60), b"")
        expect(status in ("NOT_FOUND", "INVALID", "CORRUPT"), f"a put to an unknown shard was answered {status}")
        status, _ = self.wire(broker).call(wire.READ, field(1, 1 << 60))
        expect(status == "NOT_FOUND", f"a read of an unknown shard was answered {status}")
        self.still_fine()

    def roles(self):
        status, _ = self.wire(self.ports[0]).call(wire.REGISTER_BROKER, field(1, 9))
        expect(status == "DENIED", f"an admin who registers as a broker was answered {status}")
        for port, method in ((self.ports[1], wire.FENCE), (self.ports[1], wire.APPEND), (self.ports[0], wire.RAFT)):
            connection = self.wire(port)
            connection.send(frame(wire.MESSAGE, 0, method))
            expect(connection.is_closed(), f"port {port}: message {method} from an admin did not end the connection")
        self.still_fine()

    def certificates(self):
        directory = os.path.join(self.c.dir, "bad-certs")
        os.makedirs(directory)
        other = new_authority(os.path.join(directory, "other"))
        foreign = certificate(directory, other, "stranger", f"spiffe://{self.uuid}/admin/admin")
        cousin_id = uuid.uuid4()
        cousin = certificate(directory, self.certs, "cousin", f"spiffe://{cousin_id}/admin/admin")
        nobody = certificate(directory, self.certs, "nobody", "spiffe://not-a-uuid/admin/admin")
        for port in self.ports:
            try:
                connection = self.wire(port, hello=False, cert=foreign[0], key=foreign[1])
                connection.send(frame(wire.CALL, 1, wire.HELLO))
                expect(connection.is_closed(), f"port {port}: a certificate of another authority was accepted")
            except (ssl.SSLError, ConnectionError):
                pass
            for cert, key in (cousin, nobody):
                try:
                    connection = self.wire(port, hello=False, cert=cert, key=key)
                    status, _ = connection.call(wire.HELLO, field(1, cousin_id.bytes) + field(2, "admin") + field(4, 1) + field(5, 1))
                    expect(status in ("WRONG_CLUSTER", "CLOSED", "WRONG_IDENTITY"), f"port {port}: {cert} was answered {status}")
                except (ssl.SSLError, ConnectionError):
                    pass
            status, _ = self.wire(port, hello=False).call(wire.HELLO, field(1, self.uuid.bytes) + field(2, "broker-1") + field(4, 1) +
                                                          field(5, 1))
            expect(status in ("WRONG_IDENTITY", "CLOSED"), f"port {port}: another's name was answered {status}")
        env = dict(self.c.env, WEIR_CERT=cousin[0], WEIR_KEY=cousin[1])
        result = self.c.run("weirctl", "cluster", "status", "--timeout", "3s", check=False, env=env)
        expect(result.returncode not in (0, 2) and "cluster" in result.stderr.lower(),
               f"weirctl of another cluster: {result.returncode} {result.stderr}")
        self.still_fine()
        return result.stderr.strip().splitlines()[-1][:100]

    def refused(self, code, word, *command, stdin=None):
        result = self.c.run(*command, check=False, stdin=stdin)
        expect(result.returncode == code, f"{' '.join(command)[:80]} exited {result.returncode}, expected {code}: {result.stderr[-300:]}")
        expect(word in result.stderr.lower(), f"{' '.join(command)[:80]}: no word of '{word}' in: {result.stderr[-300:]}")

    def names(self):
        self.refused(3, "nowhere", "weir", "put", "nowhere", stdin="x\n")
        self.refused(3, "nowhere", "weir", "get", "nowhere")
        self.refused(3, "nowhere", "weirctl", "shard", "list", "nowhere")
        self.refused(3, "shard 77", "weir", "get", "steady", "--shard", "shardId-000000000077")
        self.refused(5, "steady already", "weirctl", "stream", "create", "steady", "--shards", "2")
        self.refused(2, "name", "weirctl", "stream", "create", "no spaces, please", "--shards", "2")
        self.refused(2, "shards", "weirctl", "stream", "create", "none", "--shards", "0")
        self.refused(2, "no such command", "weirctl", "stream", "sideways")
        self.refused(2, "from", "weir", "get", "steady", "--from", "tomorrow")
        self.still_fine()

    def oversize(self):
        path = os.path.join(self.c.dir, "large")
        with open(path, "w", encoding="ascii") as file:
            file.write("small 1\nsmall 2\nlarge " + "x" * (11 << 20) + "\nsmall 3\n")
        with open(path, encoding="ascii") as file:
            result = self.c.run("weir", "put", "steady", "--key-field", "1", check=False, stdin=file.read())
        expect(result.returncode == 1 and ("3" in result.stderr) and ("large" in result.stderr.lower() or "limit" in result.stderr.lower()),
               f"an oversize record: {result.returncode} {result.stderr[-300:]}")
        out = self.c.run("weir", "get", "steady").stdout.splitlines()
        kept = [line for line in out if line.startswith("small")]
        expect(len(kept) == 3, f"{len(kept)} of the 3 small records around an oversize one are there")
        self.c.run("weirctl", "stream", "delete", "steady")
        self.c.create("steady", 3)
        self.c.run("weir", "put", "steady", "--key-field", "1", stdin="".join(f"k{i % 5} {i}\n" for i in range(500)))
        self.still_fine()

    def start_directly(self, program, *arguments, seconds=10):
        """Runs a server that ought to refuse to start; returns what it said."""
        result = subprocess.run([os.path.join(self.c.bin, program), *arguments], capture_output=True, text=True, timeout=seconds, check=False)
        expect(result.returncode not in (0, -6, -11), f"{program} {' '.join(arguments)} exited {result.returncode}: {result.stderr[-300:]}")
        return result.stderr

    def configuration(self):
        config = os.path.join(self.c.dir, "broker-1", "config")
        bad = os.path.join(self.c.dir, "bad-config")
        with open(config, encoding="utf-8") as file:
            good = file.read()
        cases = {"zoen = a\n": "zoen", "listen-port = many\n": "listen-port", "journal-file-bytes = -3\n": "journal-file-bytes"}
        for program in ("weir-broker", "weir-controller"):
            said = self.start_directly(program, "--config", "/nowhere/config")
            expect("/nowhere/config" in said, f"{program}: {said}")
        for line, word in cases.items():
            with open(bad, "w", encoding="utf-8") as file:
                file.write("".join(l + "\n" for l in good.splitlines() if l.split(" =")[0] != line.split(" =")[0]) + line)
            said = self.start_directly("weir-broker", "--config", bad)
            expect(word in said and "bad-config" in said, f"'{line.strip()}' gave: {said}")
        self.still_fine()

    def directories(self):
        c = self.c
        c.local("term", "broker-1")
        mine, theirs = (os.path.join(c.dir, name) for name in ("broker-1", "broker-2"))
        said = self.start_directly("weir-broker", "--config", os.path.join(theirs, "config"), "--listen-port", str(self.base + 91),
                                   "--kinesis-listen-port", "0", "--metrics-listen", "")
        expect("another process uses the data directory" in said, f"the directory of a running broker: {said}")
        copy = os.path.join(c.dir, "copy-of-2")
        c.local("term", "broker-2")
        shutil.copytree(os.path.join(theirs, "data"), copy)
        c.local("start", "broker-2")
        said = self.start_directly("weir-broker", "--config", os.path.join(mine, "config"), "--data-dir", copy)
        expect("belongs to broker 2, this is broker 1" in said, f"the directory of another broker: {said}")
        # An older copy of its own directory: the boot id would go back.
        old = os.path.join(c.dir, "old-of-1")
        shutil.copytree(os.path.join(mine, "data"), old)
        c.local("start", "broker-1")
        c.wait_in_sync("steady")
        c.local("term", "broker-1")
        c.local("start", "broker-1")
        c.wait_in_sync("steady")
        c.local("term", "broker-1")
        said = self.start_directly("weir-broker", "--config", os.path.join(mine, "config"), "--data-dir", old, seconds=30)
        expect("is older than boot" in said or "was another process" in said, f"a restored older directory: {said}")
        c.local("start", "broker-1")
        c.wait_in_sync("steady")
        self.still_fine()
        return said.strip().splitlines()[-1][-110:]

    def other_cluster(self):
        """A directory and a member of another cluster."""
        with Cluster(self.c.bin, controllers=1, brokers=3) as other:
            other.local("down")
            copy = os.path.join(self.c.dir, "of-another-cluster")
            shutil.copytree(os.path.join(other.dir, "broker-1", "data"), copy)
            self.c.local("term", "broker-1")
            said = self.start_directly("weir-broker", "--config", os.path.join(self.c.dir, "broker-1", "config"), "--data-dir", copy)
            self.c.local("start", "broker-1")
            expect("belongs to another cluster" in said, f"a directory of another cluster: {said}")
            said = self.start_directly("weir-controller", "--config", os.path.join(self.c.dir, "controller-1", "config"), "--data-dir",
                                       os.path.join(other.dir, "controller-1", "data"), "--listen-port", str(self.base + 90))
            expect("belongs to cluster" in said, f"a controller's directory of another cluster: {said}")
        self.c.wait_in_sync("steady")
        self.still_fine()


def placement(bin_dir):
    """Two brokers cannot hold three replicas; the sentence says what is missing."""
    with Cluster(bin_dir, controllers=1, brokers=2) as c:
        result = c.run("weirctl", "stream", "create", "impossible", "--shards", "1", check=False)
        expect(result.returncode == 1 and "zone" in result.stderr, f"{result.returncode}: {result.stderr}")
        return result.stderr.strip()[-110:]


def full_disk(bin_dir):
    """Full disks: puts are refused with the reason, reads go on, space that returns is used."""
    if os.geteuid() != 0:
        return "skipped: needs root to mount a small file system"
    directory = tempfile.mkdtemp(prefix="weir-full-")
    mounts = [os.path.join(directory, f"broker-{i}") for i in (1, 2, 3)]
    try:
        for mount in mounts:
            os.mkdir(mount)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", mount], capture_output=True, check=False).returncode:
                return "skipped: no mounts here"
        with Cluster(bin_dir, directory=directory, settings=FULL_DISK_SETTINGS) as c:
            acks = os.path.join(directory, "acks")
            c.create("filling", 3)
            lines = "".join(f"k{i % 50} {i} {'x' * 1000}\n" for i in range(250000))
            put = c.run("weir", "put", "filling", "--key-field", "1", "--ack-log", acks, "--give-up", "4s",
                        check=False, stdin=lines, timeout=120)
            expect(put.returncode != 0, "250 MB fitted into 120 MB")
            states = {row["name"]: row["disk_state"] for row in c.json("weirctl", "broker", "list")["brokers"]}
            expect("full" in states.values(), f"weirctl broker list says {states}")
            again = c.run("weir", "put", "filling", "--key", "k", "--give-up", "3s", check=False, stdin="before\n")
            expect(again.returncode != 0 and ("disk" in again.stderr.lower() or "reserve" in again.stderr.lower()),
                   f"weir put to full disks said: {again.stderr[-400:]}")
            for name in c.names():
                c.local("pid", name)
            with open(acks, encoding="ascii") as file:
                acked = {int(line.split()[0]) for line in file}
            out = {int(line.split()[1]) + 1 for line in c.run("weir", "get", "filling").stdout.splitlines()}
            expect(acked <= out, f"{len(acked - out)} acknowledged lines cannot be read while the disk is full")
            for mount in mounts:
                subprocess.run(["mount", "-o", "remount,size=1g", mount], check=True)
            end = time.monotonic() + 30
            while True:
                again = c.run("weir", "put", "filling", "--key", "k", "--give-up", "4s", check=False, stdin="after\n")
                if again.returncode == 0:
                    break
                expect(time.monotonic() < end, f"puts fail although there is space again: {again.stderr[-300:]}")
                time.sleep(0.5)
            return f"{len(acked)} lines acknowledged before the disks were full"
    finally:
        for mount in mounts:
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
        shutil.rmtree(directory)


FULL_DISK_SETTINGS = ["journal-file-bytes=4MiB", "journal-files=4", "disk-reserve=8MiB"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    with Cluster(arguments.bin) as cluster:
        t = Tests(cluster)
        tests = [("garbage instead of TLS", t.garbage), ("malformed frames", t.frames), ("malformed messages", t.messages),
                 ("roles", t.roles), ("certificates", t.certificates), ("unknown and duplicate names", t.names),
                 ("oversize records", t.oversize), ("configuration", t.configuration), ("data directories", t.directories),
                 ("another cluster", t.other_cluster), ("impossible placement", lambda: placement(arguments.bin)),
                 ("full disks", lambda: full_disk(arguments.bin)),
                 ("no process reports a fault of ours", cluster.no_reports)]
        if arguments.only:
            tests = [(name, test) for name, test in tests if arguments.only in name]
        result = run_all(tests)
        if result:
            cluster.show_logs()
    return result


if __name__ == "__main__":
    sys.exit(main())
