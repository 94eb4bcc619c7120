#!/usr/bin/env python3
"""usage: life.py BIN: the controllers' set changes under load, their state comes back from a backup, certificates are
rotated, a zone is lost; brokers and clients go on."""
import atexit
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import LOCAL, Cluster, Failed, expect, run_all  # noqa: E402

BIN = sys.argv[1] if len(sys.argv) > 1 else "build/release/bin"


class Load:
    """Puts numbered lines one after another, on one connection, until it is stopped."""

    def __init__(self, cluster, stream):
        self.process = subprocess.Popen(["weir", "put", stream, "--json", "--give-up", "60s"], env=cluster.env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1)
        atexit.register(self.process.kill)  # a test that fails does not stop it
        self.sent, self.acked, self.gap = 0, 0, 0.0
        self.stop_now = False
        self.threads = [threading.Thread(target=self.write, daemon=True), threading.Thread(target=self.read, daemon=True)]
        for thread in self.threads:
            thread.start()

    def write(self):
        try:
            while not self.stop_now:
                self.process.stdin.write(f"line {self.sent}\n")
                self.process.stdin.flush()
                self.sent += 1
                time.sleep(0.01)
            self.process.stdin.close()
        except (BrokenPipeError, ValueError):
            pass

    def read(self):
        last = time.monotonic()
        for line in self.process.stdout:
            if '"sequence_number"' in line or '"SequenceNumber"' in line or line.startswith("{"):
                now = time.monotonic()
                self.gap = max(self.gap, now - last)
                last = now
                self.acked += 1

    def stop(self):
        self.stop_now = True
        for thread in self.threads:
            thread.join(90)
        code = self.process.wait(90)
        expect(code == 0, f"weir put exited {code}: {self.process.stderr.read()}")
        return self.sent


def lines_of(cluster, stream):
    out = cluster.run("weir", "get", stream, "--from", "trim-horizon", timeout=60).stdout
    return [line for line in out.splitlines() if line]


def expect_lines(cluster, stream, count):
    lines = lines_of(cluster, stream)
    expect(sorted(lines) == sorted(f"line {i}" for i in range(count)),
           f"{stream}: {len(lines)} lines of {count}, {len(set(lines))} different ones")


def members(cluster):
    return {c["name"]: c for c in cluster.json("weirctl", "controller", "list")["controllers"]}


