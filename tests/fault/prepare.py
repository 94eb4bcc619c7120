"""What a fault is, and what has to be there before the load: other disks, other clocks."""
import os

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
FAULTS, PREPARE = {}, {}


class Fault:
    """seconds: how long it lasts; limit: of a shard's longest gap, None where no majority is left; recovery: within which every
    shard acknowledges again when it is over; needs: a file without which it is skipped. The limits are for machines with
    much else to do: what is usual is in docs/testing.md."""

    def __init__(self, function, seconds, limit, recovery, needs):
        self.run, self.seconds, self.limit, self.recovery, self.needs = function, seconds, limit, recovery, needs
        self.name = function.__name__.replace("_", "-")


def fault(seconds=5, limit=30, recovery=30, needs=None, prepare=None):
    def register(function):
        it = Fault(function, seconds, limit, recovery, needs)
        FAULTS[it.name] = it
        if prepare is not None:
            PREPARE[it.name] = prepare
        return function
    return register


# ---- what has to be there before the load ------------------------------------------------------------------------


def restart(world, names):
    world.kill(*names)
    world.start(*names)
    world.wait_serving()


def forgetful(kinds):
    """Processes of these kinds are on disks that can lose what was not synced."""
    def prepare(world, cell):
        names = [name for kind in kinds for name in world.names_of(kind)]
        world.kill(*names)
        for name in names:
            world.bad_disk(name)
        world.start(*names)
        world.wait_serving()
        cell.afterwards.append(lambda: usual(world, names))
    return prepare


def usual(world, names):
    for name in names:
        world.environment(name)
    restart(world, names)


def small(kind):
    def prepare(world, cell):
        names = world.names_of(kind)
        world.kill(*names)
        for name in names:
            used = sum(os.path.getsize(path) for path in world.files(name, "**"))
            world.small_disk(name, used + 200 * 1024 * 1024)
        world.start(*names)
        world.wait_serving()

        def back():
            world.kill(*names)
            for name in names:
                world.large_disk(name)
            world.start(*names)
            world.wait_serving()
        cell.afterwards.append(back)
    return prepare


def clocks(world, cell, back=True):
    """All processes on clocks of their own; not back: the cluster is not used again."""
    names = world.names_of("broker") + world.names_of("controller")
    for name in names:
        set_clock(world, name, "+0")
        world.environment(name, LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=os.path.join(world.dir, name, "clock"),
                          FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1", FAKETIME_CACHE_DURATION="1")
    restart(world, names)
    if back:
        cell.afterwards.append(lambda: usual(world, names))
    else:
        cell.spoiled = "clocks"


def set_clock(world, name, text):
    path = os.path.join(world.dir, name, "clock")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text + "\n")
    os.rename(path + ".new", path)
