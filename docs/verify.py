#!/usr/bin/env python3
"""A second reading of Haetae's log, independent of Haetae: Python's standard library and `cryptography` alone.

    verify.py proof  FILE VKEY...       one record: `haetae log prove`, or a receipt with its record in the `extra` line
    verify.py export FILE VKEY...       a whole export: `haetae log export` (docs/record.md, "The export file")
    verify.py disclosed FILE PROOF VKEY...   what a hidden field of that record says: `haetae audit disclose`
    verify.py served URL VKEY [CA.pem]  a lane over HTTP: its checkpoint, and every tile under it (C2SP tlog-tiles)

VKEY is a lane's public key, got from elsewhere than what is checked. Exit code 0: right; 1: wrong, and why. It checks hashes,
trees, signatures and texts; `haetae-verify` checks rows, rules over lanes and every judgement besides.
"""
import base64, hashlib, json, ssl, sys, urllib.request
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

b64 = lambda text: base64.b64decode(text, validate=True)
sha = lambda data: hashlib.sha256(data).digest()
leaf_hash = lambda leaf: sha(b"\0" + leaf)                       # RFC 6962, section 2.1
node = lambda left, right: sha(b"\1" + left + right)

def demand(holds, why):
    if not holds: raise ValueError(why)

def append(peaks, leaf):                                         # peaks: [(leaves below, hash)], largest first
    peaks.append((1, leaf))
    while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
        (n, right), (_, left) = peaks.pop(), peaks.pop()
        peaks.append((2 * n, node(left, right)))

def root(peaks):
    if not peaks: return sha(b"")
    hashes = [peak for _, peak in reversed(peaks)]
    right = hashes[0]
    for left in hashes[1:]: right = node(left, right)
    return right

def root_of(leaves):
    peaks = []
    for leaf in leaves: append(peaks, leaf)
    return root(peaks)

def checkpoint(note, vkeys):                                     # C2SP signed-note and tlog-checkpoint
    text, _, signatures = note.rpartition("\n\n")
    origin, size, tree_root = text.split("\n")[:3]
    for name, key_id, key in (vkey.split("+", 2) for vkey in vkeys):
        key = b64(key)
        demand(key[0] == 1 and sha(name.encode() + b"\n" + key)[:4].hex() == key_id, "a VKEY is damaged")
        for line in signatures.splitlines():
            _, signer, signature = line.split(" ")
            signature = b64(signature)
            if name == signer == origin and signature[:4].hex() == key_id:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], (text + "\n").encode())
                return origin, int(size), b64(tree_root)
    raise ValueError(f"no key given here signed the checkpoint of `{origin}`")

def climb(found, index, size, proof):                            # RFC 9162, section 2.1.3.2
    demand(index < size, "the record is outside the tree")
    at, last = index, size - 1
    for sibling in proof:
        demand(last > 0, "the proof is too long")
        if at & 1 or at == last:
            found = node(sibling, found)
            while not at & 1 and at: at, last = at >> 1, last >> 1
        else:
            found = node(found, sibling)
        at, last = at >> 1, last >> 1
    demand(last == 0, "the proof is too short")
    return found

def proof(path, vkeys):                                          # C2SP tlog-proof
    head, _, note = open(path, encoding="utf-8", newline="").read().partition("\n\n")
    magic, extra, index, *hashes = head.split("\n")
    demand(magic == "c2sp.org/tlog-proof@v1" and extra.startswith("extra "), "no proof that holds its record")
    leaf, index = b64(extra[6:]), int(index.removeprefix("index "))
    origin, size, tree_root = checkpoint(note, vkeys)
    demand(climb(leaf_hash(leaf), index, size, [b64(line) for line in hashes]) == tree_root, "the record is not in the tree")
    record = json.loads(leaf)
    demand(record["index"] == index and origin.endswith(f"/{record['lane']}"), "the record is of another place")
    return f"record {record['id']} ({record['kind']}) is number {index} of `{origin}`, signed at size {size}"

def disclosed(path, rest):                                       # salt and value make the digest in the record again
    said, shown = proof(rest[0], rest[1:]), json.load(open(path, encoding="utf-8"))
    record = json.loads(b64(open(rest[0], encoding="utf-8").read().split("\n")[1][6:]))
    demand(all(shown[key] == record[key] for key in ("id", "lane", "index")), "the disclosure is of another record")
    hidden = record[shown["field"]] if isinstance(record[shown["field"]], list) else [record[shown["field"]]]
    salts, values = [b64(one["salt"]) for one in shown["values"]], [one["value"] for one in shown["values"]]
    made = [base64.b64encode(sha(salt + value.encode())).decode() for salt, value in zip(salts, values)]
    demand(made == hidden and all(len(salt) == 16 for salt in salts), "the record hides something else there")
    return f"{said}; its `{shown['field']}` hides {', '.join(map(repr, values))}"

