"""Faults: a function of (world, cell) that yields once. Before the yield the fault begins, after it it ends. What needs
other disks, clocks or environments is prepared, before there is any load, by the function in PREPARE. Those of disks are in
disks.py."""
import os
import signal
import subprocess
import sys
import time

import disks  # noqa: F401  registers its faults
from partition import die_with_parent
from prepare import FAKETIME, FAULTS, clocks, fault, forgetful, set_clock
from world import Failed, expect


# ---- processes ---------------------------------------------------------------------------------------------------


@fault(seconds=4)
def none(world, cell):
    yield


def killed(world, *names):
    world.kill(*names)
    yield
    world.start(*names)


@fault(limit=10)
def kill_leader(world, cell):
    yield from killed(world, cell.leader())


@fault(limit=5)
def kill_follower(world, cell):
    yield from killed(world, cell.follower())


@fault(limit=5)
def kill_controller(world, cell):
    yield from killed(world, world.active_controller())


@fault(seconds=1, limit=None, recovery=60)
def kill_all(world, cell):
    yield from killed(world, *world.all_names)


@fault(seconds=1, limit=None, recovery=60)
def term_all(world, cell):
    """All brokers are told to end at once: each hands its leaderships to another that ends, too, and not for ever."""
    before = {s["id"]: s["epoch"] for s in world.shards(cell.stream)}
    world.term(*world.names_of("broker"))
    yield
    world.start(*world.names_of("broker"))
    world.wait_serving()
    world.wait_leaders(cell.stream)
    risen = max(s["epoch"] - before[s["id"]] for s in world.shards(cell.stream))
    expect(risen <= 12, f"epochs rose by {risen} while brokers ended: leaderships went to and fro")
    cell.note(f"epochs rose by {risen}")


@fault(seconds=8)
def controllers_down(world, cell):
    """A majority of the controllers is gone, and meanwhile a follower dies: data flows on."""
    names = [world.active_controller()]
    names.append(next(name for name in world.names_of("controller") if name not in names))
    world.kill(*names)
    time.sleep(2)
    follower = cell.follower(known=True)
    world.kill(follower)
    yield
    world.start(follower, *names)


def frozen(world, name):
    world.signal(signal.SIGSTOP, name)
    yield
    world.signal(signal.SIGCONT, name)


@fault(seconds=6, limit=20)
def freeze_leader(world, cell):
    yield from frozen(world, cell.leader())


@fault(seconds=6)
def freeze_follower(world, cell):
    yield from frozen(world, cell.follower())


@fault(seconds=6, limit=10)
def freeze_controller(world, cell):
    yield from frozen(world, world.active_controller())


