"""One cell of the campaign: a workload, a fault in the middle of it, and then all checkers."""
import hashlib
import json
import os
import random
import threading
import time

import checkers
import workloads
from faults import FAULTS
from prepare import PREPARE, clocks, set_clock
from world import Failed, expect

WARM, SETTLE, RETENTION_EVERY = 1.5, 1.0, 6
WORKLOADS = {  # name -> (shards, keys, records a second, what else runs)
    "native": (4, 64, 1500, ()),
    "kinesis": (4, 0, 0, ("kinesis",)),
    "thin": (48, 480, 400, ()),
    "hot": (1, 8, 4000, ()),
    "readers": (4, 64, 800, ("readers", "tips")),
    "consumers": (6, 120, 600, ("consumers",)),
    "reshard": (4, 64, 800, ("resharding",)),
    "catalogue": (2, 32, 400, ("catalogue",)),
    "plain": (4, 0, 0, ("plain",)),
    "moves": (6, 96, 600, ("moves",)),
    "retention": (2, 64, 1500, ("retention",)),
    "mixed": (4, 64, 500, ("kinesis", "readers", "catalogue")),
}


class Cell:
    def __init__(self, world, workload, fault, seed, seconds=None):
        self.world, self.workload, self.fault, self.seed = world, workload, FAULTS[fault], seed
        self.rng = random.Random(f"{workload}:{fault}:{seed}")
        self.shard_count, self.keys, self.rate, self.more = WORKLOADS[workload]
        self.stream = f"{workload}-{fault}-{seed}"
        self.dir = os.path.join(world.work, self.stream)
        self.seconds = seconds or self.fault.seconds
        self.afterwards, self.notes, self.running, self.producers = [], [], [], []
        self.readers = self.consumers = self.catalogue = self.resharding = self.moves = self.retention = self.tips = None
        self.leaders, self.spoiled, self.damaged, self.known = {}, None, None, None
        self.begun = self.ended = None
        self.gives_up = False  # producers may: records are lost on purpose
        self.figures = {"acknowledged": 0, "gap": 0.0, "back": 0.0}

    def note(self, sentence):
        self.notes.append(sentence)

    # -- whom a fault is aimed at -----------------------------------------------------------------------

    def leader(self):
        end = time.monotonic() + 60
        while True:
            try:
                rows = self.world.shards(self.stream)
            except Failed:  # no active controller yet
                rows = []
            self.leaders = {s["id"]: s["leader"] for s in rows}
            open_rows = [s for s in rows if s["state"] == "ACTIVE"]
            if open_rows and open_rows[0]["leader"]:
                self.known = open_rows[0]
                return self.known["leader"]
            expect(time.monotonic() < end, "a shard has no leader")
            time.sleep(0.1)

    def follower(self, known=False):
        """Of the first shard; known: as it was before the controllers went."""
        if not known or self.known is None:
            self.leader()
        return next(r["broker"] for r in self.known["replicas"] if r["broker"] != self.known["leader"])

    def stream_id(self):
        return self.world.json("weirctl", "stream", "describe", self.stream)["id"]

    # -- load -------------------------------------------------------------------------------------------

    def add_producer(self, name, rate, inside=()):
        producer = workloads.Native(self, name, rate, max(self.keys, 8), inside)
        producer.start()
        self.producers.append(producer)
        self.running.append(producer)

    def add_beside(self, broker):
        """A producer in the network namespace of a broker: it is cut off together with it."""
        self.add_producer("beside", 200, self.world.network.inside(broker))

    def begin_load(self):
        if self.rate:
            self.add_producer("p", self.rate)
        if "readers" in self.more:
            self.readers = workloads.Readers(self)
            self.running.append(self.readers)
        if "consumers" in self.more:
            self.consumers = workloads.Consumers(self, self.rng)
            self.running.append(self.consumers)
        for name, make in (("kinesis", lambda: workloads.Kinesis(self, "a", 6, self.shard_count)),
                           ("plain", lambda: workloads.Plain(self, "b", 6, self.shard_count)),
                           ("moves", lambda: workloads.Moves(self, self.rng)),
                           ("retention", lambda: workloads.Retention(self, self.jump)),
                           ("tips", lambda: workloads.Tips(self)),
                           ("resharding", lambda: workloads.Resharding(self, self.rng)),
                           ("catalogue", lambda: workloads.Catalogue(self, self.rng))):
            if name in self.more and (name != "tips" or workloads.has_boto3()):
                it = make()
                it.start()
                self.running.append(it)
                if name in ("kinesis", "plain"):
                    self.producers.append(it)
                else:
                    setattr(self, name, it)

    def jump(self, text):
        """All clocks at once."""
        for name in self.world.all_names:
            set_clock(self.world, name, text)

    def with_keys(self, rows):
        """Of these shards those that a producer's key falls into: others get no records."""
        keys = {int(hashlib.md5(op["key"].encode()).hexdigest(), 16) for op in self.history()}
        return [s["id"] for s in rows if any(int(s["hash_first"]) <= key <= int(s["hash_last"]) for key in keys)]

    def history(self):
        return [op for producer in self.producers for op in producer.history]

    def acknowledged_since(self, moment):
        return {op["shard"] for op in self.history() if op["result"] == "ok" and op["end"] > moment}

    def wait_acknowledged(self, moment, shards, seconds, what):
        end = time.monotonic() + seconds
        while True:
            missing = set(shards) - self.acknowledged_since(moment)
            if not missing:
                return
            expect(time.monotonic() < end, f"{what}: nothing was acknowledged in {sorted(missing)[:4]} for {seconds} s")
            time.sleep(0.05)

    # -- the course of it -------------------------------------------------------------------------------

    def run(self):
        """Returns a sentence; raises Failed."""
        os.mkdir(self.dir)
        try:
            self.during()
            return self.check()
        finally:
            for it in self.running:
                it.stop()
            for after in self.afterwards:
                after()
            with open(os.path.join(self.dir, "history"), "w", encoding="utf-8") as file:
                for op in self.history():
                    file.write(json.dumps(op) + "\n")

    def during(self):
        self.world.wait_serving()
        if self.fault.name in PREPARE:
            PREPARE[self.fault.name](self.world, self)
        elif "retention" in self.more:
            clocks(self.world, self, back=False)
        self.world.run("weirctl", "stream", "create", self.stream, "--shards", str(self.shard_count),
                       *(["--retention", "2"] if "retention" in self.more else []))
        self.world.wait_leaders(self.stream)
        self.open = [s["id"] for s in self.world.shards(self.stream)]
        self.leader()
        begin = time.monotonic()
        self.begin_load()
        self.wait_acknowledged(begin, self.open, 40, "before the fault")
        time.sleep(WARM)
        steps = self.fault.run(self.world, self)
        self.begun = time.monotonic()
        next(steps)
        watch = threading.Event()
        watch.wait(self.seconds)
        next(steps, None)
        self.ended = time.monotonic()
        if self.resharding is not None:
            time.sleep(6)
            self.resharding.finish()
            self.world.wait_leaders(self.stream)
            self.open = self.with_keys([s for s in self.world.shards(self.stream) if s["state"] == "ACTIVE"])
            self.ended = time.monotonic()
        self.leader()
        self.wait_acknowledged(self.ended, self.open, self.fault.recovery, "after the fault")
        time.sleep(SETTLE)
        self.recovered = time.monotonic()
        if self.moves is not None:
            self.moves.finish()
        for it in self.producers + [self.catalogue] * (self.catalogue is not None):
            try:
                it.finish()
            except Failed:
                if not self.gives_up:
                    raise

    def scan(self):
        output = self.world.run("weir", "get", self.stream, "--from", "trim-horizon", "--json", timeout=180).stdout
        rows = [json.loads(line) for line in output.splitlines()]
        records = [workloads.record_of(r["shard"], r["sequence_number"], r["partition_key"], r["data"]) for r in rows]
        self.arrivals = {record["id"]: row["arrival_ms"] / 1000 for record, row in zip(records, rows)}
        return records

    def check(self):
        w, history = self.world, self.history()
        self.figures["acknowledged"] = sum(op["result"] == "ok" for op in history)
        if self.resharding is None:
            gaps = checkers.gaps(history, self.begun, self.recovered, self.open)
            self.figures["gap"] = max(gap for gap, _ in gaps.values())
        self.figures["back"] = max(checkers.back(history, self.ended, self.open).values())
        w.wait_serving()
        w.wait_in_sync(self.stream, 90)
        parents = {s["id"]: s["parents"] for s in w.shards(self.stream)}
        if self.retention is not None:
            time.sleep(RETENTION_EVERY)
        scan, again = self.scan(), self.scan()
        log_start, found = self.retention.finish(scan, history) if self.retention is not None else (None, [])
        found += checkers.acknowledged_loss(history, scan, log_start) + checkers.phantoms(history, scan)
        found += checkers.duplicates(history, scan)
        found += checkers.order(history, scan, parents) + checkers.numbers(history, [scan, again])
        if self.fault.name.startswith("clock"):
            found += checkers.stamps(history, self.arrivals, time.time() - time.monotonic())
        reads = {"a second scan": again}
        if self.readers is not None:
            reads.update(self.readers.finish(len(scan)))
        found += checkers.monotonic_reads(reads, scan)
        if self.tips is not None:
            found += checkers.tips(self.tips.finish(), history)
        if self.fault.limit is not None and self.resharding is None:
            found += checkers.availability(history, self.begun, self.recovered, self.open, self.fault.limit)
        if self.consumers is not None:
            events = self.consumers.finish({op["id"]: op["shard"] for op in history if op["result"] == "ok"})
            found += checkers.leases(events)
        if self.catalogue is not None:
            found += self.catalogue.check()
        if found:
            raise Failed("\n    ".join(found))
        more = f", {self.resharding.done} splits and merges" if self.resharding is not None else ""
        more += f", {self.moves.done} replicas moved" if self.moves is not None else ""
        more += f", {len(self.tips.looks)} looks at the tip" if self.tips is not None else ""
        if "plain" in self.more:
            sent = sum(op["attempts"] > 1 for op in history)
            more += f", {sent} records sent again, {checkers.repeated(scan)} stored more than once"
        more += f", {self.catalogue.done} operations on streams" if self.catalogue is not None else ""
        more += "; " + "; ".join(self.notes) if self.notes else ""
        return f"{self.figures['acknowledged']} acknowledged, longest gap {1000 * self.figures['gap']:.0f} ms{more}"
