#!/usr/bin/env python3
"""The checkers themselves: each kind of violation, forged into good histories, is found; good histories raise no alarm.

usage: test_checkers.py [--rounds N]"""
import argparse
import copy
import os
import random
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import checkers  # noqa: E402
import power  # noqa: E402
from world import expect  # noqa: E402
from cluster import run_all  # noqa: E402

ROUNDS = 200
PARENTS = {"c1": ["s0"], "c2": ["s0"], "m": ["c2", "s1"]}


class Good:
    """A history as a cluster without faults of its own makes it: three producers, a split and a merge, unknown results that
    are stored or not, refusals, readers that begin anywhere."""

    def __init__(self, rng):
        self.history, self.scan, seq = [], [], {}
        shard_of = {f"k{i}": ["s0", "s1"][i % 2] for i in range(8)}
        ranks, logs, now = {}, {}, 0.0
        for i in range(160):
            if i == 70:  # s0 is split
                shard_of = {k: (("c1", "c2")[int(k[1]) // 2 % 2] if s == "s0" else s) for k, s in shard_of.items()}
            if i == 120:  # c2 and s1 are merged
                shard_of = {k: ("m" if s in ("c2", "s1") else s) for k, s in shard_of.items()}
            producer, key = f"p{rng.randrange(3)}", f"k{rng.randrange(8)}"
            shard, result = shard_of[key], rng.choice(["ok"] * 10 + ["unknown", "fail"])
            rank = ranks[producer, key] = ranks.get((producer, key), -1) + 1
            start, now = now, now + 0.1
            op = {"id": f"{producer}-{i}", "producer": producer, "rank": rank, "key": key, "start": start, "end": now,
                  "broker": "broker-1", "result": result, "shard": None, "seq": None, "hash": f"h{i}", "mode": "once"}
            if result == "ok" or (result == "unknown" and rng.random() < 0.5):
                seq[shard] = seq.get(shard, 100) + rng.choice([1, 1, 3])
                logs.setdefault(shard, []).append({"shard": shard, "seq": seq[shard], "id": op["id"], "key": key, "hash": op["hash"]})
                if result == "ok":
                    op.update(shard=shard, seq=seq[shard])
            self.history.append(op)
        for shard in rng.sample(sorted(logs), len(logs)):
            self.scan += logs[shard]
        tail = {shard: rng.randrange(len(log) + 1) for shard, log in logs.items()}
        self.reads = {"all": list(self.scan), "tip": [r for s, log in logs.items() for r in log[tail[s]:]]}
        self.events = self.tenures(rng)
        self.held = {f"1-{i}": {f"broker-{b}": {"log_start": 0, "end": 9, "bytes": 90, "sha256": f"x{i}", "corrupt": False,
                                               "uncertain": False} for b in (1, 2, 3)} for i in range(4)}

    @staticmethod
    def tenures(rng):
        """Leases of shard 0, which ends, and of its child 1."""
        events, at, offset = [], 0.0, 0
        for shard, tenures in ((0, 3), (1, 3)):
            offset = 0
            for tenure in range(tenures):
                worker = f"w{tenure % 2}"
                events.append((at, worker, "I", shard, offset, []))
                for _ in range(rng.randrange(2, 6)):
                    at, offset = at + 0.3, offset + 10
                    events += [(at, worker, "R", shard, offset, ["k", "d", "1"]), (at, worker, "C", shard, offset, ["OK"])]
                last = shard == 0 and tenure == tenures - 1
                if last:
                    events.append((at, worker, "C", shard, checkers.NONE, ["OK"]))
                else:  # what the loser still tries is refused; and it may have been frozen when it was told of its last one
                    events.append((at + 0.01, worker, "C", shard, offset + 5, ["LEASE_LOST"]))
                    events.append((at + 0.45, worker, "C", shard, offset, ["OK", str(int(at * 1e9) - 1)]))
                events.append((at + 0.02, worker, "E" if last else "L", shard, 0, []))
                at += 0.4
        return sorted(events, key=lambda event: event[0])

    def violations(self):
        begin, end = self.history[0]["start"], self.history[-1]["end"]
        last = self.events[-1][0]
        return (checkers.acknowledged_loss(self.history, self.scan) + checkers.phantoms(self.history, self.scan) +
                checkers.duplicates(self.history, self.scan) + checkers.order(self.history, self.scan, PARENTS) +
                checkers.numbers(self.history, [self.scan, self.reads["all"]]) +
                checkers.monotonic_reads(self.reads, self.scan) + checkers.leases(self.events, {1: [0]}, 1.0, [(0.0, last)][:0]) +
                checkers.equal_replicas(self.held) + checkers.availability(self.history, begin, end, [], 5) +
                checkers.equal_states({"controller-1": (7, "a"), "controller-2": (7, "a"), "controller-3": (6, "b")}))

    def pick(self, rng, want=lambda op: True):
        return rng.choice([op for op in self.history if op["result"] == "ok" and want(op)])

    def record(self, op):
        return next(r for r in self.scan if r["id"] == op["id"])


# ---- forgeries: each changes a good history, and names the checker that must find it -----------------------------


def lost_one(g, rng):
    g.scan.remove(g.record(g.pick(rng)))
    return "C1"


def lost_tail(g, rng):
    shard = g.pick(rng)["shard"]
    rows = [r for r in g.scan if r["shard"] == shard and any(o["id"] == r["id"] and o["result"] == "ok" for o in g.history)]
    for row in rows[-3:]:
        g.scan.remove(row)
    return "C1"


def lost_middle(g, rng):
    ok = [r for r in g.scan if any(o["id"] == r["id"] and o["result"] == "ok" for o in g.history)]
    for row in ok[20:30]:
        g.scan.remove(row)
    return "C1"


def lost_stream(g, rng):
    g.scan.clear()
    return "C1"


def lost_shard(g, rng):
    shard = g.pick(rng)["shard"]
    g.scan[:] = [r for r in g.scan if r["shard"] != shard]
    return "C1"


def other_bytes_at_number(g, rng):
    g.record(g.pick(rng)).update(id="p9-1", hash="h?")
    return "C1"


def bytes_changed(g, rng):
    g.record(g.pick(rng))["hash"] = "damaged"
    return "C2"


def key_changed(g, rng):
    g.record(g.pick(rng))["key"] = "k99"
    return "C2"


def invented(g, rng):
    g.scan.append({"shard": "s0", "seq": 10 ** 6, "id": "nobody-1", "key": "k0", "hash": "h"})
    return "C2"


def refused_but_stored(g, rng):
    op = g.pick(rng)
    op["result"] = "fail"
    return "C2"


def stored_twice(g, rng):
    row = dict(g.record(g.pick(rng)), seq=10 ** 6)
    g.scan.append(row)
    return "C3"


def stored_in_parent_and_child(g, rng):
    row = dict(g.record(g.pick(rng, lambda op: op["shard"] == "s0")), shard="c1", seq=1)
    g.scan.insert(next((i for i, r in enumerate(g.scan) if r["shard"] == "c1"), len(g.scan)), row)
    return "C3"


def unknown_stored_twice(g, rng):
    op = g.pick(rng)
    op.update(result="unknown")
    g.scan.append(dict(g.record(op), seq=10 ** 6))
    return "C3"


def same_key(g, rng):
    """Two records of one producer and key in one shard, stored."""
    while True:
        one = g.pick(rng)
        rows = [o for o in g.history if (o["producer"], o["key"], o["shard"], o["result"]) ==
                (one["producer"], one["key"], one["shard"], "ok")]
        if len(rows) > 1:
            return rows[0], rows[1]


def swapped(g, rng):
    one, two = same_key(g, rng)
    a, b = g.record(one), g.record(two)
    for name in ("id", "hash"):
        a[name], b[name] = b[name], a[name]
    one["seq"], two["seq"] = two["seq"], one["seq"]
    return "C4"


def sent_in_another_order(g, rng):
    one, two = same_key(g, rng)
    one["rank"], two["rank"] = two["rank"], one["rank"]
    return "C4"


def child_before_parent(g, rng):
    old = g.pick(rng, lambda op: op["shard"] == "c1")
    new = g.pick(rng, lambda op: op["shard"] == "s0")
    for op in g.history:
        if op["id"] in (old["id"], new["id"]):
            op.update(producer="px", key="kx", rank=0 if op is old else 1)
            g.record(op)["key"] = "kx"
    return "C4"


def number_told_twice(g, rng):
    one, two = g.pick(rng), g.pick(rng)
    while one is two:
        two = g.pick(rng)
    two.update(shard=one["shard"], seq=one["seq"])
    return "C5"


def number_repeated(g, rng):
    first = g.scan[0]
    other = next(r for r in g.scan[1:] if r["shard"] == first["shard"])
    other["seq"] = first["seq"]
    return "C5"


def numbers_fall(g, rng):
    rows = [i for i, r in enumerate(g.scan) if r["shard"] == g.scan[0]["shard"]]
    g.scan[rows[2]], g.scan[rows[3]] = g.scan[rows[3]], g.scan[rows[2]]
    return "C5"


def readers_differ(g, rng):
    g.reads["all"] = copy.deepcopy(g.scan)
    rng.choice(g.reads["all"])["id"] = "p0-other"
    return "C5"


def reader_left_out(g, rng):
    del g.reads["all"][5 if g.reads["all"][4]["shard"] == g.reads["all"][6]["shard"] else 1]
    return "C6"


def reader_stepped_back(g, rng):
    reads = g.reads["all"]
    reads.insert(3, reads[0])
    return "C6"


def reader_got_uncommitted(g, rng):
    g.reads["tip"].append({"shard": "s0", "seq": 10 ** 7, "id": "p0-1", "key": "k0", "hash": "h"})
    return "C6"


def owner_of_two(g, rng):
    at, worker, _, shard, offset, _ = next(e for e in g.events if e[2] == "C" and e[5] == ["OK"])
    g.events.insert(g.events.index(next(e for e in g.events if e[2] == "C")) + 1, (at, "w9", "C", shard, offset, ["OK"]))
    return "C8"


def late_checkpoint_accepted(g, rng):
    index = next(i for i, e in enumerate(g.events) if e[2] == "C" and e[5] == ["LEASE_LOST"])
    late = g.events.pop(index)
    start = next(i for i, e in enumerate(g.events) if i > index and e[2] == "I")
    g.events.insert(start + 1, late[:5] + (["OK"],))
    return "C8"


def frozen_worker_stored_too_late(g, rng):
    index = next(i for i, e in enumerate(g.events) if e[2] == "C" and len(e[5]) > 1)
    e = g.events[index]
    g.events[index] = e[:4] + (e[4] + 1,) + e[5:]
    return "C8"


def checkpoint_fell(g, rng):
    rows = [i for i, e in enumerate(g.events) if e[2] == "C" and e[5] == ["OK"] and e[3] == 0]
    e = g.events[rows[1]]
    g.events[rows[1]] = e[:4] + (e[4] - 20,) + e[5:]
    return "C8"


def began_too_early(g, rng):
    rows = [i for i, e in enumerate(g.events) if e[2] == "I" and e[3] == 0]
    e = g.events[rows[1]]
    g.events[rows[1]] = e[:4] + (e[4] - 5,) + e[5:]
    return "C8"


def child_lease_before_parents_end(g, rng):
    index = next(i for i, e in enumerate(g.events) if e[4] == checkers.NONE)
    del g.events[index]
    return "C8"


def replica_differs(g, rng):
    g.held["1-2"]["broker-3"]["sha256"] = "other"
    return "C10"


def replica_short(g, rng):
    g.held["1-1"]["broker-2"]["end"] = 8
    return "C10"


def replica_missing(g, rng):
    del g.held["1-0"]["broker-1"]
    return "C10"


def replica_corrupt(g, rng):
    g.held["1-3"]["broker-1"]["corrupt"] = True
    return "C10"


FORGERIES = (lost_one, lost_tail, lost_middle, lost_stream, lost_shard, other_bytes_at_number, bytes_changed, key_changed, invented,
             refused_but_stored, stored_twice, stored_in_parent_and_child, unknown_stored_twice, swapped, sent_in_another_order,
             child_before_parent, number_told_twice, number_repeated, numbers_fall, readers_differ, reader_left_out,
             reader_stepped_back, reader_got_uncommitted, owner_of_two, late_checkpoint_accepted,
             frozen_worker_stored_too_late, checkpoint_fell, began_too_early, child_lease_before_parents_end, replica_differs,
             replica_short, replica_missing, replica_corrupt)


def clean(rounds):
    for seed in range(rounds):
        found = Good(random.Random(seed)).violations()
        expect(not found, f"a good history (seed {seed}) raises an alarm: {found}")
    return f"{rounds} good histories"


def stamped():
    ops = [{"id": "a", "result": "ok", "start": 10.0, "end": 10.5}, {"id": "b", "result": "ok", "start": 11.0, "end": 11.2},
           {"id": "c", "result": "unknown", "start": 11.0, "end": 11.2}]
    good = {"a": 1009.6, "b": 1011.9, "c": 5000.0}
    expect(not checkers.stamps(ops, good, 1000.0), "C12 raises a false alarm")
    expect(checkers.stamps(ops, {**good, "a": 1008.9}, 1000.0), "C12 does not see a record that is stamped too early")
    expect(checkers.stamps(ops, {**good, "b": 1012.3}, 1000.0), "C12 does not see a record that is stamped too late")
    return "records out of their time"


def forged(forgery, rounds):
    for seed in range(rounds):
        rng = random.Random(seed)
        good = Good(rng)
        letter = forgery(good, rng)
        found = good.violations()
        expect(any(sentence.startswith(letter + " ") for sentence in found), f"seed {seed}: {letter} found nothing: {found}")
    return f"{rounds} found"


def unavailable():
    ops = [{"result": "ok", "shard": "s", "end": float(t)} for t in (0, 1, 2, 9, 10)]
    expect(not checkers.availability(ops, 0, 10, ["s"], 7.5), "C11 raises a false alarm")
    expect(checkers.availability(ops, 0, 10, ["s"], 6.5), "C11 does not see 7 s without an acknowledgement")
    expect(checkers.availability(ops[:3], 0, 10, ["s"], 6.5), "C11 does not see that it never came back")
    expect(checkers.availability(ops, 0, 10, ["s", "t"], 7.5), "C11 does not see a shard without any")
    expect(checkers.back(ops, 2.5, ["s", "t"]) == {"s": 6.5, "t": float("inf")}, "C11 does not see how long a shard took to be back")


def unowned():
    events = [(float(t), "w0", "R", 0, t, ["k", "d", "1"]) for t in (0, 1, 2, 9, 10)]
    expect(not checkers.leases(events, None, 3.0, [(0, 10)]), "C8 raises a false alarm")
    expect(checkers.leases(events, None, 2.0, [(0, 10)]), "C8 does not see a shard without an owner")


class Plain:
    """What plain producers leave: records that were sent again and lie there twice, though no more often than they were sent."""

    def __init__(self, rng):
        self.history, self.scan = [], []
        for i in range(80):
            attempts = rng.choice([1, 1, 2, 3])
            result = rng.choice(["ok", "ok", "ok", "unknown"])
            stored = rng.randrange(1 if result == "ok" else 0, attempts + 1)
            op = {"id": f"b-{i}", "producer": "b", "rank": None, "key": "k", "start": float(i), "end": i + 0.5, "broker": None,
                  "result": result, "shard": None, "seq": None, "hash": f"h{i}", "mode": "plain", "attempts": attempts}
            for _ in range(stored):
                self.scan.append({"shard": "s", "seq": 100 + len(self.scan), "id": op["id"], "key": "k", "hash": op["hash"]})
            if result == "ok":
                op.update(shard="s", seq=self.scan[-1]["seq"])
            self.history.append(op)


def plain():
    for seed in range(200):
        rng = random.Random(seed)
        good = Plain(rng)
        expect(not checkers.duplicates(good.history, good.scan) and not checkers.acknowledged_loss(good.history, good.scan),
               "C3 raises a false alarm at what a client sent again")
        expect(checkers.repeated(good.scan) > 0, "no record was stored twice")
        op = rng.choice([op for op in good.history if op["result"] == "ok"])
        copies = sum(r["id"] == op["id"] for r in good.scan)
        row = next(r for r in good.scan if r["id"] == op["id"])
        good.scan += [dict(row, seq=1000 + i) for i in range(op["attempts"] + 1 - copies)]
        found = checkers.duplicates(good.history, good.scan)
        expect(len(found) == 1 and op["id"] in found[0], f"C3 does not see what was stored more often than it was sent: {found}")


class Old:
    """A log of two shards whose first part retention dropped; a reader that was overtaken, one that was not, one that began later."""

    def __init__(self, rng):
        self.history = [{"id": f"p-{i}", "start": float(i), "end": i + 0.5, "result": "ok", "shard": f"s{i % 2}", "seq": 10 * i,
                         "hash": f"h{i}", "key": "k", "mode": "once", "broker": "broker-1"} for i in range(100)]
        log = [{"shard": op["shard"], "seq": op["seq"], "id": op["id"], "key": "k", "hash": op["hash"]} for op in self.history]
        first = rng.randrange(30, 50)
        self.since = rng.randrange(first, 60)  # what is younger stays
        self.scan = sorted(log[first:], key=lambda r: r["shard"])
        self.log_start = {}
        for record in self.scan:
            self.log_start.setdefault(record["shard"], record["seq"])
        seen = rng.randrange(2, 20)
        self.reads = {"overtaken": log[:seen] + log[first:], "quick": list(log), "late": log[first:]}
        self.told = True

    def violations(self):
        return (checkers.retained(self.history, self.log_start, self.since) +
                checkers.acknowledged_loss(self.history, self.scan, self.log_start) +
                checkers.trimmed_reads(self.reads, self.scan, self.history, self.log_start, self.told))


def dropped_too_much(old, rng):
    shard = rng.choice(["s0", "s1"])
    old.scan = [r for r in old.scan if r["shard"] != shard or r["seq"] >= 800]
    old.log_start[shard] = min(r["seq"] for r in old.scan if r["shard"] == shard)
    return "C1"


def lost_above_the_start(old, rng):
    old.scan.remove(rng.choice([r for r in old.scan if r["seq"] > old.log_start[r["shard"]]]))
    return "C1"


def nobody_told(old, rng):
    old.told = False
    return "C6"


def left_out_above_the_start(old, rng):
    del old.reads["overtaken"][-rng.randrange(10, 30)]
    return "C6"


def stepped_back_below_the_start(old, rng):
    old.reads["quick"].insert(6, old.reads["quick"][2])
    return "C6"


def never_sent_below_the_start(old, rng):
    old.reads["quick"][3] = dict(old.reads["quick"][3], id="nobody-1")
    return "C6"


def uncommitted_above_the_start(old, rng):
    old.reads["late"].append({"shard": "s0", "seq": 5001, "id": "p-1", "key": "k", "hash": "h"})
    return "C6"


def retention():
    for seed in range(100):
        expect(not Old(random.Random(seed)).violations(), f"a good history (seed {seed}) raises an alarm: "
               f"{Old(random.Random(seed)).violations()}")
        for forgery in (dropped_too_much, lost_above_the_start, nobody_told, left_out_above_the_start, stepped_back_below_the_start,
                        never_sent_below_the_start, uncommitted_above_the_start):
            rng = random.Random(seed)
            old = Old(rng)
            letter = forgery(old, rng)
            found = old.violations()
            expect(any(sentence.startswith(letter + " ") for sentence in found), f"{forgery.__name__} (seed {seed}): {found}")


def fresh():
    history = [{"id": f"p-{i}", "start": float(i), "end": i + 0.5, "result": "ok", "shard": "s", "seq": 10 * i} for i in range(50)]
    good = [("s", 10.6, 11.4, 110), ("s", 10.2, 12.4, 100), ("s", 10.2, 12.4, 110), ("s", 10.2, 12.4, 130), ("t", 1.0, 2.0, 5)]
    expect(not checkers.tips(good, history), f"C7 raises a false alarm: {checkers.tips(good, history)}")
    expect(checkers.tips([("s", 10.6, 11.4, 100)], history), "C7 does not see a tip that was stale")
    expect(checkers.tips([("s", 10.6, 11.4, 130)], history), "C7 does not see a record that the tip left out")


def states():
    expect(checkers.equal_states({"controller-1": (7, "a"), "controller-2": (7, "b")}), "C10 does not see that states differ")


def cuts():
    """A file as writes, syncs and a cut leave it."""
    directory = tempfile.mkdtemp(prefix="weir-cut-")
    try:
        root, keep, log = (os.path.join(directory, name) for name in ("root", "keep", "log"))
        os.mkdir(root)
        os.mkdir(keep)
        path = os.path.join(root, "f")
        with open(path, "wb") as file:
            file.write(b"A" * 1024 + b"B" * 1024)  # A is synced; B replaced nothing, and extended the file
        inode, folder = os.stat(path).st_ino, os.stat(root).st_ino

        def entry(kind, of=0, a=0, b=0, c=0, data=b""):
            return power.HEAD.pack(kind, len(data), of, a, b, c) + data

        with open(log, "wb") as file:
            file.write(entry(power.CREATE, data=path.encode() + b"\0") + entry(power.WRITE, inode, 0, 1024, 0))
            file.write(entry(power.SYNC, folder, file.tell()) + entry(power.SYNC, inode, file.tell()))
            file.write(entry(power.WRITE, inode, 1024, 1024, 1024) + entry(power.WRITE, inode, 0, 512, 2048, b"A" * 512) + b"torn")
        power.cut(root, log, keep, 1)
        with open(path, "rb") as file:
            expect(file.read() == b"A" * 1024, "what was not synced is still there, or what was is not")
        with open(log, "wb") as file:
            file.write(entry(power.CREATE, data=path.encode() + b"\0") + entry(power.SYNC, inode, 10 ** 6))
        power.cut(root, log, keep, 1)
        expect(not os.path.exists(path), "a name survives whose directory was never synced")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    expect(struct.calcsize("<IIQQQQ") == power.HEAD.size, "the log's head changed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    tests = [("no false alarm", lambda: clean(rounds))]
    tests += [(f"forged: {f.__name__.replace('_', ' ')}", lambda f=f: forged(f, max(rounds // 10, 5))) for f in FORGERIES]
    return run_all(tests + [("unavailable shards", unavailable), ("shards without an owner", unowned),
                            ("plain producers", plain),
                            ("retention and its readers", retention), ("the tip", fresh), ("controllers' states", states),
                            ("stamps", stamped), ("power cuts", cuts)])


if __name__ == "__main__":
    sys.exit(main())
