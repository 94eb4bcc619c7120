"""Faults of disks: full, failing, slow, hung, without power, with wrong bits, replaced."""
import os
import shutil
import subprocess
import time

from prepare import fault, forgetful, small


def full(world, name):
    ballast = os.path.join(world.data(name), "ballast")
    subprocess.run(["dd", "if=/dev/zero", "of=" + ballast, "bs=1M"], capture_output=True)
    yield
    os.unlink(ballast)
    if not world.pid(name):
        world.start(name)


@fault(seconds=5, limit=None, recovery=60, prepare=small("broker"))
def disk_full_leader(world, cell):
    yield from full(world, cell.leader())


@fault(seconds=5, prepare=small("broker"))
def disk_full_follower(world, cell):
    yield from full(world, cell.follower())


@fault(seconds=5, prepare=small("controller"))
def disk_full_controller(world, cell):
    yield from full(world, world.active_controller())


def failing(world, name, how):
    """The disk fails, and goes on failing until the process has been killed and begins anew."""
    world.order(name, how)
    yield
    world.order(name, how, False)
    world.kill(name)
    world.start(name)


@fault(seconds=5, prepare=forgetful(["broker"]))
def eio_leader(world, cell):
    """Its disk neither writes nor syncs."""
    yield from failing(world, cell.leader(), "eio")


@fault(seconds=5, prepare=forgetful(["broker"]))
def eio_write_leader(world, cell):
    """Writes fail, syncs succeed."""
    yield from failing(world, cell.leader(), "eio-write")


@fault(seconds=5, prepare=forgetful(["broker"]))
def eio_sync_leader(world, cell):
    """Writes succeed, syncs fail: once, and what they should have written is lost with the power."""
    name = cell.leader()
    world.order(name, "eio-sync")
    time.sleep(1)
    world.order(name, "eio-sync", False)
    yield
    cell.note(world.power_cut(cell.seed, True, name))
    world.start(name)


@fault(seconds=5, prepare=forgetful(["broker"]))
def eio_sync_follower(world, cell):
    yield from failing(world, cell.follower(), "eio-sync")


@fault(seconds=5, prepare=forgetful(["controller"]))
def eio_sync_controller(world, cell):
    """The active controller's disk does not sync: it must not count itself, nor go on."""
    yield from failing(world, world.active_controller(), "eio-sync")


def ordered(world, name, what):
    world.order(name, what)
    yield
    world.order(name, what, False)


@fault(seconds=6, limit=60, prepare=forgetful(["broker"]))
def slow_disk_leader(world, cell):
    """Every sync takes 200 ms longer."""
    yield from ordered(world, cell.leader(), "slow")


@fault(seconds=6, limit=60, prepare=forgetful(["broker"]))
def slow_disk_follower(world, cell):
    yield from ordered(world, cell.follower(), "slow")


@fault(seconds=8, limit=60, prepare=forgetful(["broker"]))
def hung_disk_leader(world, cell):
    """Writes and syncs of the leader's disk do not return; then they do, as if nothing had been."""
    yield from ordered(world, cell.leader(), "hang")


@fault(seconds=8, limit=60, prepare=forgetful(["broker"]))
def hung_disk_follower(world, cell):
    yield from ordered(world, cell.follower(), "hang")


@fault(seconds=8, limit=60, prepare=forgetful(["controller"]))
def hung_disk_controller(world, cell):
    """The active controller's disk hangs: data flows on, and another must become active if anything is to be decided."""
    yield from ordered(world, world.active_controller(), "hang")


def powerless(world, cell, names, torn):
    cell.note(world.power_cut(cell.seed, torn, *names))
    yield
    world.start(*names)


@fault(seconds=3, prepare=forgetful(["broker"]))
def power_cut_leader(world, cell):
    yield from powerless(world, cell, [cell.leader()], torn=True)


@fault(seconds=1, limit=None, recovery=60, prepare=forgetful(["broker", "controller"]))
def power_cut_all(world, cell):
    yield from powerless(world, cell, world.all_names, torn=False)


@fault(seconds=1, limit=None, recovery=60, prepare=forgetful(["broker", "controller"]))
def power_cut_all_torn(world, cell):
    yield from powerless(world, cell, world.all_names, torn=True)


@fault(seconds=1, limit=None, recovery=60, prepare=forgetful(["broker"]))
def power_cut_all_lying(world, cell):
    """Not among those that are chosen: before it syncs do nothing for a while, so that records must be lost."""
    for name in world.names_of("broker"):
        world.order(name, "lies")
    time.sleep(1.5)
    cell.note(world.power_cut(cell.seed, False, *world.names_of("broker")))
    for name in world.names_of("broker"):
        world.order(name, "lies", False)
    yield
    world.start(*world.names_of("broker"))


@fault(seconds=2, recovery=60)
def bit_flips_journal(world, cell):
    """Bits of a follower's journal, then its leader dies."""
    follower, leader = cell.follower(), cell.leader()
    world.kill(follower)
    cell.spoiled = cell.damaged = follower
    cell.note(f"{world.flip(cell.rng, world.files(follower, 'journal/*')[:2], 3)} bits of {follower}'s journal")
    world.start(follower)
    time.sleep(2)
    world.kill(leader)
    yield
    world.start(leader)


@fault(seconds=2, recovery=60)
def bit_flips_segments(world, cell):
    """Bits of a follower's segments, which then is told to lead."""
    follower = cell.follower()
    time.sleep(2)
    world.kill(follower)
    paths = [path for path in world.files(follower, f"shards/{cell.stream_id()}-*/*.log")][:4]
    cell.spoiled = cell.damaged = follower
    cell.note(f"{world.flip(cell.rng, paths, 2)} bits of {follower}'s segments")
    world.start(follower)
    world.wait_serving()
    for shard in world.shards(cell.stream):
        world.run("weirctl", "leader", "move", cell.stream, shard["id"], follower, check=False)
    yield


@fault(seconds=3)
def bit_flips_controller(world, cell):
    """Bits of one controller's log, state and snapshots. It must refuse to start, or be right; never delete anything. Then the
    active one dies, and the rest must go on with it or without it. Its cluster is not used again."""
    active = world.active_controller()
    victim = next(name for name in world.names_of("controller") if name != active)
    world.kill(victim)
    cell.note(f"{world.flip(cell.rng, world.files(victim, '**'), 3)} bits of {victim}'s files")
    cell.spoiled = victim
    world.start(victim)
    time.sleep(2)
    cell.note(f"it {'started' if world.pid(victim) else 'refused to start'}")
    world.kill(active)
    time.sleep(1)
    world.start(active)
    yield


@fault(seconds=4)
def disk_wiped(world, cell):
    """A follower's disk is replaced by an empty one."""
    name = cell.follower()
    world.kill(name)
    shutil.rmtree(world.data(name))
    os.mkdir(world.data(name))
    yield
    world.start(name)
