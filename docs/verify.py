#!/usr/bin/env python3
"""A second reading of Haetae's log, independent of Haetae: a hundred lines on Python's standard library and `cryptography`.

    verify.py proof  FILE VKEY...    one record: `haetae log prove`, or a receipt with its record in the `extra` line
    verify.py export FILE VKEY...    a whole export: `haetae log export` (docs/record.md, "The export file")

VKEY is a lane's public key, got from elsewhere than what is checked. Exit code 0: right; 1: wrong, and why; 3: right as far as it
goes, and what is not in the file. It checks hashes, trees, signatures and texts. verify_more.py: heartbeats, lanes over HTTP,
disclosures; `haetae-verify` judges every decision again.
"""
import base64, functools, hashlib, json, re, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

b64 = lambda text: base64.b64decode(text, validate=True)
sha = lambda data: hashlib.sha256(data).digest()
plain = lambda text: "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)  # must not move the cursor
because = lambda wrong: {"ValueError": str(wrong), "InvalidSignature": "a signature does not fit what it is under"}.get(
    name := type(wrong).__name__, f"it cannot be read: {name} {wrong}")     # what is thrown here, and what comes from elsewhere
node = lambda left, right: sha(b"\1" + left + right)             # RFC 6962, section 2.1; a leaf is sha(b"\0" + leaf)
root = lambda peaks: functools.reduce(lambda right, left: node(left, right), reversed(peaks)) if peaks else sha(b"")

def demand(holds, why):
    if not holds: raise ValueError(why)

def fits(value):                                                 # no `null`, no `false`, no number but these
    if isinstance(value, dict): return "".join(value).isascii() and all(map(fits, value.values()))
    if isinstance(value, list): return all(map(fits, value))
    return value is True or type(value) is str or type(value) is int and 0 <= value < 2**53

