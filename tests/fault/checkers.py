"""What must hold of the histories of clients, whatever happened meanwhile. Each checker is linear in what it reads.

A history is a list of operations, one JSON object a line in the files of a cell:

    {"id": "w1-17", "producer": "w1", "rank": 17, "key": "k3", "start": 12.1, "end": 12.2, "broker": "broker-2",
     "result": "ok" | "fail" | "unknown", "shard": "shardId-…", "seq": 4957…, "hash": "…", "mode": "once" | "plain"}

Times are of the monotonic clock. rank counts a producer's operations of one key, in the order of sending. A scan is a list
of records as a reader got them: {"shard", "seq", "id", "key", "hash"}. Every checker returns a list of sentences, one for
each violation; [] when all is well. The letters are those of docs/testing.md."""

SHOWN = 5


def shorten(violations):
    more = len(violations) - SHOWN
    return violations[:SHOWN] + ([f"... and {more} more of this kind"] if more > 0 else [])


def acknowledged_loss(history, scan, log_start=None):
    """C1: every write that was acknowledged is in the scan, with its bytes, at the number that was told. log_start: for each
    shard the first number that retention left; what lies below may be gone."""
    at = {(r["shard"], r["seq"]): r for r in scan}
    found = []
    for op in history:
        if op["result"] != "ok" or op["seq"] < (log_start or {}).get(op["shard"], 0):
            continue
        record = at.get((op["shard"], op["seq"]))
        if record is None:
            found.append(f"C1 {op['id']} was acknowledged at {op['shard']} {op['seq']} by {op['broker']} and is gone")
        elif record["id"] != op["id"] or record["hash"] != op["hash"]:
            found.append(f"C1 {op['shard']} {op['seq']} holds {record['id']}, acknowledged for {op['id']}")
    return shorten(found)


def phantoms(history, scan):
    """C2: every record was sent by somebody; one that was refused is not there."""
    sent = {op["id"]: op for op in history}
    found = []
    for record in scan:
        op = sent.get(record["id"])
        if op is None:
            found.append(f"C2 {record['shard']} {record['seq']} holds '{record['id']}', which nobody sent")
        elif op["result"] == "fail":
            found.append(f"C2 {record['id']} was refused and is stored")
        elif record["hash"] != op["hash"] or record["key"] != op["key"]:
            found.append(f"C2 {record['id']} was stored with other bytes or another key")
    return shorten(found)


def duplicates(history, scan):
    """C3: a write that is to be stored once is stored once; one of a plain producer no more often than it was sent without
    being refused ("attempts")."""
    may = {op["id"]: 1 if op["mode"] == "once" else op["attempts"] for op in history}
    seen, found = {}, []
    for record in scan:
        places = seen.setdefault(record["id"], [])
        places.append(f"{record['shard']} {record['seq']}")
        if len(places) == may.get(record["id"], 0) + 1 and len(places) > 1:
            found.append(f"C3 {record['id']} was sent {may[record['id']]} times and is stored {len(places)} times: "
                         f"{' and '.join(places)}")
    return shorten(found)


def repeated(scan):
    """How many records are stored more than once."""
    seen = {}
    for record in scan:
        seen[record["id"]] = seen.get(record["id"], 0) + 1
    return sum(count > 1 for count in seen.values())


def retained(history, log_start, since):
    """C1: retention took nothing that was sent after `since`, the moment from which on records are young enough to stay."""
    return shorten([f"C1 {op['id']} was acknowledged at {op['shard']} {op['seq']} and is not old enough to be dropped; the log "
                    f"begins at {log_start[op['shard']]}" for op in history if op["result"] == "ok" and op["start"] >= since and
                    op["seq"] < log_start.get(op["shard"], 0)])


def trimmed_reads(reads, scan, history, log_start, told):
    """C6, of readers from the oldest record on that retention may overtake: nothing steps back, what is left out lies below
    the log's start, and whoever was overtaken was told so."""
    final, at, found, sent = {}, {}, [], {op["id"] for op in history}
    dropped = {}
    for op in history:
        if op["result"] == "ok" and op["seq"] < log_start.get(op["shard"], 0):
            dropped.setdefault(op["shard"], []).append(op["seq"])
    for record in scan:
        at[(record["shard"], record["seq"])] = len(final.setdefault(record["shard"], []))
        final[record["shard"]].append(record)
    for reader, records in reads.items():
        newest, overtaken = {}, False
        for record in records:
            shard, seq = record["shard"], record["seq"]
            before, newest[shard] = newest.get(shard, -1), max(seq, newest.get(shard, -1))
            if seq <= before:
                found.append(f"C6 {reader} got {shard} {seq} after {before}")
                continue
            if seq < log_start.get(shard, 0):
                if record["id"] not in sent:
                    found.append(f"C6 {reader} got {shard} {seq} ({record['id']}), which nobody sent")
                continue
            where = at.get((shard, seq))
            if where is None:
                found.append(f"C6 {reader} got {shard} {seq} ({record['id']}), which is not in the log: it was not committed")
            elif where > 0 and final[shard][where - 1]["seq"] > before:
                missing = sum(before < r["seq"] < seq for r in final[shard])
                found.append(f"C6 {reader} left out {missing} records of {shard} before {seq}")
            overtaken = overtaken or (0 <= before < log_start.get(shard, 0) and max(dropped.get(shard, [0])) > before)
        if overtaken and not told:
            found.append(f"C6 {reader} was overtaken by retention and was not told")
    return shorten(found)