def export(path, vkeys):
    whole, lanes, texts, named, records = hashlib.sha256(), {}, {}, set(), 0
    for line in open(path, "rb"):
        item = json.loads(line)
        kind = item["type"]
        if kind == "header":
            for lane in item["lanes"]:
                sizes = [1 << bit for bit in range(63, -1, -1) if lane["from"] >> bit & 1]
                lane["peaks"], lane["signed"] = list(zip(sizes, map(b64, lane["left"]), strict=True)), {}
                lanes[lane["lane"]] = dict(lane, next=lane["from"])
        elif kind == "checkpoint":
            origin, size, tree_root = checkpoint(item["note"], vkeys)
            demand((origin, size) == (lanes[item["lane"]]["origin"], item["size"]), "a checkpoint of another lane or size")
            lanes[item["lane"]]["signed"][size] = tree_root
        elif kind == "text":
            texts[item["digest"]] = sha(b64(item["bytes"])) == b64(item["digest"])
        elif kind == "leaf":
            lane, leaf = lanes[item["lane"]], b64(item["bytes"])
            record, place = json.loads(leaf), f"lane {item['lane']}, index {item['index']}"
            demand(lane["next"] == item["index"] == record["index"] and record["lane"] == item["lane"], f"{place}: missing or moved")
            demand(leaf_hash(leaf)[:8] == b64(item["mark"]), f"{place}: edited")
            append(lane["peaks"], leaf_hash(leaf))
            lane["next"], records = lane["next"] + 1, records + 1
            wanted = lane["signed"].pop(lane["next"], None)
            demand(wanted in (None, root(lane["peaks"])), f"{place}: the signed root is another one, here or before")
            named |= {record[text] for text in ("facts", "detail", "bundle") if record["kind"] in ("decision", "preflight")}
        elif kind == "end":
            demand(whole.digest() == b64(item["sha256"]), "the file was changed or cut")
        whole.update(line)
    demand(kind == "end", "the file ends too early")
    for lane in lanes.values():
        demand(lane["next"] == lane["to"] and not lane["signed"], f"`{lane['origin']}` is not there to its signed end")
    demand(all(texts.get(digest) for digest in named), "a text of a decision is missing or edited")
    return f"whole: {records} records in {len(lanes)} lanes under signed roots, {len(texts)} texts"

def tile_path(level, n):                                         # 1234067 -> x001/x234/067
    groups = []
    while n or not groups: groups, n = [f"{n % 1000:03}", *groups], n // 1000
    return f"tile/{level}/" + "/".join(["x" + group for group in groups[:-1]] + groups[-1:])

def served(url, vkey, ca=None):
    context = ssl.create_default_context(cafile=ca)
    get = lambda path: urllib.request.urlopen(f"{url}/{path}", context=context).read()
    origin, size, tree_root = checkpoint(get("checkpoint").decode(), [vkey])
    below, level, width = None, 0, size
    while width:                                                 # level by level: full tiles, then the partial one
        hashes = []
        for n in range(0, width, 256):
            path = tile_path(level, n // 256)
            data = get(path + (f".p/{width - n}" if width - n < 256 else ""))
            demand(len(data) == 32 * min(256, width - n), f"{path} has not the width of this size")
            hashes += [data[at:at + 32] for at in range(0, len(data), 32)]
        if level == 0: demand(root_of(hashes) == tree_root, "the tiles do not give the signed root")
        else: demand(hashes == below, f"a tile of level {level} is not the root of the tile below it")
        below = [root_of(hashes[at:at + 256]) for at in range(0, width - width % 256, 256)]
        level, width = level + 1, width // 256
    return f"`{origin}`: the tiles of its {size} records give the root that was signed"

if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("proof", "disclosed", "export", "served"): sys.exit(__doc__)
    try: print(served(*sys.argv[2:]) if sys.argv[1] == "served" else globals()[sys.argv[1]](sys.argv[2], sys.argv[3:]))
    except Exception as wrong: sys.exit(f"WRONG: {wrong or type(wrong).__name__}")
