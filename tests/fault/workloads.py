"""What clients do while faults happen. Each workload writes down all it did, in the form of checkers.py."""
import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time

from world import Failed, expect
from partition import die_with_parent

PAD = "x" * 400


def digest(text):
    return hashlib.md5(text.encode()).hexdigest()[:16]


def record_of(shard, seq, key, text):
    parts = text.split(" ", 2)
    return {"shard": shard, "seq": int(seq), "id": parts[1] if len(parts) > 1 else "?", "key": key, "hash": digest(text)}


def end_process(process, seconds=10):
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Native(threading.Thread):
    """`weir put`, fed at a rate: numbered records of many keys, stored once, in order per key."""
    mode = "once"

    def __init__(self, cell, name, rate, keys, inside=()):
        super().__init__(daemon=True)
        self.cell, self.producer, self.rate = cell, name, rate
        self.keys = [f"{name}-k{i}" for i in range(keys)]
        self.path = os.path.join(cell.dir, name + ".acks")
        self.history, self.over = [], threading.Event()
        self.errors = open(os.path.join(cell.dir, name + ".errors"), "w", encoding="utf-8")
        self.put = subprocess.Popen([*inside, "weir", "put", cell.stream, "--key-field", "1", "--ack-log", self.path, "--quiet",
                                     "--give-up", "3m"], env=cell.world.env_inside(inside), stdin=subprocess.PIPE, stderr=self.errors, text=True,
                                    preexec_fn=die_with_parent)
        self.reader = threading.Thread(target=self.follow, daemon=True)
        self.reader.start()

    def run(self):
        begin, done, ranks = time.monotonic(), 0, {}
        while not self.over.is_set():
            due, lines = int((time.monotonic() - begin) * self.rate), []
            while done < due:
                key = self.keys[done % len(self.keys)]
                ranks[key] = ranks.get(key, -1) + 1
                text = f"{key} {self.producer}-{done} {PAD}"
                self.history.append({"id": f"{self.producer}-{done}", "producer": self.producer, "rank": ranks[key], "key": key,
                                     "start": time.monotonic(), "end": None, "broker": None, "result": "unknown", "shard": None,
                                     "seq": None, "hash": digest(text), "mode": self.mode})
                lines.append(text + "\n")
                done += 1
            try:
                self.put.stdin.write("".join(lines))
                self.put.stdin.flush()
            except OSError:
                return
            time.sleep(0.02)

    def follow(self):
        """Takes acknowledgements from the log as they come."""
        while not os.path.exists(self.path):
            if self.put.poll() is not None:
                return
            time.sleep(0.01)
        rest = b""
        with open(self.path, "rb") as file:
            while True:
                finished = self.put.poll() is not None
                chunk = file.read()
                if chunk:
                    lines = (rest + chunk).split(b"\n")
                    rest = lines.pop()
                    now = time.monotonic()
                    for line in lines:
                        line_number, shard, seq = line.split()[:3]
                        op = self.history[int(line_number) - 1]
                        shard = shard.decode()
                        op.update(end=now, result="ok", shard=shard, seq=int(seq), broker=self.cell.leaders.get(shard))
                elif finished:
                    return
                else:
                    time.sleep(0.004)

    def finish(self, seconds=120):
        """Ends the feed; everything that was sent must be stored by now or soon."""
        self.over.set()
        self.join(60)
        try:
            self.put.stdin.close()
            code = self.put.wait(timeout=seconds)
        except (OSError, subprocess.TimeoutExpired) as problem:
            self.stop()
            missing = sum(op["result"] != "ok" for op in self.history)
            raise Failed(f"{self.producer}: {missing} of {len(self.history)} records were not acknowledged {seconds} s after the "
                         f"last was sent ({problem})") from problem
        self.reader.join(30)
        with open(self.errors.name, encoding="utf-8") as file:
            expect(code == 0, f"weir put exited {code}: {file.read()[-500:]}")

    def stop(self):
        self.over.set()
        if self.put.poll() is None:
            self.put.kill()
            self.put.wait()
        self.errors.close()


