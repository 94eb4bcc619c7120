"""What a power cut does to the files of a process that ran with tests/support/bad_disk.c and has ended.

The log says what every change replaced and which syncs succeeded. cut() takes back all changes that no sync covers: every
one of them ("lost"), or each 512 bytes of a write by chance ("torn"). Names go the same way: a file that was created,
renamed or removed and whose directory was not synced since is as it was before."""
import os
import random
import struct

HEAD = struct.Struct("<IIQQQQ")
WRITE, RESIZE, SYNC, SYNC_ALL, CREATE, RENAME, REMOVE, MKDIR, SYNCED = range(1, 10)
SECTOR = 512


def entries(path):
    """(position, kind, inode, a, b, c, bytes) of a log; a torn last entry never took effect."""
    with open(path, "rb") as file:
        data = file.read()
    at, out = 0, []
    while at + HEAD.size <= len(data):
        kind, size, inode, a, b, c = HEAD.unpack_from(data, at)
        end = at + HEAD.size + size
        if end > len(data):
            break
        out.append((at, kind, inode, a, b, c, data[at + HEAD.size:end]))
        at = end
    return out


def paths_of(data):
    return [part.decode() for part in data.split(b"\0")[:-1]]


class Cut:
    def __init__(self, root, log, keep, torn, rng):
        self.log, self.torn, self.rng = entries(log), torn, rng
        self.root, self.keep = root, keep
        self.synced, self.all, self.single = {}, 0, set()
        for _, kind, inode, a, _, _, _ in self.log:
            if kind == SYNC:
                self.synced[inode] = max(self.synced.get(inode, 0), a)
            elif kind == SYNC_ALL:
                self.all = max(self.all, a)
            elif kind == SYNCED:
                self.single.add(a)
        self.lost_bytes = self.lost_names = 0

    def where(self):
        """inode -> path, of all that is there or kept."""
        found = {}
        for top in (self.keep, self.root):
            for directory, _, names in os.walk(top):
                for name in names:
                    path = os.path.join(directory, name)
                    found[os.lstat(path).st_ino] = path
        return found

    def pending(self, position, inode):
        return position >= max(self.synced.get(inode, 0), self.all) and position not in self.single

    def undo_bytes(self):
        where, settled, sizes = self.where(), set(), {}
        for position, kind, inode, at, size, before, old in reversed(self.log):
            if kind not in (WRITE, RESIZE) or not self.pending(position, inode) or inode not in where:
                continue
            with open(where[inode], "r+b") as file:
                if kind == RESIZE or not self.torn:
                    self.lost_bytes += size
                    if kind == RESIZE:
                        file.truncate(before)
                    file.seek(at)
                    file.write(old)
                    if kind == WRITE and at + size > before:
                        file.truncate(before)
                    continue
                # By sectors: what was kept of a later write is not undone by an earlier one.
                for start in range(at - at % SECTOR, at + size, SECTOR):
                    if (inode, start) in settled:
                        continue
                    first, last = max(start, at), min(start + SECTOR, at + size)
                    if self.rng.random() < 0.5:
                        settled.add((inode, start))
                        sizes[inode] = max(sizes.get(inode, 0), last)
                        continue
                    self.lost_bytes += last - first
                    piece = old[first - at:last - at]
                    file.seek(first)
                    file.write(piece + bytes(last - first - len(piece)))
                file.truncate(max(before, sizes.get(inode, 0)))

    def undo_names(self):
        inodes = {directory: os.stat(directory).st_ino for directory, _, _ in os.walk(self.root)}
        for position, kind, _, _, _, _, data in reversed(self.log):
            if kind not in (CREATE, RENAME, REMOVE, MKDIR):
                continue
            names = paths_of(data)
            folder = os.path.dirname(names[-2] if kind == RENAME and len(names) == 3 else names[0])
            if folder not in inodes or not self.pending(position, inodes[folder]):
                continue
            if self.torn and self.rng.random() < 0.5:
                continue
            self.lost_names += 1
            if kind == CREATE and os.path.exists(names[0]):
                os.unlink(names[0])
            elif kind == RENAME and os.path.exists(names[1]) and not os.path.exists(names[0]):
                os.rename(names[1], names[0])
                if names[2:] and names[2] and os.path.exists(names[2]):
                    os.link(names[2], names[1])
            elif kind == REMOVE and not os.path.exists(names[0]) and os.path.exists(names[1]):
                os.link(names[1], names[0])
            elif kind == MKDIR and os.path.isdir(names[0]) and not os.listdir(names[0]):
                os.rmdir(names[0])


def cut(root, log, keep, seed, torn=False):
    """Returns what was taken back, as a sentence."""
    if not os.path.exists(log):
        raise ValueError(f"{log}: there is no record of what the process wrote")
    it = Cut(root, log, keep, torn, random.Random(seed))
    it.undo_bytes()
    it.undo_names()
    os.unlink(log)
    for name in os.listdir(keep):
        os.unlink(os.path.join(keep, name))
    return f"{len(it.log)} changes and syncs, {it.lost_bytes} unsynced bytes and {it.lost_names} names lost"
