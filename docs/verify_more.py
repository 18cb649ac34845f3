#!/usr/bin/env python3
"""What else can be read by hand of Haetae's log, on verify.py beside this file.

    verify_more.py heartbeats FILE VKEY...           a whole export, and what its lanes say of each other's sizes and roots
    verify_more.py served     URL VKEY [CA.pem]      a lane over HTTP: its checkpoint, and every tile under it (C2SP tlog-tiles)
    verify_more.py disclosed  FILE PROOF VKEY...     what a hidden field of a record says: `haetae audit disclose`, and the
                                                     record's `haetae log prove`

VKEY is a lane's public key, got from elsewhere than what is checked. Exit code 0: right; 1: wrong, and why.
"""
import base64, datetime, json, ssl, sys, urllib.request
from verify import append, b64, checkpoint, demand, export, plain, proof, root, sha

def root_of(hashes):
    peaks = []
    for size, hash in enumerate(hashes): append(peaks, size, hash)
    return root(peaks)

def nanoseconds(instant):
    return int(datetime.datetime.fromisoformat(instant[:19] + "+00:00").timestamp()) * 10**9 + int(instant[20:29])

def until(lane, record):                                         # while a clock is behind its lane, times rise by nanoseconds and are none
    at, seen = nanoseconds(record["at"]), record.get("seen") if record["kind"] == "clock" else None
    if seen: lane["until"], lane["behind"] = nanoseconds(seen), at
    elif at - lane.get("behind", at - 10**9) >= 10**9: lane["until"], lane["behind"] = at, at - 10**9

def heartbeats(file, *vkeys):                                    # docs/record.md, "What a verifier checks", 8
    said, heads = export(file, vkeys), []
    for item in map(json.loads, open(file, "rb")):
        if item["type"] == "header":
            lanes, written = {one["lane"]: one for one in item["lanes"]}, nanoseconds(item["created"])
        elif item["type"] == "leaf":
            record = json.loads(b64(item["bytes"]))
            until(lanes[item["lane"]], record)
            place = f"lane {item['lane']}, index {item['index']}"
            if record["kind"] == "heartbeat": heads += [(place, record["at"], head) for head in record["heads"]]
    written = max([written] + [one["until"] for one in lanes.values() if "until" in one])
    wanted = {(head["lane"], head["size"]) for _, _, head in heads}
    trees = {lane: [*map(b64, one["left"])] for lane, one in lanes.items()}
    roots = {(lane, one["from"]): root(trees[lane]) for lane, one in lanes.items()}
    for item in map(json.loads, open(file, "rb")):
        if item["type"] != "leaf": continue
        at = item["lane"], item["index"] + 1
        append(trees[item["lane"]], item["index"], sha(b"\0" + b64(item["bytes"])))
        if at in wanted: roots[at] = root(trees[item["lane"]])
    for place, at, head in heads:
        lane, size = head["lane"], head["size"]
        if lane not in lanes or size < lanes[lane]["from"]: continue
        longer, late = size > lanes[lane]["to"], written - nanoseconds(at) > 60 * 10**9
        demand(not (longer and late), f"{place}: lane {lane} had {size} records then, and {lanes[lane]['to']} are shown")
        demand(longer or roots[lane, size] == b64(head["root"]), f"{place}: lane {lane} had another tree of {size} records then")
    absent = sorted({head["lane"] for _, _, head in heads} - lanes.keys())
    return f"{said}; {len(heads)} heads in heartbeats" + f"; nothing is shown of lanes {absent}, which they name" * bool(absent)

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

def disclosed(file, proven, *vkeys):                             # salt and value make the digest in the record again
    said, shown = proof(proven, vkeys), json.load(open(file, encoding="utf-8"))
    record = json.loads(b64(open(proven, encoding="utf-8").read().split("\n")[1][6:]))
    demand(all(shown[key] == record[key] for key in ("id", "lane", "index")), "the disclosure is of another record")
    hidden = record[shown["field"]] if isinstance(record[shown["field"]], list) else [record[shown["field"]]]
    salts, values = [b64(one["salt"]) for one in shown["values"]], [one["value"] for one in shown["values"]]
    made = [base64.b64encode(sha(salt + value.encode())).decode() for salt, value in zip(salts, values)]
    demand(made == hidden and all(len(salt) == 16 for salt in salts), "the record hides something else there")
    return f"{said}; its `{shown['field']}` hides {', '.join(map(repr, values))}"

if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("heartbeats", "served", "disclosed"): sys.exit(__doc__)
    try: print(plain({"heartbeats": heartbeats, "served": served, "disclosed": disclosed}[sys.argv[1]](*sys.argv[2:])))
    except Exception as wrong: sys.exit(plain(f"WRONG: {wrong or type(wrong).__name__}"))