def tips(looks, history):
    """C7: LATEST is a state of the log between the call's begin and its end: nothing that was acknowledged before it is behind
    it, all that was sent after it is. looks: (shard, begin, end, number of the first record behind it)."""
    found, ops = [], {}
    for op in history:
        if op["result"] == "ok":
            ops.setdefault(op["shard"], []).append(op)
    for shard, begin, end, first in looks:
        for op in ops.get(shard, ()):
            if op["end"] < begin and op["seq"] >= first:
                found.append(f"C7 {op['id']} ({shard} {op['seq']}) was acknowledged {begin - op['end']:.3f} s before LATEST was "
                             f"asked for, which begins at {first}")
            elif op["start"] > end and op["seq"] < first:
                found.append(f"C7 {op['id']} ({shard} {op['seq']}) was sent {op['start'] - end:.3f} s after LATEST was told, "
                             f"which begins at {first}")
    return shorten(found)


def order(history, scan, parents=None):
    """C4: what one producer sent with one key lies in that order; in a shard by its numbers, over a reshard the parents
    first. The scan has each shard's records in order; shards may follow one another in any way."""
    sent = {op["id"]: op for op in history}
    place, generation = {}, {}

    def depth(shard):
        if shard not in generation:
            generation[shard] = 1 + max((depth(p) for p in (parents or {}).get(shard, ())), default=-1)
        return generation[shard]

    found, by_key = [], {}
    for index, record in enumerate(scan):
        op = sent.get(record["id"])
        if op is not None and op.get("rank") is not None:
            place[record["id"]] = (depth(record["shard"]), index)
            by_key.setdefault((op["producer"], op["key"]), []).append((place[record["id"]], op))
    for (producer, key), rows in by_key.items():
        rows.sort(key=lambda row: row[0])
        newest, first = None, set()
        for where, op in rows:
            if op["id"] in first:
                continue  # a duplicate, which is C3's
            first.add(op["id"])
            if newest is not None and op["rank"] < newest["rank"]:
                found.append(f"C4 {producer} sent {op['id']} before {newest['id']}, both with the key {key}; stored are they "
                             "the other way round")
            else:
                newest = op
    return shorten(found)


def numbers(history, scans):
    """C5: sequence numbers rise in a shard, no two are equal, and one means the same bytes to every reader for ever."""
    known, found = {}, []
    for op in history:
        if op["result"] == "ok":
            other = known.setdefault((op["shard"], op["seq"]), (op["id"], op["hash"]))
            if other[0] != op["id"]:
                found.append(f"C5 {op['shard']} {op['seq']} was told to both {other[0]} and {op['id']}")
    for scan in scans:
        last = {}
        for record in scan:
            where = (record["shard"], record["seq"])
            other = known.setdefault(where, (record["id"], record["hash"]))
            if other != (record["id"], record["hash"]):
                found.append(f"C5 {where[0]} {where[1]} is {other[0]} to some and {record['id']} to others")
            if record["seq"] <= last.get(where[0], -1):
                found.append(f"C5 the numbers of {where[0]} do not rise: {record['seq']} after {last[where[0]]}")
            last[where[0]] = record["seq"]
    return shorten(found)


def monotonic_reads(reads, scan):
    """C6: what one iterator returned never steps back, leaves nothing of the final log out, and nothing in it is missing
    from the final log. reads: {name of the reader: records in the order it got them}."""
    final, at, found = {}, {}, []
    for record in scan:
        at[(record["shard"], record["seq"])] = len(final.setdefault(record["shard"], []))
        final[record["shard"]].append(record)
    for reader, records in reads.items():
        before = {}
        for record in records:
            where = (record["shard"], record["seq"])
            if where not in at:
                found.append(f"C6 {reader} got {where[0]} {where[1]} ({record['id']}), which is not in the log: it was not "
                             "committed")
                continue
            previous = before.get(where[0])
            if previous is not None and at[where] <= previous:
                found.append(f"C6 {reader} got {where[0]} {where[1]} after a later record")
            elif previous is not None and at[where] != previous + 1:
                found.append(f"C6 {reader} left out {at[where] - previous - 1} records of {where[0]} before {where[1]}")
            before[where[0]] = at[where]
    return shorten(found)


NONE = 2 ** 64 - 1  # the checkpoint of a shard that is finished