class Kinesis:
    """boto3 with its own retries, over the brokers in turn: batches whose records have keys at random."""
    mode = "once"

    def __init__(self, cell, name, threads, shard_hint):
        import boto3
        from botocore.config import Config
        self.cell, self.name, self.history, self.lock = cell, name, [], threading.Lock()
        self.over, self.keys = threading.Event(), [f"{name}-k{i}" for i in range(8 * shard_hint)]
        env = cell.world.env
        config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=6)
        self.clients = [boto3.client("kinesis", endpoint_url=endpoint, region_name=env["AWS_REGION"], verify=env["AWS_CA_BUNDLE"],
                                     aws_access_key_id=env["AWS_ACCESS_KEY_ID"], config=config,
                                     aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"])
                        for endpoint in env["WEIR_KINESIS_ENDPOINTS"].split(",")]
        self.threads = [threading.Thread(target=self.work, args=(f"{name}{i}", i), daemon=True) for i in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def work(self, name, seed):
        from botocore.exceptions import BotoCoreError, ClientError
        rng, done = random.Random(seed), 0
        while not self.over.is_set():
            endpoint = rng.randrange(len(self.clients))
            ops = []
            for _ in range(6):
                key = rng.choice(self.keys)
                text = f"{key} {name}-{done} {PAD}"
                ops.append(({"id": f"{name}-{done}", "producer": name, "rank": None, "key": key, "start": time.monotonic(),
                             "end": None, "broker": f"broker-{endpoint + 1}", "result": "unknown", "shard": None, "seq": None,
                             "hash": digest(text), "mode": self.mode}, text))
                done += 1
            with self.lock:
                self.history += [op for op, _ in ops]
            try:
                answer = self.clients[endpoint].put_records(StreamName=self.cell.stream, Records=[
                    {"Data": text.encode(), "PartitionKey": op["key"]} for op, text in ops])["Records"]
            except (BotoCoreError, ClientError):
                answer = [{}] * len(ops)  # unknown: the last attempt may have arrived
            now = time.monotonic()
            for (op, _), row in zip(ops, answer):
                if "SequenceNumber" in row:
                    op.update(shard=row["ShardId"], seq=int(row["SequenceNumber"]), result="ok", end=now)
                elif row.get("ErrorCode") == "ProvisionedThroughputExceededException":
                    op.update(result="fail", end=now)
            time.sleep(0.03)

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join(90)
            expect(not thread.is_alive(), "a call of boto3 does not end")

    def stop(self):
        self.over.set()


class Readers:
    """`weir get --follow`: one from the oldest record, one at the tip."""

    def __init__(self, cell):
        self.files, self.processes = {}, []
        for name, where in (("positional", "trim-horizon"), ("tip", "latest")):
            self.files[name] = os.path.join(cell.dir, name + ".read")
            with open(self.files[name], "w", encoding="utf-8") as out:
                self.processes.append(subprocess.Popen(["weir", "get", cell.stream, "--from", where, "--follow", "--json"],
                                                       env=cell.world.env, stdout=out, stderr=subprocess.DEVNULL,
                                                       preexec_fn=die_with_parent))

    def finish(self, total):
        """Waits until the positional reader has as many records as are there, then {reader: records}."""
        end = time.monotonic() + 60
        while sum(1 for _ in open(self.files["positional"], "rb")) < total:
            expect(time.monotonic() < end, f"a reader from the oldest record did not get all {total} records in 60 s")
            expect(self.processes[0].poll() is None, "weir get --follow has ended")
            time.sleep(0.1)
        self.stop()
        reads = {}
        for name, path in self.files.items():
            with open(path, "rb") as file:
                rows = [json.loads(line) for line in file.read().split(b"\n")[:-1]]
            reads[name] = [record_of(r["shard"], r["sequence_number"], r["partition_key"], r["data"]) for r in rows]
        return reads

    def stop(self):
        for process in self.processes:
            end_process(process)


class Consumers:
    """Workers that share the shards of one application; one is killed, one frozen, every few seconds."""

    def __init__(self, cell, rng, count=3):
        self.cell, self.rng, self.logs, self.workers = cell, rng, [], []
        self.over = threading.Event()
        for _ in range(count):
            self.add()
        self.thread = threading.Thread(target=self.trouble, daemon=True)
        self.thread.start()

    def add(self):
        self.logs.append(os.path.join(self.cell.dir, f"worker-{len(self.logs)}.log"))
        self.workers.append(subprocess.Popen(["weir-consume-worker", "app-" + self.cell.stream, self.cell.stream, self.logs[-1],
                                              "every", "3", "records-max", "50"], env=self.cell.world.env,
                                             stderr=subprocess.DEVNULL, preexec_fn=die_with_parent))

    def trouble(self):
        while not self.over.wait(2.5):
            self.workers.pop(0).kill()
            self.add()
            frozen = self.workers[0]
            frozen.send_signal(signal.SIGSTOP)
            self.over.wait(self.rng.choice([0.5, 4.5]))
            frozen.send_signal(signal.SIGCONT)

    def events(self):
        events = []
        for worker, log in enumerate(self.logs):
            if os.path.exists(log):
                with open(log, "rb") as file:
                    for line in file.read().split(b"\n")[:-1]:
                        parts = line.decode().split(" ")
                        if len(parts) >= 3:
                            offset = int(parts[3]) if len(parts) > 3 and parts[3] else 0
                            events.append((int(parts[0]) / 1e9, f"worker-{worker}", parts[1], int(parts[2]), offset, parts[4:]))
        return sorted(events, key=lambda event: event[0])

    def finish(self, wanted):
        """All that was acknowledged ({id: shard}) is processed by somebody; returns the events."""
        self.over.set()
        self.thread.join(20)
        end = time.monotonic() + 60
        while True:
            events = self.events()
            missing = set(wanted) - {event[5][2] for event in events if event[2] == "R" and len(event[5]) > 2}
            if not missing:
                break
            expect(time.monotonic() < end, f"{len(missing)} of {len(wanted)} records were not processed within 60 s, all "
                   f"of {sorted({wanted[i] for i in missing})}; the last that was heard: {events[-8:]}")
            time.sleep(0.5)
        self.stop()
        return self.events()

    def stop(self):
        self.over.set()
        for worker in self.workers:
            end_process(worker, 20)


class Resharding(threading.Thread):
    """Splits and merges, one after another."""

    def __init__(self, cell, rng):
        super().__init__(daemon=True)
        self.cell, self.rng, self.over, self.done = cell, rng, threading.Event(), 0

    def run(self):
        while not self.over.wait(1.5):
            try:
                rows = [s for s in self.cell.world.shards(self.cell.stream) if s["state"] == "ACTIVE"]
                rows.sort(key=lambda s: int(s["hash_first"]))
                at = self.rng.randrange(len(rows) - 1) if len(rows) > 1 else 0
                split = len(rows) < 3 or (len(rows) < 10 and self.rng.random() < 0.5)
                command = ["split", self.cell.stream, rows[at]["id"]] if split else \
                    ["merge", self.cell.stream, rows[at]["id"], rows[at + 1]["id"]]
                self.done += self.cell.world.run("weirctl", "shard", *command, check=False, timeout=60).returncode == 0
            except (Failed, subprocess.TimeoutExpired, IndexError):
                pass

    def finish(self):
        self.over.set()
        self.join(90)
        expect(not self.is_alive(), "a split or merge does not end")

    stop = finish


class Catalogue(threading.Thread):
    """Streams are made, tagged and deleted; what was told to have happened has happened at the end."""

    def __init__(self, cell, rng):
        super().__init__(daemon=True)
        self.cell, self.rng, self.over = cell, rng, threading.Event()
        self.state, self.done = {}, 0  # name -> "there", "gone" or "unknown"

    def run(self):
        count = 0
        while not self.over.wait(0.1):
            there = [name for name, state in self.state.items() if state == "there"]
            if len(there) > 3:
                name, command, after = self.rng.choice(there), "delete", "gone"
                more = []
            else:
                name, command, after = f"{self.cell.stream}-c{count}", "create", "there"
                more, count = ["--shards", "1"], count + 1
            self.state[name] = "unknown"
            try:
                result = self.cell.world.run("weirctl", "stream", command, name, *more, check=False, timeout=60)
            except subprocess.TimeoutExpired:
                continue
            if result.returncode == 0:
                self.state[name], self.done = after, self.done + 1

    def check(self):
        names = {s["name"] for s in self.cell.world.json("weirctl", "stream", "list")["streams"]}
        found = [f"C9 {name} was made and is not there" for name, state in self.state.items() if state == "there" and
                 name not in names]
        return found + [f"C9 {name} was deleted and is there" for name, state in self.state.items() if state == "gone" and
                        name in names]

    def finish(self):
        self.over.set()
        self.join(90)
        expect(not self.is_alive(), "an operation on the catalogue does not end")

    stop = finish
