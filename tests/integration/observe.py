#!/usr/bin/env python3
"""What a cluster shows of itself: metrics move when records do, readiness ends when a replica is away, logs change their
level, top and the bundle have what they promise, and no secret.

usage: observe.py --bin DIR"""
import argparse
import glob
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from cluster import TREE, Cluster, expect, run_all

STREAM = "seen"
RECORDS = 500


def samples(text):
    """{name{labels}: value} of a page."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


class Observe:
    def __init__(self, cluster):
        self.cluster = cluster
        urls = cluster.env["WEIR_METRICS"].split(",")
        self.ports = dict(zip(cluster.names(), [int(url.split(":")[2].split("/")[0]) for url in urls]))
        cluster.create(STREAM, 4)
        cluster.wait_in_sync(STREAM)

    def get(self, name, path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=5)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def page(self, name):
        status, body = self.get(name, "/metrics")
        expect(status == 200, f"{name}: /metrics: {status} {body}")
        return samples(body)

    def total(self, metric):
        """Over all brokers and all labels."""
        return sum(value for i in range(self.cluster.brokers) for name, value in self.page(f"broker-{i + 1}").items()
                   if name.split("{")[0] == metric)

    def wait(self, what, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            expect(time.monotonic() < end, f"not within {seconds} s: {what}")
            time.sleep(0.1)

    def metrics_move(self):
        before = self.total("weir_in_records_total")
        self.cluster.run("weir", "put", STREAM, "--key-random", stdin="".join(f"line {i}\n" for i in range(RECORDS)))
        self.wait("all records counted", lambda: self.total("weir_in_records_total") == before + RECORDS)
        expect(self.total("kinesis_incoming_records_total") == before + RECORDS, "the stream's count is another")
        for metric in ("weir_commit_seconds_count", "weir_journal_sync_seconds_count", "weir_rpc_calls_total"):
            expect(self.total(metric) > 0, f"{metric} is 0")
        out = self.cluster.run("weir", "get", STREAM, "--from", "trim-horizon").stdout.splitlines()
        expect(len(out) == RECORDS, f"{len(out)} records read")
        self.wait("all reads counted", lambda: self.total("weir_out_records_total") >= RECORDS)
        active = self.page(self.cluster.active_controller())
        expect(active["weir_controller_active"] == 1 and active["weir_leaders_opened_total"] >= 4 and active["weir_raft_term"] > 0,
               f"the active controller shows {active}")
        expect(sum(self.page(f"controller-{i + 1}")["weir_controller_active"] for i in range(3)) == 1, "not one is active")

    def kinesis_moves(self):
        """The names of Kinesis, by a request of the AWS SDK's kind."""
        try:
            import boto3  # noqa: F401  pylint: disable=import-outside-toplevel,unused-import
        except ImportError:
            return "skipped: there is no boto3"
        self.cluster.run(sys.executable, "-c", f"""
import boto3, os, subprocess
client = boto3.client("kinesis", region_name="us-east-1")
client.enable_enhanced_monitoring(StreamName="{STREAM}", ShardLevelMetrics=["ALL"])
answer = client.put_records(StreamName="{STREAM}", Records=[dict(Data=b"x" * 10, PartitionKey=str(i)) for i in range(20)])
assert answer["FailedRecordCount"] == 0
shard = answer["Records"][0]["ShardId"]
it = client.get_shard_iterator(StreamName="{STREAM}", ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
assert client.get_records(ShardIterator=it)["Records"]
""", env=self.aws_env())
        expect(self.total("kinesis_put_records_successful_records_total") == 20, "PutRecords.SuccessfulRecords")
        expect(self.total("kinesis_put_records_total_records_total") == 20, "PutRecords.TotalRecords")
        expect(self.total("kinesis_get_records_success_total") == 1, "GetRecords.Success")
        self.wait("shard metrics", lambda: self.total("kinesis_shard_incoming_records_total") >= 20)
        code = 'weir_kinesis_requests_total{operation="PutRecords",code="2xx"}'
        expect(sum(self.page(f"broker-{i + 1}").get(code, 0) for i in range(3)) == 1, code)
        return None

    def aws_env(self):
        return dict(self.cluster.env, AWS_SHARED_CREDENTIALS_FILE=os.path.join(self.cluster.dir, "credentials"))

    def strict(self):
        expect(self.get("broker-1", "/healthz")[0] == 200, "/healthz")
        expect(self.get("broker-1", "/nothing")[0] == 404, "/nothing")
        expect(self.get("broker-1", "/metrics", "POST")[0] in (400, 405), "POST")
        expect(self.get("controller-1", "/metrics", "HEAD")[0] == 405, "HEAD")

    def documented(self):
        """docs/metrics.md has all there is, and nothing else."""
        with open(os.path.join(TREE, "docs", "metrics.md"), encoding="utf-8") as file:
            documented = set(re.findall(r"^\| `([a-z_0-9]+)`", file.read(), re.M))
        shown = set()
        for name in self.cluster.names():
            shown |= set(re.findall(r"^# TYPE (\S+) ", self.get(name, "/metrics")[1], re.M))
        expect(shown == documented, f"not documented: {sorted(shown - documented)}; not shown: {sorted(documented - shown)}")
        return f"{len(shown)} metrics"

    def ready(self, name):
        return self.get(name, "/readyz")

    def readiness(self):
        names = self.cluster.names()
        self.wait("all ready", lambda: all(self.ready(name)[0] == 200 for name in names))
        self.cluster.local("kill", "broker-3")
        try:
            for name in ("broker-1", "broker-2"):
                self.wait(f"{name} is not ready", lambda name=name: self.ready(name)[0] == 503)
            self.wait("under-replicated shards", lambda: self.page("broker-1")["weir_under_replicated_shards"] +
                      self.page("broker-2")["weir_under_replicated_shards"] == 4)
            self.wait("the controllers say so", lambda: self.page(self.cluster.active_controller()).get(
                'weir_broker_up{broker="broker-3",broker_zone="c"}') == 0)
            top = self.cluster.json("weirctl", "top", "--once", "--interval", "200ms")
            down = [b["name"] for b in top["brokers"] if not b["up"]]
            expect(down == ["broker-3"] and top["under_replicated_shards"] == 4, f"top: {top}")
            why = self.ready("broker-1")[1]
            expect("replica" in why or "leader" in why, f"the reason is {why!r}")
        finally:
            self.cluster.local("start", "broker-3")
        self.wait("all ready again", lambda: all(self.ready(name)[0] == 200 for name in names), 40)

    def frozen_follower(self):
        """A broker that says nothing: the one that leads all shards notices, and tells the third."""
        for shard in range(4):
            self.cluster.run("weirctl", "leader", "move", STREAM, str(shard), "broker-1")
        self.wait("all ready", lambda: all(self.ready(name)[0] == 200 for name in self.cluster.names()), 40)
        self.cluster.local("stop", "broker-2")
        try:
            for name in ("broker-1", "broker-3"):
                self.wait(f"{name} is not ready", lambda name=name: self.ready(name)[0] == 503)
            expect(all(s["leader"] == "broker-1" for s in self.cluster.shards(STREAM)), "broker-1 does not lead all shards")
            why = self.ready("broker-3")[1]
            expect("of its leader lacks a replica" in why, f"broker-3 gives as its reason {why!r}")
        finally:
            self.cluster.local("cont", "broker-2")
        self.wait("all ready again", lambda: all(self.ready(name)[0] == 200 for name in self.cluster.names()), 40)

    def controller_readiness(self):
        active = self.cluster.active_controller()
        other = next(name for name in self.cluster.names() if name.startswith("controller") and name != active)
        self.cluster.local("term", other)
        try:
            self.wait("the active controller is not ready", lambda: self.ready(active)[0] == 503)
        finally:
            self.cluster.local("start", other)
        self.wait("ready again", lambda: all(self.ready(name)[0] == 200 for name in (active, other)), 40)

    def log_levels(self):
        run = self.cluster.run
        said = self.cluster.json("weirctl", "log-level", "broker-1", "debug")
        expect(said == [{"name": "broker-1", "before": "info", "now": "debug"}], f"log-level says {said}")
        size = len(self.cluster.log("broker-1"))
        run("weirctl", "cluster", "status")
        run("weir", "get", STREAM, "--count", "1")
        self.wait("debug lines", lambda: " debug " in self.cluster.log("broker-1")[size:])
        pid = int(self.cluster.local("pid", "broker-1"))
        os.kill(pid, signal.SIGHUP)
        self.wait("SIGHUP", lambda: "SIGHUP: log-level and log-format are read again" in self.cluster.log("broker-1")[size:])
        said = self.cluster.json("weirctl", "log-level", "broker-1", "info")
        expect(said[0]["before"] == "info", f"SIGHUP did not bring the configured level back: {said}")
        # A configuration that has become bad changes nothing and ends nothing.
        config = os.path.join(self.cluster.dir, "broker-1", "config")
        with open(config, encoding="utf-8") as file:
            text = file.read()
        with open(config, "w", encoding="utf-8") as file:
            file.write(text + "log-level = loud\n")
        os.kill(pid, signal.SIGHUP)
        self.wait("it is refused", lambda: "SIGHUP: nothing changes" in self.cluster.log("broker-1")[size:])
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        expect(run("weirctl", "log-level", "broker-1", "loud", check=False).returncode == 2, "a level that is none")
        expect(run("weirctl", "log-level", "broker-77", "info", check=False).returncode == 3, "a process that is none")
        said = self.cluster.json("weirctl", "log-level", "all", "info")
        expect(len(said) == 6, f"all are {said}")
        user = dict(self.cluster.env, **{f"WEIR_{k}": os.path.join(self.cluster.dir, "certs", f"user.{v}")
                                         for k, v in (("CERT", "crt"), ("KEY", "key"))})
        refused = run("weirctl", "log-level", "broker-1", "info", check=False, env=user)
        expect(refused.returncode == 6, f"a user may change it: {refused.returncode} {refused.stderr}")
        expect("weir_leaderships" in run("weirctl", "metrics", "broker-1", env=user).stdout, "a user sees no metrics")

    def top(self):
        self.cluster.run("weir", "put", STREAM, "--key-random", stdin="".join(f"x {i}\n" for i in range(200)))
        text = self.cluster.run("weirctl", "top", "--once", "--interval", "300ms").stdout
        expect(all(len(line) <= 80 for line in text.splitlines() if "not ready" not in line), f"lines of more than 80 columns: {text}")
        expect("broker-3" in text and STREAM in text, f"top says {text}")
        put = subprocess.Popen(["weir", "bench", STREAM, "--duration", "5s", "--rate", "300", "--consumers", "0"],
                               env=self.cluster.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        top = self.cluster.json("weirctl", "top", "--once", "--interval", "2s")
        expect(put.wait(60) == 0, f"weir bench exited {put.returncode}")
        moved = [sum(row["in_records_per_s"] for row in top[rows]) for rows in ("brokers", "streams")]
        expect(all(100 < rate < 900 for rate in moved), f"300 records a second, and top says {moved}")
        refused = self.cluster.run("weirctl", "top", check=False)
        expect(refused.returncode == 2 and "--once" in refused.stderr, f"without a terminal: {refused.stderr}")

    def terminal(self):
        """A live view in a terminal of 60 columns, which q ends and which leaves the terminal as it was."""
        import pty  # pylint: disable=import-outside-toplevel
        import fcntl  # pylint: disable=import-outside-toplevel
        import struct  # pylint: disable=import-outside-toplevel
        import termios  # pylint: disable=import-outside-toplevel
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
        before = termios.tcgetattr(theirs)
        process = subprocess.Popen(["weirctl", "top", "--interval", "300ms"], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env=self.cluster.env)
        text, end = b"", time.monotonic() + 20
        while text.count(b"BROKER") < 3 and time.monotonic() < end:
            text += os.read(ours, 65536)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        process.send_signal(signal.SIGWINCH)
        resized, end = b"", time.monotonic() + 20
        while resized.count(b"BROKER") < 3 and time.monotonic() < end:
            resized += os.read(ours, 65536)
        os.write(ours, b"q")
        expect(process.wait(10) == 0, f"top exited {process.returncode}")
        text, rest = text.decode(), os.read(ours, 65536).decode()
        for shown, columns in ((text, 60), (resized.decode().split("BROKER", 2)[2], 40)):
            plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown)
            expect(all(len(line.rstrip("\r")) <= columns for line in plain.split("\n")), f"wider than {columns}: {plain!r}")
        expect(text.split("\x1b[H")[1].count("\n") <= 10, "higher than the terminal")
        expect("\x1b[?1049l" in rest and "\x1b[?25h" in rest, "the screen was not given back")
        expect(termios.tcgetattr(theirs) == before, "the terminal was not given back")
        os.close(ours)
        os.close(theirs)

    def bundle(self):
        with tempfile.TemporaryDirectory() as place:
            out = os.path.join(place, "b.tar.gz")
            self.cluster.run("weirctl", "debug", "bundle", "--out", out)
            again = self.cluster.run("weirctl", "debug", "bundle", "--out", out, check=False)
            expect(again.returncode == 5, f"it overwrites: {again.returncode}")
            expect(os.stat(out).st_mode & 0o077 == 0, "others may read it")
            with tarfile.open(out) as tar:
                files = {os.path.basename(m.name): tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
        wanted = {"cluster-status.json", "streams.json", "brokers.json", "moves.json", "version", f"shards-{STREAM}.json"}
        wanted |= {f"{name}.{kind}" for name in self.cluster.names() for kind in ("log", "conf", "metrics")}
        expect(wanted <= set(files), f"not in the bundle: {sorted(wanted - set(files))}")
        for name, content in files.items():
            if name.endswith(".json"):
                json.loads(content)
        expect(b"ready: broker-1" in files["broker-1.log"], "the log has no lines")
        secrets = []
        for path in glob.glob(os.path.join(self.cluster.dir, "certs", "*.key")) + [os.path.join(self.cluster.dir, "cluster-key")]:
            with open(path, encoding="utf-8") as file:
                secrets += [line for line in file.read().split() if len(line) > 20]
        with open(os.path.join(self.cluster.dir, "credentials"), encoding="utf-8") as file:
            secrets += re.findall(r"= (\S{16,})", file.read())
        expect(len(secrets) > 10, "the test knows no secrets")
        for name, content in files.items():
            for secret in secrets:
                expect(secret.encode() not in content, f"{name} has a secret")
            expect(b"PRIVATE KEY" not in content, f"{name} has a private key")
        return f"{len(files)} files, {len(secrets)} secrets looked for"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    with Cluster(parser.parse_args().bin) as cluster:
        observe = Observe(cluster)
        result = run_all([
            ("metrics move when records are written and read", observe.metrics_move),
            ("Kinesis's metrics under its names", observe.kinesis_moves),
            ("pages are strict", observe.strict),
            ("every metric is documented", observe.documented),
            ("log levels change, by call and by SIGHUP", observe.log_levels),
            ("top --once", observe.top),
            ("top in a terminal", observe.terminal),
            ("the bundle has what helps and no secret", observe.bundle),
            ("readiness ends when a replica's broker is killed", observe.readiness),
            ("readiness ends when a broker is frozen", observe.frozen_follower),
            ("readiness of controllers", observe.controller_readiness),
            ("no process reported a defect", cluster.no_reports),
        ])
        if result:
            cluster.show_logs()
    return result


if __name__ == "__main__":
    sys.exit(main())