def leases(events, parents=None, term=None, healthy=None):
    """C8: a shard's checkpoints rise, only its newest owner stores any, and a child begins after its parents' ends.
    events: (seconds, worker, kind, shard, offset, words), sorted: I begins at an offset, C a checkpoint, its answer and the
    nanosecond in which it was asked for (none: now), R a record, others end a tenure. An answer may be read late, by a worker
    that was frozen: then it was stored before the next owner began, not above where that one began. With a term, no shard is
    without any event for three of them within the spans (from, to) of `healthy`."""
    stored, owner, ended, found, heard, tenures = {}, {}, set(), [], {}, {}
    for at, worker, kind, shard, offset, words in events:
        heard.setdefault(shard, []).append(at)
        if kind == "I":
            if offset < stored.get(shard, 0):
                found.append(f"C8 shard {shard} began again at {offset} at {worker}; {stored[shard]} was checkpointed")
            for parent in (parents or {}).get(shard, ()):
                if parent not in ended:
                    found.append(f"C8 shard {shard} began before the end of {parent} was checkpointed")
            owner[shard] = worker
            tenures.setdefault(shard, []).append((at, worker, offset))
        elif kind == "C" and words[0] == "OK":
            asked = int(words[1]) / 1e9 if len(words) > 1 else at
            before = [tenure for tenure in tenures.get(shard, ()) if tenure[0] <= asked]
            behind = tenures.get(shard, [])[len(before):]
            if behind and before and before[-1][1] == worker:
                if offset > behind[0][2]:
                    found.append(f"C8 {worker} checkpointed shard {shard} at {offset}, though {behind[0][1]} had begun at "
                                 f"{behind[0][2]}")
                continue
            if owner.get(shard) != worker:
                found.append(f"C8 {worker} checkpointed shard {shard}, which {owner.get(shard)} owns")
            if offset < stored.get(shard, 0):
                found.append(f"C8 the checkpoint of shard {shard} fell from {stored[shard]} to {offset}")
            stored[shard] = max(offset, stored.get(shard, 0))
            if offset == NONE:
                ended.add(shard)
    for begin, end in healthy or ():
        for shard, times in heard.items():
            if shard in ended:
                continue
            points = [begin] + [t for t in times if begin <= t <= end] + [end]
            longest = max(b - a for a, b in zip(points, points[1:]))
            if term and longest > 3 * term:
                found.append(f"C8 nobody had shard {shard} for {longest:.1f} s")
    return shorten(found)


def equal_replicas(held, replicas=3):
    """C10: all replicas of a shard hold the same bytes. held: {shard: {broker: facts of weir-inspect}}."""
    found = []
    for shard, by_broker in sorted(held.items()):
        if len(by_broker) != replicas:
            found.append(f"C10 shard {shard} is on {sorted(by_broker)}")
        facts = {b: (f["log_start"], f["end"], f["bytes"], f["sha256"]) for b, f in by_broker.items()}
        if len(set(facts.values())) > 1:
            found.append(f"C10 the replicas of shard {shard} differ: {facts}")
        for broker, f in by_broker.items():
            if f["corrupt"] or f["uncertain"]:
                found.append(f"C10 {broker}'s replica of shard {shard} is {'corrupt' if f['corrupt'] else 'uncertain'}")
    return shorten(found)


def equal_states(hashes):
    """C10: all controllers have the same state. hashes: {controller: (applied index, hash)}."""
    by_index = {}
    for controller, (index, value) in hashes.items():
        by_index.setdefault(index, {}).setdefault(value, []).append(controller)
    return [f"C10 the controllers' states differ at {index}: {values}" for index, values in by_index.items() if len(values) > 1]


def gaps(history, begin, end, shards):
    """For each shard the longest time in [begin, end] without an acknowledgement, as (seconds, when it began)."""
    times = {shard: [begin] for shard in shards}
    for op in sorted((op for op in history if op["result"] == "ok" and begin <= op["end"] <= end), key=lambda op: op["end"]):
        if op["shard"] in times:
            times[op["shard"]].append(op["end"])
    return {shard: max((b - a, a) for a, b in zip(row, row[1:] + [end])) for shard, row in times.items()}


def back(history, moment, shards):
    """For each shard the seconds from `moment` to its next acknowledgement; one that never came is infinite."""
    first = dict.fromkeys(shards, float("inf"))
    for op in history:
        if op["result"] == "ok" and op["end"] > moment and op["shard"] in first:
            first[op["shard"]] = min(first[op["shard"]], op["end"] - moment)
    return first


def availability(history, begin, end, shards, limit):
    """C11: no shard is without an acknowledgement for longer than `limit` seconds while a majority can be reached."""
    return shorten([f"C11 {shard} acknowledged nothing for {gap:.1f} s, {at - begin:.1f} s after the fault began (limit {limit} s)"
                    for shard, (gap, at) in gaps(history, begin, end, shards).items() if gap > limit])


def stamps(history, arrivals, ahead, apart=1.0):
    """C12: no record is stamped more than `apart` seconds before it was sent or after it was acknowledged, whatever the
    leader's clock said. arrivals: id -> Unix seconds; ahead: of the history's clock to Unix time."""
    found = []
    for op in history:
        at = arrivals.get(op["id"])
        if op["result"] != "ok" or at is None:
            continue
        if not op["start"] + ahead - apart <= at <= op["end"] + ahead + apart:
            found.append(f"C12 {op['id']} was put between {op['start'] + ahead:.3f} and {op['end'] + ahead:.3f}, and is stamped {at:.3f}")
    return shorten(found)
