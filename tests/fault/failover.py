"""How long a shard acknowledges nothing when its leader goes: from the fault to the first acknowledgement of what was sent
after it, over all shards that the victim led."""
import os
import signal
import time

import workloads
from world import Failed, expect

SHARDS, RATE, HOLD = 8, 800, 2.0


class Load:
    """What workloads.Native wants of a cell."""

    def __init__(self, world):
        self.world, self.dir, self.stream, self.leaders = world, os.path.join(world.work, "failover"), "failover", {}
        os.mkdir(self.dir)


def kill(world, name):
    world.kill(name)
    return lambda: world.start(name)


def freeze(world, name):
    world.signal(signal.SIGSTOP, name)
    return lambda: world.signal(signal.SIGCONT, name)


def cut(world, name):
    world.network.isolate(name)
    return world.network.heal


KINDS = {"kill -9": kill, "SIGSTOP": freeze, "partition": cut}


def first_after(history, moment, shards):
    """{shard: when the first record that was sent after the moment was acknowledged}."""
    first = {}
    for op in history:
        if op["result"] == "ok" and op["start"] >= moment and op["shard"] in shards:
            first[op["shard"]] = min(first.get(op["shard"], op["end"]), op["end"])
    return first


def one_round(world, producer, fault):
    rows = world.shards("failover")
    victim = rows[producer.round % len(rows)]["leader"]
    led = {s["id"] for s in rows if s["leader"] == victim}
    at, known = time.monotonic(), len(producer.history)
    after = fault(world, victim)
    end = at + 60
    while True:
        first = first_after(producer.history[max(0, known - 10):], at, led)
        if len(first) == len(led):
            break
        expect(time.monotonic() < end, f"no acknowledgement in {led - set(first)} for 60 s")
        time.sleep(0.02)
    time.sleep(max(0, at + HOLD - time.monotonic()))
    after()
    world.wait_serving()
    world.wait_in_sync("failover", 60)
    world.run("weirctl", "leader", "balance", check=False)
    time.sleep(0.5)
    return [moment - at for moment in first.values()]


def measure(world, rounds):
    """Prints a table; returns what was measured."""
    load = Load(world)
    world.create("failover", SHARDS)
    world.wait_leaders("failover")
    producer = workloads.Native(load, "p", RATE, 128)
    producer.round = 0
    producer.start()
    table = {}
    try:
        time.sleep(2)
        for name, fault in KINDS.items():
            times = []
            for producer.round in range(rounds):
                times += one_round(world, producer, fault)
            table[name] = sorted(times)
        producer.finish()
    finally:
        producer.stop()
    print(f"{'leader lost by':16} {'faults':>6} {'shards':>7} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    for name, times in table.items():
        if not times:
            raise Failed(f"{name}: nothing was measured")
        print(f"{name:16} {rounds:6} {len(times):7} {1000 * times[len(times) // 2]:8.0f} "
              f"{1000 * times[min(len(times) - 1, int(len(times) * 0.99))]:8.0f} {1000 * times[-1]:8.0f}")
    return table