def wait(sentence, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except Failed:
            pass
        time.sleep(0.2)
    raise Failed(f"not within {seconds} s: {sentence}")


def runs(cluster, name):
    return subprocess.run([LOCAL, "pid", name, "--dir", cluster.dir], check=False, capture_output=True).returncode == 0


def the_set_of_controllers_changes():
    with Cluster(BIN) as c:
        c.create("orders", 2)
        load = Load(c, "orders")
        refused = c.run("weirctl", "controller", "remove", "3", check=False)
        expect(refused.returncode == 1 and "none of which may fail" in refused.stderr, f"remove of one of three: {refused}")
        refused = c.run("weirctl", "controller", "add", "2=127.0.0.1:1", check=False)
        expect(refused.returncode != 0 and "member already" in refused.stderr, f"add of a member: {refused}")

        expect(c.local("add-controller").strip() == "controller-4", "the new one is controller-4")
        expect(members(c)["controller-4"]["voter"], "controller-4 votes")
        port = members(c)["controller-4"]["port"]
        c.run("weirctl", "controller", "add", f"4=127.0.0.1:{port}")  # again: nothing happens
        expect(len(members(c)) == 4, f"four controllers, not {sorted(members(c))}")

        active = c.active_controller()
        began = time.monotonic()
        expect(c.local("replace-controller", active).strip() == "controller-5", "the next one is controller-5")
        took = time.monotonic() - began
        now = members(c)
        expect(sorted(now) == sorted({"controller-1", "controller-2", "controller-3", "controller-4", "controller-5"} -
                                     {active}), f"after replacing {active}: {sorted(now)}")
        wait(f"{active} ends", lambda: not runs(c, active))
        expect("was removed from the cluster" in c.log(active), f"{active} says that it was removed")

        # One of the first ones goes for good, two of the four that are left are new.
        gone = sorted(now)[0]
        c.local("kill", gone)
        c.local("replace-controller", gone)
        c.load_env()
        now = members(c)
        expect(gone not in now and len(now) == 4, f"after replacing the dead {gone}: {sorted(now)}")
        # The brokers know the new ones: they register with whoever becomes active.
        for _ in range(2):
            active = c.active_controller()
            c.local("kill", active)
            wait("another controller is active", lambda: c.active_controller() not in ("", active))
            wait("all brokers have sessions with it",
                 lambda: all(b["session"] for b in c.json("weirctl", "broker", "list")["brokers"]))
            c.local("start", active)
            wait(f"{active} follows", lambda: members(c)[active]["state"] == "follower")
        c.run("weirctl", "stream", "create", "after", "--shards", "2")
        sent = load.stop()
        expect_lines(c, "orders", sent)
        return f"replaced the active one in {took:.1f} s under load"


def the_state_comes_back_from_a_backup():
    with Cluster(BIN, settings=("quarantine-after=2s",)) as c:
        c.create("kept", 2)
        load = Load(c, "kept")
        time.sleep(1)
        file = os.path.join(c.dir, "backup")
        said = c.json("weirctl", "controller", "backup", "--out", file)
        expect(said["bytes"] == os.path.getsize(file), f"the file has the bytes that are told: {said}")
        expect(os.stat(file).st_mode & 0o077 == 0, "nobody else may read a backup")
        # After the backup: another stream, and so many elections that the promises are far above the rows.
        c.create("later", 1)
        c.run("weir", "put", "later", stdin="one\ntwo\n")
        for _ in range(2):
            for broker in ("broker-1", "broker-2"):
                c.local("kill", broker)
                c.local("start", broker)
                c.wait_in_sync("kept")
        before = max(s["epoch"] for s in c.shards("kept"))
        later = c.json("weirctl", "stream", "describe", "later")
        for i in (1, 2, 3):
            c.local("kill", f"controller-{i}")
            shutil.rmtree(os.path.join(c.dir, f"controller-{i}", "data"))
            os.mkdir(os.path.join(c.dir, f"controller-{i}", "data"))
            with open(os.path.join(c.dir, f"controller-{i}", "config"), "a", encoding="utf-8") as config:
                config.write(f"restore-file = {file}\n")
        with open(file, "rb") as whole:
            content = whole.read()
        damaged = file + ".damaged"
        with open(damaged, "wb") as out:
            out.write(content[:2000] + bytes(255 - byte for byte in content[2000:2010]) + content[2010:])
        for bad, text in ((damaged, "is damaged"), (c.dir + "/controller-1/config", "no backup")):
            result = c.run("weir-controller", "--config", c.dir + "/controller-1/config", "--restore-file", bad, check=False)
            expect(result.returncode != 0 and text in result.stderr, f"{bad}: {result}")
        began = time.monotonic()
        for i in (1, 2, 3):
            c.local("start", f"controller-{i}")
        wait("every shard has a leader again", lambda: all(s["leader"] for s in c.shards("kept")), 30)
        c.wait_in_sync("kept")
        took = time.monotonic() - began
        epoch = max(s["epoch"] for s in c.shards("kept"))
        expect(epoch >= before, f"epochs go on above those that were promised: {before}, {epoch}")
        sent = load.stop()
        expect_lines(c, "kept", sent)
        streams = [s["name"] for s in c.json("weirctl", "stream", "list")["streams"]]
        expect(streams == ["kept"], f"the backup has one stream: {streams}")
        wait("the replicas of what the backup does not know lie in quarantine",
             lambda: all(b["quarantined"] >= 1 for b in c.json("weirctl", "broker", "list")["brokers"]), 30)
        c.create("new", 1)
        new = c.json("weirctl", "stream", "describe", "new")
        expect(new["id"] > later["id"], f"ids that were given out after the backup are not used again: {new['id']}, "
                                        f"{later['id']}")
        c.run("weir", "put", "new", stdin="fresh\n")
        expect(lines_of(c, "new") == ["fresh"], "the new stream has what was put into it, and nothing of an older one")
        # Again with the same configuration: it goes on. Another backup over it: refused.
        c.local("term", "controller-1")
        c.local("start", "controller-1")
        wait("controller-1 is back", lambda: members(c)["controller-1"]["state"] in ("follower", "active"))
        c.run("weirctl", "controller", "backup", "--out", file + ".2")
        c.local("term", "controller-1")
        result = c.run("weir-controller", "--config", c.dir + "/controller-1/config", "--restore-file", file + ".2", check=False)
        expect(result.returncode != 0 and "has a controller's state already" in result.stderr, f"restoring over a state: {result}")
        c.local("start", "controller-1")
        return f"writes again {took:.1f} s after the controllers' start, epoch {before} became {epoch}"


def served(cluster, port):
    """The serial number of the certificate that is served there."""
    context = ssl.create_default_context(cafile=cluster.env["WEIR_CA"])
    context.check_hostname = False
    context.load_cert_chain(cluster.env["WEIR_CERT"], cluster.env["WEIR_KEY"])
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as tls:
        return tls.getpeercert()["serialNumber"]


def certificates_are_rotated():
    with Cluster(BIN, settings=("certificate-check=500ms",)) as c:
        c.create("orders", 2)
        load = Load(c, "orders")
        base = int(members(c)["controller-1"]["port"]) - 1
        kinesis = int(c.env["WEIR_KINESIS_ENDPOINT"].rsplit(":", 1)[1])
        ports = [base + 1, base + 11, kinesis]
        before = [served(c, port) for port in ports]
        # A file that is no good changes nothing.
        crt = os.path.join(c.dir, "certs", "broker-1.crt")
        with open(crt, encoding="utf-8") as file:
            good = file.read()
        with open(crt, "w", encoding="utf-8") as file:
            file.write("not a certificate\n")
        wait("the broker says what is wrong", lambda: "goes on counting" in c.log("broker-1"))
        expect([served(c, port) for port in ports] == before, "a bad file changes nothing")
        # Nor does another broker's, even with its key.
        for end in ("key", "crt"):
            shutil.copy(os.path.join(c.dir, "certs", f"broker-1.{end}"), os.path.join(c.dir, f"kept.{end}"))
            shutil.copy(os.path.join(c.dir, "certs", f"broker-2.{end}"), os.path.join(c.dir, "certs", f"broker-1.{end}"))
        wait("the certificate of another broker is refused",
             lambda: "is the certificate of broker-2, not of broker-1" in c.log("broker-1"))
        expect([served(c, port) for port in ports[:2]] == before[:2], "another broker's certificate is served")
        shutil.copy(os.path.join(c.dir, "kept.key"), os.path.join(c.dir, "certs", "broker-1.key"))
        with open(crt, "w", encoding="utf-8") as file:
            file.write(good)
        c.local("rotate-certificates")
        wait("new certificates are served", lambda: all(a != b for a, b in zip(before, [served(c, p) for p in ports])), 10)
        middle = [served(c, port) for port in ports]
        sent = load.stop()
        # A new authority; the processes meet with certificates of it. Clients start anew with theirs.
        c.local("rotate-certificates", "--authority")
        wait("certificates of the new authority are served",
             lambda: all(a != b for a, b in zip(middle, [served(c, p) for p in ports])), 10)
        for name in ("broker-2", "controller-2"):
            c.local("term", name)
            c.local("start", name)
        c.wait_in_sync("orders")
        wait("all brokers have sessions", lambda: all(b["session"] for b in c.json("weirctl", "broker", "list")["brokers"]))
        c.run("weir", "put", "orders", stdin=f"line {sent}\n")
        expect_lines(c, "orders", sent + 1)


def a_zone_is_lost_and_comes_back():
    with Cluster(BIN, brokers=6) as c:
        c.create("orders", 6)
        load = Load(c, "orders")
        time.sleep(1)
        lost = [b["name"] for b in c.json("weirctl", "broker", "list")["brokers"] if b["zone"] == "a"]
        expect(len(lost) == 2, f"two brokers in zone a: {lost}")
        for name in lost + [c.active_controller()]:
            c.local("kill", name)
            lost = lost if name in lost else lost + [name]
        began = time.monotonic()
        wait("every shard is led from another zone",
             lambda: all(s["leader"] and s["leader"] not in lost for s in c.shards("orders")), 30)
        took = time.monotonic() - began
        time.sleep(1)
        for name in lost:
            c.local("start", name)
        c.wait_in_sync("orders")
        wait("it is safe to go on with an upgrade", lambda: c.run("weirctl", "upgrade", "check", check=False).returncode == 0, 40)
        sent = load.stop()
        expect_lines(c, "orders", sent)
        return f"all led elsewhere after {took:.1f} s"


if __name__ == "__main__":
    sys.exit(run_all([(f.__name__.replace("_", " "), f) for f in (
        the_set_of_controllers_changes, the_state_comes_back_from_a_backup, certificates_are_rotated,
        a_zone_is_lost_and_comes_back) if len(sys.argv) < 3 or sys.argv[2] in f.__name__]))
