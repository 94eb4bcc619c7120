#!/usr/bin/env python3
"""usage: formats.py BIN: what a newer Weir has written is refused, with the reason and what to do, and left as it is; what can be
made anew is. Version fields on the disks of stopped processes are raised, the processes started, the fields put back."""
import json
import os
import sqlite3
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, expect, run_all  # noqa: E402
from upgrade import contents  # noqa: E402

LINES = [f"line-{i:03d}-" + "x" * 20000 for i in range(200)]  # some segments of each shard
BIN = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/release/bin")


def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def patched(data, at, end, form, offset, value):
    """A piece [at, end) that has its CRC at 4, over all behind it: with another value at an offset."""
    piece = bytearray(data[at:end])
    struct.pack_into(form, piece, offset, value)
    struct.pack_into("<I", piece, 4, crc32c(piece[8:]))
    return data[:at] + bytes(piece) + data[end:]


def change(path, how):
    with open(path, "rb") as file:
        before = file.read()
    after = how(before)
    expect(after != before, f"{path} has a version to raise")
    with open(path, "r+b") as file:
        file.write(after)
    return before


def put_back(path, before):
    with open(path, "r+b") as file:
        file.truncate(len(before))
        file.write(before)


def raise_identity(data):
    for at in range(0, len(data), 4096):
        if data[at:at + 4] == b"WIDY":
            data = patched(data, at, at + 512, "<I", 8, 77)
    return data


def raise_journal(data):
    for at in range(0, len(data), 4096):
        if data[at:at + 4] == b"WJBH":
            data = patched(data, at, at + 512, "<H", 72, 77)
    return data


def raise_whole(magic):
    """A file with its format at 8, and the CRC over all of it."""
    return lambda data: patched(data, 0, len(data), "<I", 8, 77) if data[:4] == magic else data


def raise_text(prefix):
    return lambda data: data.replace(prefix + b" 1\n", prefix + b" 77\n", 1)


def files_with(cluster, name, magic):
    found = []
    for root, _, files in os.walk(os.path.join(cluster.dir, name, "data")):
        for file in files:
            path = os.path.join(root, file)
            with open(path, "rb") as opened:
                start = opened.read(1 << 20)
                if any(start[at:at + 4] == magic for at in range(0, len(start), 4096)):
                    found.append(path)
    return found


def run(cluster, name, *more):
    return subprocess.run([os.path.join(BIN, "weir-" + name.split("-")[0]), "--config", os.path.join(cluster.dir, name, "config"),
                           *more], capture_output=True, text=True, timeout=30, check=False)


def untouched(cluster, name):
    found = contents(os.path.join(cluster.dir, name, "data"))
    return {path: value for path, value in found.items() if not path.endswith(("-wal", "-shm"))}


def expect_refused(cluster, name, what):
    before = untouched(cluster, name)
    result = run(cluster, name)
    expect(result.returncode == 1, f"{what}: exit code 1, not {result.returncode}: {result.stderr}")
    expect("has format 77, this version knows" in result.stderr and "newer Weir" in result.stderr, f"{what}: {result.stderr}")
    expect(untouched(cluster, name) == before, f"{what}: nothing in the directory is changed")


def serves(cluster):
    cluster.wait_in_sync("orders")
    lines = cluster.run("weir", "get", "orders", "--from", "trim-horizon").stdout.split()
    expect(sorted(lines) == LINES, f"all lines are there: {len(lines)}")


def formats_of_a_broker(c):
    c.local("term", "broker-2")
    home = os.path.join(c.dir, "broker-2", "data")
    journals = files_with(c, "broker-2", b"WJBH")
    expect(journals, "there is a journal")
    for what, paths, how in (("the identity", [os.path.join(home, "identity")], raise_identity),
                             ("the journal", journals, raise_journal)):
        before = [(path, change(path, how)) for path in paths]
        expect_refused(c, "broker-2", what)
        for path, data in before:
            put_back(path, data)
    c.local("start", "broker-2")
    serves(c)


def what_a_broker_makes_anew(c):
    c.local("term", "broker-3")
    indexes = files_with(c, "broker-3", b"WIDX")
    for path in indexes:
        change(path, raise_whole(b"WIDX"))
    expect(indexes, "there are segments with an index")
    scrub = files_with(c, "broker-3", b"WSCR")
    for path in scrub:
        change(path, raise_whole(b"WSCR"))
    c.local("start", "broker-3")
    serves(c)
    return f"{len(indexes)} indexes, {len(scrub)} states of the scrubber"


def formats_of_a_controller(c):
    name = next(n for n in c.names() if n.startswith("controller") and n != c.active_controller())
    home = os.path.join(c.dir, name, "data")
    c.local("term", name)
    path = os.path.join(home, "identity")
    before = change(path, raise_text(b"weir controller"))
    expect_refused(c, name, "a controller's identity")
    put_back(path, before)
    for file in ("raft.db", "state.db"):
        path = os.path.join(home, file)
        was = set_version(path, 77)
        expect_refused(c, name, file)
        expect(set_version(path, was) == 77, f"{file} still has the version that was refused")
    c.local("start", name)
    end = time.monotonic() + 20
    while {m["name"]: m for m in c.json("weirctl", "controller", "list")["controllers"]}[name]["state"] != "follower":
        expect(time.monotonic() < end, f"{name} follows again")
        time.sleep(0.1)


def set_version(path, version):
    db = sqlite3.connect(path)
    was = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {version}")
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return was


def a_backup_of_a_newer_weir(c):
    file = os.path.join(c.dir, "backup")
    c.run("weirctl", "controller", "backup", "--out", file)
    change(file, raise_text(b"weir controllers backup"))
    empty = os.path.join(c.dir, "empty")
    os.mkdir(empty)
    result = run(c, "controller-1", "--restore-file", file, "--data-dir", empty)
    expect(result.returncode == 1 and "has format 77" in result.stderr and "newer Weir" in result.stderr, f"{result}")
    expect("state.db" not in os.listdir(empty), f"nothing is restored from it: {os.listdir(empty)}")


def every_process_tells_its_formats(c):
    said = json.loads(c.run("weirctl", "upgrade", "check", "--json", check=False).stdout)
    text = c.run("weirctl", "upgrade", "check", check=False).stdout
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/operations.md"), encoding="utf-8") as file:
        docs = file.read()
    names = {f["name"] for p in said["processes"] for f in p["formats"]}
    expect(len(said["processes"]) == 6 and all(p["formats"] for p in said["processes"]), f"all six tell their formats: {said}")
    for name in names:
        expect(f"| `{name}` |" in docs, f"docs/operations.md explains the format {name}")
        expect(any(line.split()[:1] == [name] for line in text.splitlines()), f"upgrade check shows {name}: {text}")
    return f"{len(names)} formats"


def main():
    tests = (every_process_tells_its_formats, formats_of_a_broker, what_a_broker_makes_anew, formats_of_a_controller,
             a_backup_of_a_newer_weir)
    with Cluster(BIN, settings=("journal-file-bytes=2MiB", "block-bytes=64KiB", "ring-bytes=1MiB", "segment-bytes=1MiB")) as c:
        c.create("orders", 2)
        c.run("weir", "put", "orders", stdin="".join(line + "\n" for line in LINES))
        c.wait_in_sync("orders")
        return run_all([(f.__name__.replace("_", " "), lambda f=f: f(c)) for f in tests])


if __name__ == "__main__":
    sys.exit(main())
