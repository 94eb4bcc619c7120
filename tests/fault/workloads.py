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


def has_boto3():
    try:
        import boto3  # noqa: F401
    except ImportError:
        return False
    return True


def clients_of(env, attempts):
    """One of boto3 for each broker's endpoint."""
    import boto3
    from botocore.config import Config
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=2, read_timeout=6)
    return [boto3.client("kinesis", endpoint_url=endpoint, region_name=env["AWS_REGION"], verify=env["AWS_CA_BUNDLE"],
                         aws_access_key_id=env["AWS_ACCESS_KEY_ID"], config=config,
                         aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"])
            for endpoint in env["WEIR_KINESIS_ENDPOINTS"].split(",")]


class Kinesis:
    """boto3 with its own retries, over the brokers in turn: batches whose records have keys at random."""
    mode = "once"

    def __init__(self, cell, name, threads, shard_hint, attempts=3):
        self.cell, self.name, self.history, self.lock = cell, name, [], threading.Lock()
        self.over, self.keys = threading.Event(), [f"{name}-k{i}" for i in range(8 * shard_hint)]
        self.until = 0.0
        self.clients = clients_of(cell.world.env, attempts)
        self.threads = [threading.Thread(target=self.work, args=(f"{name}{i}", i), daemon=True) for i in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def put(self, endpoint, ops):
        """The answer's rows; {}: unknown, the last attempt may have arrived."""
        from botocore.exceptions import BotoCoreError, ClientError
        try:
            return self.clients[endpoint].put_records(StreamName=self.cell.stream, Records=[
                {"Data": text.encode(), "PartitionKey": op["key"]} for op, text in ops])["Records"]
        except (BotoCoreError, ClientError):
            return [{}] * len(ops)

    def work(self, name, seed):
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
            answer = self.put(endpoint, ops)
            now = time.monotonic()
            for (op, _), row in zip(ops, answer):
                if "SequenceNumber" in row:
                    op.update(shard=row["ShardId"], seq=int(row["SequenceNumber"]), result="ok", end=now)
                elif row.get("ErrorCode") == "ProvisionedThroughputExceededException":
                    op.update(result="fail", end=now)
            time.sleep(0.03)

    def finish(self):
        self.until = time.monotonic() + 20
        self.over.set()
        for thread in self.threads:
            thread.join(90)
            expect(not thread.is_alive(), "a call of boto3 does not end")

    def stop(self):
        self.over.set()


class Plain(Kinesis):
    """A program that gets no help: one call of PutRecords is one attempt, and what was not acknowledged is simply sent again.
    So a record may be stored as often as it was sent and not refused."""
    mode = "plain"

    def __init__(self, cell, name, threads, shard_hint):
        super().__init__(cell, name, threads, shard_hint, attempts=1)

    def work(self, name, seed):
        rng, done, again = random.Random(seed), 0, []
        while not self.over.is_set() or again:
            ops = again[:6]
            while len(ops) < 6 and not self.over.is_set():
                key = rng.choice(self.keys)
                text = f"{key} {name}-{done} {PAD}"
                op = {"id": f"{name}-{done}", "producer": name, "rank": None, "key": key, "start": time.monotonic(), "end": None,
                      "broker": None, "result": "unknown", "shard": None, "seq": None, "hash": digest(text), "mode": self.mode,
                      "attempts": 0}
                with self.lock:
                    self.history.append(op)
                ops.append((op, text))
                done += 1
            if self.finished():
                return
            answers, now = self.put(rng.randrange(len(self.clients)), ops), time.monotonic()
            again = again[6:]
            for (op, text), row in zip(ops, answers):
                if row.get("ErrorCode") == "ProvisionedThroughputExceededException":
                    again.append((op, text))  # refused: it is certainly not stored
                    continue
                op["attempts"] += 1
                if "SequenceNumber" in row:
                    op.update(shard=row["ShardId"], seq=int(row["SequenceNumber"]), result="ok", end=now)
                else:
                    again.append((op, text))
            time.sleep(0.03)

    def finished(self):
        """Whether what is left need not be sent any more: it stays unknown."""
        return self.over.is_set() and time.monotonic() > self.until


class Tips(threading.Thread):
    """Asks for LATEST of one shard after another, and which record comes first behind it."""

    def __init__(self, cell):
        super().__init__(daemon=True)
        self.cell, self.over, self.looks = cell, threading.Event(), []
        self.clients = clients_of(cell.world.env, 1)

    def run(self):
        from botocore.exceptions import BotoCoreError, ClientError
        turn = 0
        while not self.over.wait(0.1):
            client, shard, turn = self.clients[turn % len(self.clients)], self.cell.open[turn % len(self.cell.open)], turn + 1
            try:
                begin = time.monotonic()
                at = client.get_shard_iterator(StreamName=self.cell.stream, ShardId=shard, ShardIteratorType="LATEST")
                end, at = time.monotonic(), at["ShardIterator"]
                while at is not None and time.monotonic() < end + 2 and not self.over.is_set():
                    answer = client.get_records(ShardIterator=at, Limit=10)
                    if answer["Records"]:
                        self.looks.append((shard, begin, end, int(answer["Records"][0]["SequenceNumber"])))
                        break
                    at = answer.get("NextShardIterator")
                    time.sleep(0.05)
            except (BotoCoreError, ClientError):
                pass  # not in step, or gone: that is availability's

    def finish(self):
        self.over.set()
        self.join(30)
        expect(not self.is_alive(), "a look at the tip does not end")
        expect(len(self.looks) > 3, f"LATEST was answered {len(self.looks)} times only")
        return self.looks

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
        self.over, self.calm, self.ended = threading.Event(), threading.Event(), threading.Event()
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
        self.calm.set()
        self.ended.wait()  # workers end with the thread that began them (die_with_parent)

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
        expect(self.calm.wait(20), "workers go on being killed")
        expect(all(worker.poll() is None for worker in self.workers), "a worker has ended by itself")
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
        self.calm.wait(20)
        for worker in self.workers:
            end_process(worker, 20)
        self.ended.set()


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


class Moves(threading.Thread):
    """Replicas come and go: a broker of the zone that has two is drained, then the other; leaderships move at random."""
    DRAINED = ("broker-1", "broker-4")

    def __init__(self, cell, rng):
        super().__init__(daemon=True)
        self.cell, self.rng, self.over, self.done = cell, rng, threading.Event(), 0

    def weirctl(self, *words):
        try:
            return self.cell.world.run("weirctl", *words, check=False, timeout=60).returncode == 0
        except (Failed, subprocess.TimeoutExpired):
            return False

    def held(self, broker):
        """How many of the stream's replicas it has; None: nobody says."""
        try:
            return sum(r["broker"] == broker for s in self.cell.world.shards(self.cell.stream) for r in s["replicas"])
        except (Failed, subprocess.TimeoutExpired):
            return None

    def run(self):
        turn = 0
        while not self.over.wait(0.3):
            leaver, turn = self.DRAINED[turn % 2], turn + 1
            before = self.held(leaver) or 0
            if not self.weirctl("broker", "drain", leaver, "--no-wait"):
                continue
            end = time.monotonic() + self.rng.choice([2, 8])
            while time.monotonic() < end and self.held(leaver) != 0 and not self.over.wait(0.3):
                shard = self.rng.choice(self.cell.open)
                self.weirctl("leader", "move", self.cell.stream, shard, f"broker-{self.rng.randrange(1, 5)}")
            self.done += max(before - (self.held(leaver) or 0), 0)
            self.weirctl("broker", "undrain", leaver)

    def finish(self):
        """Nothing is drained any more, and what moves has arrived."""
        self.over.set()
        self.join(120)
        expect(not self.is_alive(), "a move does not end")
        end = time.monotonic() + 90
        for broker in self.DRAINED:
            while not self.weirctl("broker", "undrain", broker):
                expect(time.monotonic() < end, f"{broker} cannot be taken back")
                time.sleep(0.5)
        while True:
            moves = self.cell.world.json("weirctl", "moves", "list")["moves"]
            if not moves:
                return
            expect(time.monotonic() < end, f"moves do not end within 90 s: {moves}")
            time.sleep(0.3)

    def stop(self):
        self.over.set()


class Retention(threading.Thread):
    """Three hours pass in the middle of the load, and from then on the stream keeps one: what was sent before may be dropped,
    nothing else. A consumer that is far too slow reads meanwhile, and is overtaken."""
    HOURS = "+3h"

    def __init__(self, cell, jump):
        super().__init__(daemon=True)
        self.cell, self.jump, self.over, self.since = cell, jump, threading.Event(), None
        self.read, self.said = [], []
        self.slow = subprocess.Popen(["weir", "get", cell.stream, "--from", "trim-horizon", "--follow", "--json"],
                                     env=cell.world.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     preexec_fn=die_with_parent)
        self.threads = [threading.Thread(target=self.consume, daemon=True), threading.Thread(target=self.listen, daemon=True)]
        for thread in self.threads:
            thread.start()

    def consume(self):
        for line in self.slow.stdout:
            try:
                r = json.loads(line)
            except ValueError:
                return  # it was ended in the middle of a line
            self.read.append(record_of(r["shard"], r["sequence_number"], r["partition_key"], r["data"]))
            if not self.over.is_set():
                time.sleep(0.01)

    def listen(self):
        self.said += list(self.slow.stderr)

    def run(self):
        try:
            end = time.monotonic() + 5
            while time.monotonic() < end and not self.over.wait(0.05):
                if len(self.read) > 20:  # it sleeps from here on, for hours
                    self.slow.send_signal(signal.SIGSTOP)
            self.jump(self.HOURS)
            time.sleep(1.5)  # until everybody has looked at the clock
            self.since = time.monotonic() + 1
            while not self.lower() and not self.over.wait(0.5):
                pass
            self.over.wait(8)
        finally:
            self.slow.send_signal(signal.SIGCONT)

    def lower(self):
        try:
            return self.cell.world.run("weirctl", "stream", "retention", self.cell.stream, "1", check=False, timeout=60).returncode == 0
        except (Failed, subprocess.TimeoutExpired):
            return False

    def finish(self, scan, history):
        """The numbers at which the shards begin now, and what is wrong with that."""
        import checkers
        self.over.set()
        self.join(90)
        log_start = {}
        for record in scan:
            log_start.setdefault(record["shard"], record["seq"])
        last = {record["shard"]: record["seq"] for record in scan}
        end = time.monotonic() + 60
        while {r["shard"]: r["seq"] for r in list(self.read)} != last:
            expect(time.monotonic() < end, "the slow reader does not come to the end")
            expect(self.slow.poll() is None, f"the slow reader has ended: {''.join(self.said)[-300:]}")
            time.sleep(0.2)
        end_process(self.slow)
        for thread in self.threads:
            thread.join(10)
        told = any("passed their retention" in line for line in self.said)
        found = checkers.retained(history, log_start, self.since if self.since is not None else 0)
        found += checkers.trimmed_reads({"the slow reader": self.read}, scan, history, log_start, told)
        dropped = sum(op["result"] == "ok" and op["seq"] < log_start.get(op["shard"], 0) for op in history)
        self.cell.note(f"{dropped} records dropped{', and a reader was told so' if told else ''}")
        return log_start, found

    def stop(self):
        self.over.set()
        end_process(self.slow)
