#!/usr/bin/env python3
"""What else can be read by hand of Haetae's log, on verify.py beside this file.

    verify_more.py heartbeats FILE VKEY...           a whole export, and what its lanes say of each other's sizes and roots
    verify_more.py served     URL VKEY [CA.pem]      a lane over HTTP: its checkpoint, and every tile under it (C2SP tlog-tiles)
    verify_more.py disclosed  FILE PROOF VKEY...     what a hidden field of a record says: `haetae audit disclose`, and the
                                                     record's `haetae log prove`
    verify_more.py case       DIR VKEY...            a directory of `haetae log export --case`: every file in it but those that
                                                     explain it (README.md, vkeys.txt, the programs), and what the records say

VKEY is a lane's public key, got from elsewhere than what is checked. Exit code 0: right; 1: wrong, and why; 3: right as far as it
goes, and what is not there.
"""
import base64, datetime, json, pathlib, ssl, sys, urllib.request
sys.dont_write_bytecode = True                                   # nothing is added to a directory of evidence
from verify import append, b64, because, checkpoint, demand, export, plain, proof, root, sha

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
    said, heads, signed = export(file, vkeys), [], set()
    for item in map(json.loads, open(file, "rb")):
        if item["type"] == "header":
            lanes, written = {one["lane"]: one for one in item["lanes"]}, nanoseconds(item["created"])
        elif item["type"] == "checkpoint": signed.add(item["lane"])
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
    seen = {head["lane"] for _, _, head in heads if head["size"] or head["lane"] not in lanes}
    absent = sorted(seen - signed)                               # that a lane is empty the header says alone
    said = said.replace("whole: ", "part: ", 1) if absent else said
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

def leaf_in(proven):                                             # the record that a proof carries, which `proof` has checked
    return b64(open(proven, encoding="utf-8", newline="").read().split("\n")[1].removeprefix("extra "))

def disclosed(file, proven, *vkeys):                             # salt and value make the digest in the record again
    said, shown = proof(proven, vkeys), json.load(open(file, encoding="utf-8"))
    demand((shown.get("format"), shown.get("v")) == ("haetae-disclosure", 1), "no disclosure of version 1")
    record = json.loads(leaf_in(proven))
    demand(all(shown[key] == record[key] for key in ("id", "lane", "index")), "the disclosure is of another record")
    hidden = record[shown["field"]] if isinstance(record[shown["field"]], list) else [record[shown["field"]]]
    salts, values = [b64(one["salt"]) for one in shown["values"]], [one["value"] for one in shown["values"]]
    made = [base64.b64encode(sha(salt + value.encode())).decode() for salt, value in zip(salts, values)]
    demand(made == hidden and all(len(salt) == 16 for salt in salts), "the record hides something else there")
    return f"{said}; its `{shown['field']}` hides {', '.join(map(repr, values))}"

EXPLAINS = {"README.md", "vkeys.txt", "verify.py", "verify_more.py"}
SAYS = {"decision": ("outcome", "reason", "rule", "site"), "started": ("identity",), "ended": ("how", "status", "why")}

def record_of(path, name, vkeys):                                # the record of one proof, and that it is the one of this name
    try: proof(path, vkeys)
    except Exception as wrong: raise ValueError(f"{name}: {because(wrong)}") from None
    leaf = leaf_in(path)
    record = json.loads(leaf)
    of = record["id"] if record["kind"] == "decision" else record.get("decision")
    right = record["kind"] in SAYS and name == f"{of}/{record['kind']}-{record['lane']}-{record['index']}.tlog-proof"
    demand(right, f"{name}: the record in it is another one")
    return leaf, record, of

def lacks(of, kinds):                                            # what others say of a decision, and what nobody says
    demand("decision" in kinds, f"{of}: its decision is missing")
    allows = kinds["decision"]["outcome"].startswith("ALLOW")
    demand(allows or len(kinds) == 1, f"{of}: it was refused, and something followed")
    if allows and "ended" not in kinds: yield f"{of}: NO END: it was allowed, and how it ended is not shown here"
    if "status" in kinds.get("ended", {}) and "started" not in kinds: yield f"{of}: NO START: a site answered, and which is not shown here"

def case(folder, *vkeys):                                        # nothing is in it but what a proven record is, or names
    files = (path for path in pathlib.Path(folder).rglob("*") if path.is_symlink() or not path.is_dir())
    files = {path.relative_to(folder).as_posix(): path for path in files}
    elsewhere = sorted(name for name, path in files.items() if path.is_symlink() or not path.is_file())
    demand(not elsewhere, f"links, or no plain files: {elsewhere}: what they say lies elsewhere, and may change")
    said, lacking, spare, found = [], [], files.keys() - EXPLAINS, {}
    for name in sorted(name for name in spare if name.endswith(".tlog-proof")):
        leaf, record, of = record_of(files[name], name, vkeys)
        names = {name.removesuffix("tlog-proof") + "json": sha(leaf)}
        if record["kind"] == "decision":
            digests = {kind: b64(record[kind]) for kind in ("facts", "detail", "bundle")}
            names |= {f"texts/{kind}-{digest.hex()}.json": digest for kind, digest in digests.items()}
        for other, digest in names.items():
            text = other.startswith("texts/")                    # which may be kept no longer; a record's bytes are in its proof
            demand(text or other in files, f"{other}: missing")
            if text and other not in files: lacking.append(f"{of}: NO TEXT: {other} is not here")
            else: demand(sha(files[other].read_bytes()) == digest, f"{other}: not what the record in {name} is or names")
        spare -= {name, *names}
        demand(found.setdefault(of, {}).setdefault(record["kind"], record) is record, f"{name}: a second one of this decision")
        said.append(f"{of}: {record['kind']}: " + ", ".join(f"{key} {record[key]}" for key in SAYS[record["kind"]] if key in record))
    demand(not spare, f"no record is or names {sorted(spare)}")
    demand(found, "there is no proof in it")
    texts = "with what is here of their texts" if lacking else "with their texts"
    lacking += [line for of, kinds in found.items() for line in lacks(of, kinds)]
    count = f"{sum(map(len, found.values()))} records of {len(found)} decisions, {texts}"
    return said + lacking + [f"{'part' if lacking else 'right'}: {count}; whether they follow from facts and rules is not looked at"]

if __name__ == "__main__":
    modes = {"heartbeats": heartbeats, "served": served, "disclosed": disclosed, "case": case}
    if len(sys.argv) < 4 or sys.argv[1] not in modes: sys.exit(__doc__)
    try: said = modes[sys.argv[1]](*sys.argv[2:])
    except Exception as wrong: sys.exit(plain(f"WRONG: {because(wrong)}"))
    said = [said] if isinstance(said, str) else said
    for line in said: print(plain(line))
    sys.exit(3 * said[-1].startswith("part: "))
