#!/usr/bin/env python3
"""Reads broker/gateway/api.def. Run as a program, it prints the table of operations of docs/kinesis.md.

usage: scripts/kinesis_api.py"""
import os
import re

GATEWAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../broker/gateway")


def statements(text):
    """(macro, arguments) of each statement; arguments split at commas outside parentheses and quotes."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    at = 0
    while match := re.compile(r"([A-Z_]+)\(").search(text, at):
        depth, parts, part, quoted, at = 1, [], "", False, match.end()
        while depth:
            c = text[at]
            at += 1
            quoted ^= c == '"'
            depth += (c == "(") - (c == ")") if not quoted else 0
            if c == "," and depth == 1 and not quoted:
                parts.append(part.strip())
                part = ""
            elif depth:
                part += c
        yield match.group(1), parts + [part.strip()]


def limit(text):
    return None if text == "ANY" else int(text)


def read_api():
    """Shapes and operations of api.def, each by its name."""
    patterns = {"NONE": None}
    with open(os.path.join(GATEWAY, "validate_pattern.c")) as f:
        for name, body in re.findall(r"case PATTERN_(\w+):\s*return ((?:\"(?:\\.|[^\"\\])*\"\s*)+);", f.read()):
            patterns[name] = "".join(re.findall(r'"((?:\\.|[^"\\])*)"', body)).replace("\\\\", "\\")
    shapes, operations = {}, {}
    with open(os.path.join(GATEWAY, "api.def")) as f:
        for macro, a in statements(f.read()):
            if macro == "STRING":
                shapes[a[0]] = dict(type="string", min=limit(a[1]), max=limit(a[2]), pattern=patterns[a[3]])
            elif macro == "ENUM":
                shapes[a[0]] = dict(type="string", enum=[w.strip('"') for w in a[1:]])
            elif macro in ("BLOB", "INTEGER", "LONG"):
                shapes[a[0]] = dict(type=macro.lower(), min=limit(a[1]), max=limit(a[2]))
            elif macro in ("BOOLEAN", "TIMESTAMP"):
                shapes[a[0]] = dict(type=macro.lower())
            elif macro == "LIST":
                shapes[a[0]] = dict(type="list", member=a[1], min=limit(a[2]), max=limit(a[3]))
            elif macro == "MAP":
                shapes[a[0]] = dict(type="map", key=a[1], value=a[2], min=limit(a[3]), max=limit(a[4]))
            elif macro in ("STRUCTURE", "NO_MEMBERS"):
                members = [next(statements(m)) for m in a[1:]]
                shapes[a[0]] = dict(type="structure", members={m[0]: (m[1], kind == "REQUIRED") for kind, m in members})
            elif macro == "OPERATION":
                operations[a[0]] = dict(handler=a[1], input=a[2], output=a[3], answer=a[4], resource=a[5], rate=int(a[6]))
    return shapes, operations


def table():
    shapes, operations = read_api()
    yield "| Operation | Must have | May have | Answers | Acts on | AWS's rate |"
    yield "|---|---|---|---|---|---|"
    for name, op in sorted(operations.items()):
        members = shapes[op["input"]].get("members", {})
        must = " ".join(m for m, (_, required) in members.items() if required)
        may = " ".join(m for m, (_, required) in members.items() if not required)
        if op["answer"] == "STRUCTURE":
            answers = " ".join(shapes[op["output"]]["members"])
        else:
            answers = {"EMPTY": "nothing", "EVENTS": "a stream of " + op["output"]}[op["answer"]]
        resource = {"EITHER": "stream or consumer"}.get(op["resource"], op["resource"].lower())
        yield "| %s | %s | %s | %s | %s | %s |" % (name, must or "–", may or "–", answers, resource,
                                                  "%d/s" % op["rate"] if op["rate"] else "–")


if __name__ == "__main__":
    print("\n".join(table()))
