#!/usr/bin/env python3
"""Holds api.def and errors.def against botocore's model of Kinesis: every operation, shape, member and constraint.

usage: tests/unit/broker/gateway/model_test.py [service-2.json.gz]

Without an argument it takes the installed botocore. Exits with 77 (skipped) when there is none, or when its model is
of another age than the 39 operations that api.def describes."""
import gzip
import json
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../..")
GATEWAY = os.path.join(ROOT, "broker/gateway")
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from kinesis_api import read_api, statements  # noqa: E402

# What api.def has beyond the model, or otherwise, and why.
BEYOND = {(op + "Input", "DryRun") for op in
          ("GetRecords", "GetShardIterator", "PutRecord", "PutRecords", "SubscribeToShard")}  # newer models
LOOSER = {("SubscribeToShardEvent", "ContinuationSequenceNumber")}  # absent at the end of a shard
OURS = {"Nothing"}


def model_path():
    if len(sys.argv) > 1:
        return sys.argv[1]
    try:
        import botocore
    except ImportError:
        print("botocore is not installed")
        sys.exit(77)
    return os.path.join(os.path.dirname(botocore.__file__), "data/kinesis/2013-12-02/service-2.json.gz")


def read_model():
    path = model_path()
    if not os.path.exists(path):
        print("no " + path)
        sys.exit(77)
    with (gzip.open if path.endswith(".gz") else open)(path) as f:
        model = json.load(f)
    if len(model["operations"]) != 39:
        print("this botocore's model has %d operations, not 39" % len(model["operations"]))
        sys.exit(77)
    return model


def compare_shape(name, ours, theirs):
    for key in ("type", "min", "max", "pattern", "enum"):
        if ours.get(key) != theirs.get(key):
            yield "%s.%s: %r, the model has %r" % (name, key, ours.get(key), theirs.get(key))
    if ours["type"] == "list" and ours["member"] != theirs["member"]["shape"]:
        yield "%s: a list of %s, the model has %s" % (name, ours["member"], theirs["member"]["shape"])
    if ours["type"] == "map" and (ours["key"], ours["value"]) != (theirs["key"]["shape"], theirs["value"]["shape"]):
        yield "%s: another map" % name
    if ours["type"] == "structure":
        required = theirs.get("required", [])
        for member in sorted(set(ours["members"]) | set(theirs["members"])):
            mine = ours["members"].get(member)
            other = theirs["members"].get(member)
            want = other and (other["shape"], member in required and (name, member) not in LOOSER)
            if mine != want and not (other is None and (name, member) in BEYOND):
                yield "%s.%s: %r, the model has %r" % (name, member, mine, want)


def used(shapes, name, seen):
    if name not in seen:
        seen.add(name)
        shape = shapes[name]
        below = [m["shape"] for m in shape.get("members", {}).values()]
        below += [shape[k]["shape"] for k in ("member", "key", "value") if k in shape]
        for one in below:
            used(shapes, one, seen)
    return seen


def findings(model):
    shapes, operations = read_api()
    theirs, needed, exceptions = model["shapes"], set(), set()
    for name, op in model["operations"].items():
        mine = operations.pop(name, None)
        if not mine:
            yield "no operation " + name
            continue
        output = op.get("output", {}).get("shape", "Nothing")
        if mine["answer"] == "EVENTS":
            output = "SubscribeToShardEvent"
        if (mine["input"], mine["output"]) != (op["input"]["shape"], output):
            yield "%s: %s -> %s" % (name, mine["input"], mine["output"])
        if (mine["answer"] == "EMPTY") != (output == "Nothing"):
            yield "%s: the answer is %s" % (name, mine["answer"])
        if mine["handler"] != re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower():
            yield "%s: the handler is %s" % (name, mine["handler"])
        used(theirs, op["input"]["shape"], needed)
        if output != "Nothing":
            used(theirs, output, needed)
        exceptions |= {e["shape"] for e in op.get("errors", [])}
    yield from ("no such operation: " + name for name in operations)
    for name in sorted(needed):
        if name in shapes:
            yield from compare_shape(name, shapes[name], theirs[name])
        else:
            yield "no shape " + name
    yield from ("no such shape: " + n for n in sorted(set(shapes) - needed - OURS))
    with open(os.path.join(GATEWAY, "errors.def")) as f:
        known = {a[1].strip('"') for _, a in statements(f.read()) if len(a) == 3 and a[1].startswith('"')}
    yield from ("no exception " + n for n in sorted(exceptions - known))


def main():
    found = list(findings(read_model()))
    for line in found:
        print(line)
    print("%d differences" % len(found))
    sys.exit(1 if found else 0)


main()
