"""Weir's native protocol under the comparison harness: a cluster of one controller set and three brokers."""
import json
import os
import subprocess
import threading
import time
import urllib.request

from .base import System

TREE = os.environ["WEIR_TREE"]
LOCAL = os.path.join(TREE, "deploy", "local", "weir-local")
PROGRAMS = os.environ.get("WEIR_BIN", os.path.join(TREE, "build", "release", "bin"))


class Weir(System):
    name = "weir"
    loadgen = "weir"
    fsync = "majority"
    max_batch = 1024
    windows = {"W2": 8}
    batch = {"W2": 64, "W4": 64}
    port = int(os.environ.get("WEIR_BENCH_PORT", "9700"))
    settings = []  # of every broker; and those in $WEIR_BENCH_SET

    def start(self):
        self.fresh_dir()
        self.cluster = os.path.join(self.dir, "cluster")
        sets = [word for line in [*self.settings, *os.environ.get("WEIR_BENCH_SET", "").split()] for word in ("--set", line)]
        self.local("up", "--bin", PROGRAMS, "--base-port", str(self.port), "--controllers", "3", "--brokers", "3", *sets)
        self.env = dict(os.environ)
        for line in self.local("env").splitlines():
            key, value = line.removeprefix("export ").split("=", 1)
            if key != "PATH":
                self.env[key] = value.strip("'\"")
        self.env["PATH"] = PROGRAMS + ":" + self.env["PATH"]
        self.extra_file = os.path.join(self.dir, "extra")
        os.environ["WEIR_BENCH_CERT"], os.environ["WEIR_BENCH_KEY"] = self.env["WEIR_CERT"], self.env["WEIR_KEY"]

    def local(self, *arguments):
        return subprocess.run([LOCAL, *arguments, "--dir", self.cluster], check=True, capture_output=True, text=True).stdout

    def ctl(self, *arguments):
        return subprocess.run(["weirctl", *arguments], check=True, capture_output=True, text=True, env=self.env).stdout

    def names(self):
        return [f"controller-{i}" for i in (1, 2, 3)] + [f"broker-{i}" for i in (1, 2, 3)]

    def pids(self):
        found = []
        for name in self.names():
            try:
                with open(os.path.join(self.cluster, name, "pid"), encoding="ascii") as file:
                    pid = int(file.read())
                os.kill(pid, 0)
                found.append(pid)
            except (OSError, ValueError):
                pass
        return found

    def stop(self):
        self.local("down")
        super().stop()

    def stream(self, prefix, shards):
        return f"{prefix}-{shards}"

    def create(self, prefix, shards):
        self.ctl("stream", "create", self.stream(prefix, shards), "--shards", str(shards))
        stream = json.loads(self.ctl("stream", "describe", self.stream(prefix, shards), "--json"))
        stream = stream.get("stream", stream) if isinstance(stream.get("stream"), dict) else stream
        status = json.loads(self.ctl("cluster", "status", "--json"))
        with open(self.extra_file, "w", encoding="ascii") as file:
            file.write(f"cluster {status['cluster'].replace('-', '')}\nname admin\n")
            for index in range(shards):
                file.write(f"shard {index} {stream['id'] << 32 | index}\n")
        self.extra = ["--tls", "1", "--extra", self.extra_file]

    def shards(self, prefix, shards):
        return json.loads(self.ctl("shard", "list", self.stream(prefix, shards), "--json"))["shards"]

    def remove(self, prefix, shards):
        self.ctl("stream", "delete", self.stream(prefix, shards))

    def endpoints(self):
        return [f"127.0.0.1:{self.port + 10 + i}" for i in (1, 2, 3)]

    def shard_ep(self, prefix, shards):
        end = time.time() + 20
        while time.time() < end:
            leaders = [row["leader"] for row in self.shards(prefix, shards)]
            if all(leaders):
                return [int(leader.split("-")[1]) - 1 for leader in leaders]
            time.sleep(0.05)
        raise RuntimeError("shards without a leader")

    def leader_pid(self, prefix, shard):
        for row in json.loads(self.ctl("shard", "list", self.stream(prefix, 12), "--json"))["shards"][shard:shard + 1]:
            self.killed = row["leader"]
        with open(os.path.join(self.cluster, self.killed, "pid"), encoding="ascii") as file:
            return int(file.read())

    def revive(self):
        self.local("cont", self.killed) if self.running(self.killed) else self.local("start", self.killed)

    def running(self, name):
        return subprocess.run([LOCAL, "pid", name, "--dir", self.cluster], capture_output=True, check=False).returncode == 0


class WeirEncrypted(Weir):
    """Everything is encrypted at rest."""
    name = "weir-encrypted"

    def create(self, prefix, shards):
        super().create(prefix, shards)
        self.ctl("stream", "encrypt", self.stream(prefix, shards))


class WeirScraped(Weir):
    """Somebody reads the metrics of every process, ten times as often as Prometheus does by default."""
    name = "weir-scraped"

    def start(self):
        super().start()
        self.over = threading.Event()
        self.scraper = threading.Thread(target=self.scrape, daemon=True)
        self.scraper.start()

    def scrape(self):
        pages = {}
        for name in self.names():
            with open(os.path.join(self.cluster, name, "config"), encoding="utf-8") as file:
                pages[name] = [line.split()[-1] for line in file if line.startswith("metrics-listen")]
        while not self.over.wait(1.5):
            for addresses in pages.values():
                for address in addresses:
                    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as page:
                        page.read()

    def stop(self):
        self.over.set()
        self.scraper.join()
        super().stop()


class WeirKinesis(Weir):
    """The same cluster through the Kinesis API: HTTPS and checked signatures, every request to a broker that need not lead."""
    name = "weir-kinesis"
    loadgen = "kinesis"
    max_batch = 500
    batch = {"W2": 500, "W4": 500}
    windows = {"W2": 1, "W3": 50}
    conns = {"W2": 12, "W4": 12, "W3": 32}
    w3_rate = 500
    workloads = ["W1", "W2", "W3", "W4"]
    settings = [f"limit-{name}=0" for name in
                ("write-bytes", "write-records", "read-bytes", "read-calls", "iterator-calls")] + ["limit-operations=off"]

    def create(self, prefix, shards):
        self.ctl("stream", "create", prefix, "--shards", str(shards))
        self.extra = ["--tls", "1", "--poll-ms", "200", "--extra", "sigv4"]
        os.environ["WEIR_BENCH_ACCESS"], os.environ["WEIR_BENCH_SECRET"] = self.env["AWS_ACCESS_KEY_ID"], self.env["AWS_SECRET_ACCESS_KEY"]

    def stream(self, prefix, shards):
        return prefix

    def endpoints(self):
        return [url.split("/")[2].replace("localhost", "127.0.0.1") for url in self.env["WEIR_KINESIS_ENDPOINTS"].split(",")]

    def shard_ep(self, prefix, shards):
        super().shard_ep(prefix, shards)


class WeirKinesisLeaders(WeirKinesis):
    """Each request goes to the broker that leads its shard."""
    name = "weir-kinesis-leaders"

    def shard_ep(self, prefix, shards):
        return Weir.shard_ep(self, prefix, shards)


class WeirKinesisFollowers(WeirKinesis):
    """Each request goes to a broker that follows its shard, and passes it on."""
    name = "weir-kinesis-followers"

    def shard_ep(self, prefix, shards):
        return [(leader + 1) % 3 for leader in Weir.shard_ep(self, prefix, shards)]


SYSTEMS = [Weir, WeirEncrypted, WeirScraped, WeirKinesis, WeirKinesisLeaders, WeirKinesisFollowers]