@fault(seconds=6, needs="/sys/fs/cgroup/freezer")
def cgroup_freeze_leader(world, cell):
    """All of a broker's threads stop, and no signal says so."""
    group = f"/sys/fs/cgroup/freezer/weir-fault-{os.getpid()}"
    os.makedirs(group, exist_ok=True)

    def say(name, text):
        with open(os.path.join(group, name), "w", encoding="ascii") as file:
            file.write(text)
    pid = world.pid(cell.leader())
    say("cgroup.procs", str(pid))
    say("freezer.state", "FROZEN")
    try:
        yield
    finally:
        say("freezer.state", "THAWED")
        with open("/sys/fs/cgroup/freezer/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(pid))
        time.sleep(0.1)
        os.rmdir(group)


# ---- networks ----------------------------------------------------------------------------------------------------


@fault(seconds=8, limit=20)
def isolate_leader(world, cell):
    world.network.isolate(cell.leader())
    yield
    world.network.heal()


@fault(seconds=8, limit=20)
def isolate_leader_with_clients(world, cell):
    """The leader keeps its clients, a producer of its own among them, and loses all brokers and controllers."""
    leader = cell.leader()
    cell.add_beside(leader)
    time.sleep(1)
    world.network.split([leader], [name for name in world.all_names if name != leader])
    yield
    world.network.heal()


@fault(seconds=8)
def one_way(world, cell):
    """What the leader says to other brokers is lost; what they say arrives."""
    leader = cell.leader()
    for other in world.names_of("broker"):
        if other != leader:
            world.network.drop(leader, other)
    yield
    world.network.heal()


@fault(seconds=8)
def partial(world, cell):
    """The leader sees controllers and clients, not the other brokers."""
    leader = cell.leader()
    world.network.split([leader], [other for other in world.names_of("broker") if other != leader])
    yield
    world.network.heal()


@fault(seconds=8, limit=10)
def partial_controllers(world, cell):
    """The leader sees brokers and clients, not the controllers."""
    world.network.split([cell.leader()], world.names_of("controller"))
    yield
    world.network.heal()


@fault(seconds=8, limit=10)
def isolate_controller(world, cell):
    world.network.isolate(world.active_controller())
    yield
    world.network.heal()


@fault(seconds=8)
def zone_down(world, cell):
    """All brokers of the leader's zone, and one controller."""
    zone = (int(cell.leader()[-1]) - 1) % 3
    names = [name for name in world.names_of("broker") if (int(name[-1]) - 1) % 3 == zone] + [f"controller-{zone + 1}"]
    for name in names:
        world.network.isolate(name)
    yield
    world.network.heal()


@fault(seconds=8, limit=60, recovery=60)
def loss_20_percent(world, cell):
    for name in world.names_of("broker"):
        world.network.lose(name, 0.106)  # in and out: a fifth is lost on the way in or out
    yield
    world.network.heal()


def nfqueue_python():
    """A Python that has netfilterqueue, or None."""
    from world import TREE
    for python in (sys.executable, os.path.join(TREE, "build", "venv-nfqueue", "bin", "python")):
        if os.path.exists(python) and subprocess.run([python, "-c", "import netfilterqueue"], capture_output=True).returncode == 0:
            return python
    return None


@fault(seconds=8, limit=60, recovery=60, needs=nfqueue_python)
def delay_reorder(world, cell):
    """Every packet to a broker waits between 0 and 60 ms, so that they come in another order."""
    helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "delay.py")
    children = []
    try:
        for name in world.names_of("broker"):
            children.append(subprocess.Popen([*world.network.inside(name), nfqueue_python(), helper, "60"],
                                             preexec_fn=die_with_parent))
            world.network.queue(name)
        time.sleep(0.5)
        expect(all(child.poll() is None for child in children), "packets cannot be queued here")
        yield
    finally:
        world.network.heal()
        for child in children:
            child.terminate()
            child.wait()


# ---- clocks ------------------------------------------------------------------------------------------------------


def clock(world, cell, text):
    name = cell.leader()
    set_clock(world, name, text)
    yield
    set_clock(world, name, "+0")


@fault(seconds=4, needs=FAKETIME, prepare=clocks)
def clock_plus_hour(world, cell):
    yield from clock(world, cell, "+1h")


@fault(seconds=4, needs=FAKETIME, prepare=clocks)
def clock_minus_hour(world, cell):
    yield from clock(world, cell, "-1h")


@fault(seconds=4, needs=FAKETIME, prepare=clocks)
def clock_plus_century(world, cell):
    yield from clock(world, cell, "+100y")


@fault(seconds=4, needs=FAKETIME, prepare=clocks)
def clock_minus_century(world, cell):
    yield from clock(world, cell, "-50y")


@fault(seconds=4, needs=FAKETIME, prepare=clocks)
def clock_frozen(world, cell):
    yield from clock(world, cell, time.strftime("%Y-%m-%d %H:%M:%S"))


# ---- two at once -------------------------------------------------------------------------------------------------

PAIRS = ("kill-leader", "kill-follower", "kill-controller", "freeze-leader", "freeze-controller", "isolate-leader",
         "isolate-controller", "one-way", "partial-controllers")
DISKS = ("eio-leader", "eio-write-leader", "eio-sync-leader", "eio-sync-follower", "slow-disk-leader", "slow-disk-follower",
         "hung-disk-leader", "hung-disk-follower", "power-cut-leader")


@fault(seconds=8, limit=None, recovery=60)
def pair(world, cell):
    """Two of the others at once; whether a majority is left is chance."""
    yield from both(world, cell, cell.rng.sample(PAIRS, 2))


@fault(seconds=8, limit=None, recovery=60, prepare=forgetful(["broker"]))
def pair_with_disk(world, cell):
    """A broker's disk, and one of the others."""
    yield from both(world, cell, [cell.rng.choice(DISKS), cell.rng.choice(PAIRS)])