def read(data, end=b""):                                         # canonical JSON: docs/record.md, "Bytes"
    text = json.dumps(value := json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    demand(text.encode() + end == data and fits(value), "not in canonical form")
    return value

def append(peaks, size, hash):                                   # peaks: roots of the full subtrees of `size` leaves, from the left
    while size & 1: hash, size = node(peaks.pop(), hash), size >> 1
    peaks.append(hash)

def climb(found, index, size, path):                             # from a leaf to its root by its audit path: RFC 6962, section 2.1.1
    if size == 1: return found
    sibling, left = path.pop(), 1 << (size - 1).bit_length() - 1
    if index < left: return node(climb(found, index, left, path), sibling)
    return node(sibling, climb(found, index - left, size - left, path))

def checkpoint(note, vkeys):                                     # C2SP signed-note and tlog-checkpoint
    demand(all(vkey.count("+") > 1 for vkey in vkeys), "a VKEY is a line of the form name+id+base64, and no file")
    text, _, signatures = note.rpartition("\n\n")
    demand(re.fullmatch("(\u2014 [^\\s+]+ [A-Za-z0-9+/]+=*\n)+", signatures), "no signed note")
    origin, size, tree_root = text.split("\n")[:3]
    keys = {(n, sha(n.encode() + b"\n" + b64(k))[:4]): b64(k)[1:] for n, _, k in (vkey.split("+", 2) for vkey in vkeys)}
    for _, name, signature in (line.split(" ") for line in signatures.splitlines()):
        if name == origin and (key := keys.get((name, b64(signature)[:4]))):
            Ed25519PublicKey.from_public_bytes(key).verify(b64(signature)[4:], (text + "\n").encode())
            return origin, int(size), b64(tree_root)
    raise ValueError(f"no key given here signed the checkpoint of `{origin}`")

def proof(file, vkeys):                                          # C2SP tlog-proof
    head, _, note = open(file, encoding="utf-8", newline="").read().partition("\n\n")
    whole = "c2sp.org/tlog-proof@v1\nextra \\S*\nindex (0|[1-9][0-9]*)(\n\\S*)*"
    demand(re.fullmatch(whole, head), "no proof that holds its record, or the ends of its lines were converted")
    _, extra, index, *path = head.split("\n")
    (origin, size, tree_root), leaf = checkpoint(note, vkeys), b64(extra[6:])
    index, path, record = int(index[6:]), [b64(line) for line in path], read(leaf)
    demand(index < size and climb(sha(b"\0" + leaf), index, size, path) == tree_root and not path, "the record is not in the tree")
    demand((record["index"], record["v"]) == (index, 1) and origin.endswith(f"/{record['lane']}"), "the record is of another place")
    return f"record {record['id']} ({record['kind']}) is number {index} of `{origin}`, signed at size {size}"

def export(file, vkeys):
    source, whole, lanes, texts, named, kind = open(file, "rb"), hashlib.sha256(), {}, {}, set(), None
    for number, line in enumerate(source):
        item = read(line, b"\n")
        kind, lane = item["type"], lanes.get(item.get("lane"))
        demand(kind in "vkey checkpoint tile text leaf row end".split() if number else kind == "header", "a line out of place")
        if kind == "header":                                     # `left`: the peaks of what stands before the export
            demand((item.get("format"), item.get("v")) == ("haetae-export", 1), "no export of version 1")
            lanes = {one["lane"]: dict(one, peaks=[*map(b64, one["left"])], next=one["from"], signed={}) for one in item["lanes"]}
            own = [one["origin"].endswith(f"/{one['lane']}") for one in lanes.values()]
            demand(all(own) and len(own) == len(item["lanes"]), "a lane is named twice, or by the number of another")
        elif kind == "checkpoint":
            origin, size, tree_root = checkpoint(item["note"], vkeys)
            demand((origin, size) == (lane["origin"], item["size"]) and size > lane.get("newest", -1), "a checkpoint out of place")
            lane["newest"], lane["signed"][size] = size, tree_root
        elif kind == "text": texts[item["digest"]] = sha(b64(item["bytes"])) == b64(item["digest"])
        elif kind == "leaf":
            leaf, place = b64(item["bytes"]), f"lane {item['lane']}, index {item['index']}"
            record, hash = read(leaf), sha(b"\0" + leaf)
            stands = lane["next"] == record["index"] == item["index"] and (record["lane"], record["v"]) == (lane["lane"], 1)
            demand(stands, f"{place}: missing, moved, or of another version")
            append(lane["peaks"], lane["next"], hash)
            lane["next"] += 1
            right = lane["signed"].pop(lane["next"], None) in (None, root(lane["peaks"])) and b64(item["mark"]) == hash[:8]
            demand(right, f"{place}: edited, here or before")
            if record["kind"] in ("decision", "preflight"): named |= {record[text] for text in ("facts", "detail", "bundle")}
        elif kind == "end":
            seal = item["lines"], b64(item["sha256"]), source.read(1)           # nothing comes after it
            demand(seal == (number, whole.digest(), b""), "the file was changed")
        whole.update(line)
    demand(kind == "end", "the file was cut")
    for one in lanes.values(): demand(one["next"] == one["to"] == one.get("newest", 0) and not one["signed"], "no signed end")
    lanes = [one for one in lanes.values() if "newest" in one]   # the others are empty: the header alone says that they are there
    given, shown = {vkey.split("+")[0] for vkey in vkeys}, {one["origin"] for one in lanes}
    demand(given <= shown, f"nothing is shown of {sorted(given - shown)}, whose key was given")
    demand(all(texts.get(digest) for digest in named), "a text of a decision is missing or edited")
    said = f"{sum(one['to'] - one['from'] for one in lanes)} records in {len(lanes)} lanes under signed roots"
    before = [f"`{one['origin']}` before index {one['from']}" for one in lanes if one["from"]]
    return f"part: {said}; not in the file: {', '.join(before)}" if before else f"whole: {said}"

if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("proof", "export"): sys.exit(__doc__)
    try: print(plain(said := (proof if sys.argv[1] == "proof" else export)(sys.argv[2], sys.argv[3:])))
    except Exception as wrong: sys.exit(plain(f"WRONG: {because(wrong)}"))
    sys.exit(3 * said.startswith("part: "))