def both(world, cell, names):
    cell.note(" and ".join(names))
    first, second = (FAULTS[name].run(world, cell) for name in names)
    next(first)
    try:
        next(second)
    except Failed as problem:  # the first took away what the second needs to be aimed
        cell.note(f"only the first: {problem}")
        second = iter(())
    yield
    for one in (second, first):
        next(one, None)
    world.network.heal()


# ---- five that lost data elsewhere: fixed tests (tests/fault/run --nats) ------------------------------------------


@fault(seconds=1, limit=None, recovery=60, prepare=forgetful(["broker", "controller"]))
def nats_power_loss(world, cell):
    """Coordinated loss of power, twice within seconds; unsynced writes are gone everywhere."""
    cell.note(world.power_cut(cell.seed, False, *world.all_names))
    world.start(*world.all_names)
    world.wait_serving()
    world.wait_leaders(cell.stream)
    time.sleep(1)
    yield
    cell.note(world.power_cut(cell.seed + 1, True, *world.all_names))
    world.start(*world.all_names)


@fault(seconds=3, limit=None, recovery=60, prepare=forgetful(["broker"]))
def nats_one_crash_and_pauses(world, cell):
    """Pauses choose the quorum: leader and one follower acknowledge, that follower loses power, the leader freezes, and the
    follower must carry what it acknowledged into a majority with the one that slept."""
    leader, one = cell.leader(), cell.follower()
    two = next(r["broker"] for r in cell.known["replicas"] if r["broker"] not in (leader, one))
    world.signal(signal.SIGSTOP, two)
    time.sleep(3)
    cell.note(world.power_cut(cell.seed, True, one))
    world.signal(signal.SIGSTOP, leader)
    world.signal(signal.SIGCONT, two)
    world.start(one)
    yield
    world.signal(signal.SIGCONT, leader)


@fault(seconds=3, limit=None, recovery=60)
def nats_bit_errors(world, cell):
    """Single bits of journal and segments of one replica of three, under its feet; then everything is killed and that one
    is started first."""
    follower = cell.follower()
    time.sleep(2)
    world.kill(*world.names_of("broker"))
    paths = world.files(follower, f"shards/{cell.stream_id()}-*/*.log")[:2] + world.files(follower, "journal/*")[:2]
    cell.spoiled = cell.damaged = follower
    cell.note(f"{world.flip(cell.rng, paths, 1)} bits of {follower}")
    world.start(follower)
    yield
    world.start(*world.names_of("broker"))


@fault(seconds=3, limit=None, recovery=60)
def nats_bit_errors_metadata(world, cell):
    """Bits of one controller's snapshots, state and log, and it is the first that comes back: no stream may be deleted for
    what it believes. Its cluster is not used again."""
    victim = world.active_controller()
    before = {name: len(world.files(name, "shards/**/*.log")) for name in world.names_of("broker")}
    world.kill(*world.names_of("controller"))
    flipped = [path for path in world.files(victim, "**") if not path.endswith("-shm")]
    cell.note(f"{world.flip(cell.rng, flipped, 2)} bits of {victim}")
    cell.spoiled = victim
    world.start(victim)
    time.sleep(2)
    cell.note(f"it {'started' if world.pid(victim) else 'refused to start'}")
    world.start(*[name for name in world.names_of("controller") if name != victim])
    yield
    after = {name: len(world.files(name, "shards/**/*.log")) for name in world.names_of("broker")}
    gone = {name: before[name] - after[name] for name in before if after[name] < before[name]}
    expect(not gone, f"segments were deleted: {gone}")


@fault(seconds=4, limit=None, recovery=60)
def nats_membership(world, cell):
    """Replicas leave a broker, while the leader is cut off one way and the others are killed in turn."""
    leaver = cell.leader()
    world.run("weirctl", "broker", "drain", leaver, "--no-wait")
    time.sleep(0.3)
    leader, follower = cell.leader(), cell.follower()
    for other in world.names_of("broker"):
        if other != leader:
            world.network.drop(leader, other)
    time.sleep(1.5)
    world.kill(follower)
    time.sleep(1)
    world.start(follower)
    world.kill(leader)
    world.network.heal()
    world.start(leader)
    yield
    world.run("weirctl", "broker", "undrain", leaver)


NATS = ("nats-power-loss", "nats-one-crash-and-pauses", "nats-bit-errors", "nats-bit-errors-metadata", "nats-membership")
HIDDEN = ("power-cut-all-lying",)
