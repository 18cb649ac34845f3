#!/usr/bin/env python3
"""Side by side in one interleaved run: nginx as a plain TLS reverse proxy, Haetae with token, decision and durable
audit, and the usual do-it-yourself (nginx auth_request + FastAPI + pycasbin + one INSERT a request), all to the same
TLS backend with the same load. Machines are shared and noisy, so ratios of one run are the result, not absolute rates.
With --plain, also the gateway that bench/plain/build makes: all of Haetae, but plain rows in place of the log.

Needs nginx, wrk, a Postgres and python3 with bench/diy/requirements.txt; `make bench` installs them. Standard library only.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = [1, 16, 64, 256]
BODY = json.dumps(
    {"model": "llama-3.3-70b", "messages": [{"role": "user", "content": "Summarise the attached ward report in two sentences."}]}
)
STREAM_BODY = '{"model": "llama-3.3-70b", "prompt": "Count to a hundred.", "stream": true, "seed": %d}'
STREAM_CONNECTIONS = 16
# Milliseconds between two events: a model that is faster than any, and one of 200 tokens/s.
PAUSES = [0, 5]
(NGINX_PORT, BACKEND_PORT, DIY_PORT, AUTHZ_PORT, HAETAE_PORT, CONSOLE_PORT, LOG_PORT, ISSUER_PORT,
 STREAM_PORT, PLAIN_PORT, PLAIN_CONSOLE_PORT, PLAIN_LOG_PORT) = range(18443, 18455)
TICK = os.sysconf("SC_CLK_TCK")


class Processes:
    """Every process that this run started, ended by pid at the end."""

    def __init__(self):
        self.all = {}

    def start(self, name, command, **options):
        log = open(WORK / f"{name}.log", "ab")
        self.all[name] = subprocess.Popen(command, stdout=log, stderr=log, **options)
        return self.all[name]

    def stop(self):
        for name, process in reversed(self.all.items()):
            if process.poll() is None:
                # The demo waits for Ctrl-C and then stops what it started, in order.
                process.send_signal(signal.SIGINT if name == "demo" else signal.SIGTERM)
        for process in self.all.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


def tree(pid):
    """The process and all below it."""
    pids, todo = [], [pid]
    while todo:
        pid = todo.pop()
        pids.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text()
                todo += [int(child) for child in children.split()]
        except OSError:
            pass
    return pids


def cpu_seconds(roots):
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
            except OSError:
                pass
    return total / TICK


def peak_rss_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


LUA = """
wrk.method = "POST"
wrk.path = "%s"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["Haetae-Datasets"] = "kr-retail/orders@1"
wrk.headers["Haetae-Site"] = "kr-seo-1"
wrk.body = [==[%s]==]
THINK
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%.1f %%.1f %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def load(url, script, connections, seconds):
    threads = min(connections, 2)
    out = subprocess.run(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url],
        capture_output=True, text=True, check=True,
    ).stdout
    requests, micros, p50, p99, errors = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", out).groups()
    return int(requests), int(micros) / 1e6, float(p50), float(p99), int(errors)


def measure(target, script, connections, seconds):
    def load_seconds():
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    first = cpu_seconds(target["pids"][:1])
    before, around = cpu_seconds(target["pids"]), cpu_seconds(target["around"]) + load_seconds()
    requests, took, p50, p99, errors = load(target["url"], script, connections, seconds)
    first = cpu_seconds(target["pids"][:1]) - first
    cpu = cpu_seconds(target["pids"]) - before
    around = cpu_seconds(target["around"]) + load_seconds() - around
    return {"requests": requests, "rps": requests / took, "p50": p50, "p99": p99, "errors": errors,
            "first_us": 1e6 * first / max(requests, 1), "cpu_us": 1e6 * cpu / max(requests, 1), "all_us": 1e6 * (cpu + around) / max(requests, 1)}


def wait_for(what, probe, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        if probe():
            return
        time.sleep(0.2)
    sys.exit(f"bench: {what} did not come up within {seconds} s; see {WORK}")


def answers(url, token=None, ca=None):
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(ca), url, "-d", BODY,
               "-H", "content-type: application/json", "-H", "haetae-datasets: kr-retail/orders@1",
               "-H", "haetae-site: kr-seo-1"]
    if token:
        command += ["-H", f"authorization: Bearer {token}"]
    return subprocess.run(command, capture_output=True, text=True).stdout == "200"


def nginx(processes, name, template, **values):
    text = (HERE / template).read_text()
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", str(value))
    prefix = WORK / name
    (prefix / "logs").mkdir(parents=True, exist_ok=True)
    (prefix / "nginx.conf").write_text(text)
    return processes.start(name, ["nginx", "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-g", "daemon off;"])


def start_world(processes, binary):
    """The demo's own world, left running: Postgres with fsync on, PKI, issuer, registry, gateway. Then the Seoul site's
    address becomes that of the bench's backend, by the command that an operator would use."""
    world = WORK / "demo"
    demo = processes.start("demo", [binary, "demo", "--dir", str(world), "--ports", f"{HAETAE_PORT},{CONSOLE_PORT},{LOG_PORT},{ISSUER_PORT}"],
                           cwd=HERE.parent)
    wait_for("the demo", (world / "token").exists)
    site = world / "registry" / "sites" / "kr-seo-1.toml"
    site.write_text(re.sub(r'base_url = ".*"', f'base_url = "https://localhost:{BACKEND_PORT}"', site.read_text()))
    database = re.search(r'^url = "(.*)"', (world / "haetae.toml").read_text(), re.M)[1]
    subprocess.run([binary, "registry", "--database", database, "--by", "bench", "apply", str(world / "registry")],
                   check=True, stdout=subprocess.DEVNULL)
    issuer = re.search(r'^jwks_url = "(.*)"', (world / "haetae.toml").read_text(), re.M)[1]
    jwks = WORK / "jwks.json"
    subprocess.run(["curl", "-sf", "--cacert", str(world / "pki/root.pem"), "-o", str(jwks), issuer], check=True)
    gateway = next(pid for pid in tree(demo.pid) if b"serve" in command_of(pid) and b"haetae" in command_of(pid)[0])
    postgres = next(pid for pid in tree(demo.pid) if command_of(pid)[0].endswith(b"postgres"))
    return {"dir": world, "database": database, "jwks": jwks, "gateway": gateway, "postgres": postgres}


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


# What a gateway without the log would write of a request: three rows, as the log has three records.
PLAIN_ROW = """
create table plain_row (id uuid primary key, at timestamptz not null default now(), what text not null, org text, actor text, issuer text,
  operation text, service text, dataset text, purpose text, trace text, body text, reason text, rule text, site text, bytes bigint,
  version bigint, until bigint);
create index on plain_row (at);
grant insert on plain_row to haetae_gateway"""


def start_plain(processes, world, binary):
    """The gateway of plain rows beside the demo's: the same configuration and registry, other ports and a database of its own."""
    database = world["database"].replace("/haetae?", "/plain?")
    if database == world["database"]:
        sys.exit(f"bench: the demo's database is not named haetae: {database}")
    sql(world, "create database plain")
    dump = subprocess.run([postgres_program("pg_dump"), world["database"]], check=True, capture_output=True).stdout
    subprocess.run([postgres_program("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", database], input=dump, check=True, stdout=subprocess.DEVNULL)
    sql({"database": database}, PLAIN_ROW)
    text = (world["dir"] / "haetae.toml").read_text().replace(world["database"], database)
    text = text.replace('"high-water.json"', '"plain-high-water.json"')
    for theirs, ours in ((HAETAE_PORT, PLAIN_PORT), (CONSOLE_PORT, PLAIN_CONSOLE_PORT), (LOG_PORT, PLAIN_LOG_PORT)):
        text = text.replace(f":{theirs}\"", f":{ours}\"")
    (world["dir"] / "plain.toml").write_text(text)
    gateway = processes.start("plain", [binary, "serve", "--config", "plain.toml"], cwd=world["dir"])
    return gateway, database


def start_diy(processes, world, python):
    # asyncpg takes the socket's directory only where no host stands in the URL.
    database = world["database"].replace("@localhost/", "@/")
    environment = dict(os.environ, DIY_JWKS=str(world["jwks"]), DIY_AUDIENCE="haetae", DIY_DATABASE=database)
    # As many workers as cores, the usual advice.
    return processes.start("authz", [python, "-m", "uvicorn", "authz:app", "--port", str(AUTHZ_PORT), "--workers",
                                     str(os.cpu_count()), "--no-access-log"], cwd=HERE / "diy", env=environment)


def table(results, targets, connections):
    first = next(iter(targets))
    lines = ["| connections | system | requests/s | p50 us | p99 us | CPU us/request | with load and backend | errors "
             f"| ratio to {first} | by CPU | p50, {first} = 1 |", "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for count in connections:
        base, base_cpu, base_p50 = (statistics.median(r[key] for r in results[first, count]) for key in ("rps", "all_us", "p50"))
        for name in targets:
            rows = results[name, count]
            middle = {key: statistics.median(r[key] for r in rows) for key in ("rps", "p50", "p99", "cpu_us", "all_us")}
            lines.append(
                f"| {count} | {name} | {middle['rps']:.0f} | {middle['p50']:.0f} | {middle['p99']:.0f} "
                f"| {middle['cpu_us']:.0f} | {middle['all_us']:.0f} | {sum(r['errors'] for r in rows)} "
                f"| {middle['rps'] / base:.2f} | {base_cpu / middle['all_us']:.2f} | {middle['p50'] / base_p50:.2f} |")
    return lines


def postgres_program(name):
    """From PATH, else from where the distributions keep it."""
    kept = [str(path) for place in ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
            for path in sorted(pathlib.Path("/").glob(f"{place[1:]}/{name}"))]
    return shutil.which(name) or (kept[-1] if kept else name)


def sql(world, query):
    """One value from the gateway's database."""
    return subprocess.run([postgres_program("psql"), "-XAtq", world["database"], "-c", query], check=True, capture_output=True,
                          text=True).stdout.strip()


def allows(world):
    """ALLOW records, once the projection has caught up with the log."""
    behind = "select coalesce(sum(size - coalesce(next_index, 0)), 0) from log_head left join projection_cursor using (lane)"
    wait_for("the projection", lambda: sql(world, behind) == "0")
    return int(sql(world, "select count(*) from row_decision where outcome like 'ALLOW%'"))


def commit_us(world, seconds):
    """Median time of one commit of one row of a batch's size, on one connection, by pgbench: what durability costs here."""
    sql(world, "create table if not exists bench_commit (bytes bytea not null)")
    script = WORK / "commit.sql"
    script.write_text("insert into bench_commit values (decode(repeat('5a', 1100), 'hex'));\n")
    prefix = WORK / "commit-log"
    subprocess.run([postgres_program("pgbench"), "-n", "-M", "prepared", "-c", "1", "-T", str(seconds), "-f", str(script), "-l",
                    "--log-prefix", str(prefix), world["database"]], check=True, capture_output=True)
    times = []
    for log in WORK.glob("commit-log*"):
        times += [int(line.split()[2]) for line in log.read_text().splitlines()]
        log.unlink()
    return statistics.median(times)


def streams(targets, token, world, options):
    """CPU for each stream of about 100 events through nginx and through Haetae, interleaved."""
    rows = {}
    for _ in range(options.rounds):
        for pause in PAUSES:
            script = WORK / f"stream-{pause}.lua"
            script.write_text(LUA.replace("THINK", "") % ("/v1/completions", token, STREAM_BODY % pause))
            for name in ("nginx", "haetae"):
                if name in targets:
                    gateway = {**targets[name], "pids": targets[name]["pids"][:1]}
                    whole, alone = cpu_seconds(targets[name]["pids"]), cpu_seconds(gateway["pids"])
                    one = measure(gateway, str(script), STREAM_CONNECTIONS, options.seconds)
                    count = max(one["requests"], 1)
                    one["cpu_us"] = 1e6 * (cpu_seconds(gateway["pids"]) - alone) / count
                    one["whole_us"] = 1e6 * (cpu_seconds(targets[name]["pids"]) - whole) / count
                    rows.setdefault((pause, name), []).append(one)
                    print(f"stream, pause {pause} ms, {name:8} {one}", flush=True)
    return rows


def stream_table(rows):
    lines = ["| pause between events | system | streams/s | CPU us/stream | with Postgres | errors | ratio to nginx |",
             "|---:|---|---:|---:|---:|---:|---:|"]
    for (pause, name), some in rows.items():
        middle = {key: statistics.median(r[key] for r in some) for key in ("rps", "cpu_us", "whole_us")}
        base = statistics.median(r["cpu_us"] for r in rows.get((pause, "nginx"), some))
        lines.append(f"| {pause} ms | {name} | {middle['rps']:.0f} | {middle['cpu_us']:.0f} | {middle['whole_us']:.0f} "
                     f"| {sum(r['errors'] for r in some)} | {middle['cpu_us'] / base:.2f} |")
    return lines


def main():
    global WORK
    options = argparse.ArgumentParser()
    options.add_argument("--binary", default="target/release/haetae")
    options.add_argument("--python", default=sys.executable, help="a Python with bench/diy/requirements.txt")
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", default="docs/bench.md", help="where the table goes; empty: nowhere")
    options.add_argument("--no-streams", action="store_true")
    options.add_argument("--plain", help="the program that bench/plain/build made; adds the system `plain rows`")
    options.add_argument("--only", help="names of systems, with commas; ratios are to the first")
    options.add_argument("--connections", type=lambda text: [int(one) for one in text.split(",")], default=CONNECTIONS)
    options.add_argument("--think", type=int, default=0, metavar="MS", help="mean pause of a client before its next request")
    options.add_argument("--keep", action="store_true")
    options = options.parse_args()
    if "plain rows" in (options.only or "") and not options.plain:
        sys.exit("bench: `plain rows` needs --plain; bench/plain/build makes that program")
    WORK = pathlib.Path(tempfile.mkdtemp(prefix="haetae-bench-", dir="/tmp"))
    WORK.chmod(0o755)
    processes = Processes()
    try:
        run(processes, options)
    finally:
        processes.stop()
        if not options.keep:
            shutil.rmtree(WORK, ignore_errors=True)


def run(processes, options):
    binary = str(pathlib.Path(options.binary).resolve())
    world = start_world(processes, binary)
    pki = world["dir"] / "pki"
    files = {"CA": pki / "root.pem", "CERT": pki / "gateway.pem", "KEY": pki / "gateway.key",
             "SITE_CERT": pki / "kr-seo-1.pem", "SITE_KEY": pki / "kr-seo-1.key"}
    stream = processes.start("stream", [sys.executable, str(HERE / "stream.py"), str(STREAM_PORT)])
    backend = nginx(processes, "backend", "nginx-backend.conf", PORT=BACKEND_PORT, STREAM=STREAM_PORT, WORKERS=1, **files)
    plain = nginx(processes, "nginx", "nginx-proxy.conf", PORT=NGINX_PORT, BACKEND=BACKEND_PORT, **files)
    only = options.only.split(",") if options.only else ["nginx", "haetae", "do-it-yourself"] + ["plain rows"] * bool(options.plain)
    authz = diy = rows = plain
    if "plain rows" in only:
        rows, rows_database = start_plain(processes, world, str(pathlib.Path(options.plain).resolve()))
    if "do-it-yourself" in only:
        authz = start_diy(processes, world, options.python)
        diy = nginx(processes, "diy", "nginx-diy.conf", PORT=DIY_PORT, BACKEND=BACKEND_PORT, AUTHZ=AUTHZ_PORT,
                    **files)
    token = (world["dir"] / "token").read_text().strip()
    gateway, postgres = world["gateway"], world["postgres"]
    targets = {
        "nginx": {"url": f"https://localhost:{NGINX_PORT}", "pids": [plain.pid]},
        "haetae": {"url": f"https://localhost:{HAETAE_PORT}", "pids": [gateway, postgres]},
        "do-it-yourself": {"url": f"https://localhost:{DIY_PORT}", "pids": [diy.pid, authz.pid, postgres]},
        "plain rows": {"url": f"https://localhost:{PLAIN_PORT}", "pids": [rows.pid, postgres]},
    }
    targets = {name: {**targets[name], "around": [backend.pid, stream.pid]} for name in only}
    for name, target in targets.items():
        wait_for(name, lambda: answers(target["url"] + "/v1/chat/completions", token, files["CA"]))
    script = WORK / "load.lua"
    # A client that thinks before its next request, 0 to twice as long: the machine is not full, and a p50 is a latency.
    think = f"function delay() return math.random(0, {2 * options.think}) end" if options.think else ""
    script.write_text(LUA.replace("THINK", think) % ("/v1/chat/completions", token, BODY))
    results, commits, records = {}, [], []
    for round_number in range(options.rounds):
        for count in options.connections:
            for name, target in targets.items():
                before = allows(world) if name == "haetae" else 0
                one = measure(target, str(script), count, options.seconds)
                results.setdefault((name, count), []).append(one)
                print(f"round {round_number + 1} {count:4} {name:15} {one}", flush=True)
                if name == "haetae":
                    # What was under way when the load stopped was recorded and not counted by wrk.
                    records.append((one["requests"], allows(world) - before, count))
        commits.append(commit_us(world, 2))
    for requests, recorded, count in records:
        if not requests <= recorded <= requests + count:
            sys.exit(f"bench: {requests} answers at {count} connections, but {recorded} ALLOW records")
    if "plain rows" in only:
        check_plain(rows_database, results)
    memory = peak_rss_mb(gateway)
    rows = {} if options.no_streams else streams(targets, token, world, options)
    report(options, targets, {"results": results, "commits": commits, "records": records, "memory": memory,
                              "streams": rows})


def check_plain(database, results):
    """The other gateway answered everything, and wrote what it answered: three rows for each request."""
    if any(one["errors"] for some in results.values() for one in some):
        sys.exit("bench: there are errors among the answers, so nothing can be said of the ratios")
    written = int(sql({"database": database}, "select count(*) from plain_row where what = 'decision'"))
    answered = sum(one["requests"] for (name, _), some in results.items() if name == "plain rows" for one in some)
    ends = int(sql({"database": database}, "select count(*) from plain_row where what = 'ended'"))
    if not answered or min(written, ends) < answered:
        sys.exit(f"bench: {answered} answers through the gateway of plain rows, but {written} decisions and {ends} ends")


def added(results, commits):
    """The targets of issue 2 that are not a ratio of requests a second."""
    if not {("nginx", 1), ("haetae", 1)} <= results.keys():
        return []
    p50 = {name: statistics.median(r["p50"] for r in results[name, 1]) for name in ("nginx", "haetae")}
    commit = statistics.median(commits)
    return [f"One commit of one row of 1,100 bytes on an idle connection (pgbench, median): {commit:.0f} us. At 1 connection "
            f"Haetae adds {p50['haetae'] - p50['nginx']:.0f} us to nginx' p50: one commit and "
            f"{(p50['haetae'] - p50['nginx'] - commit) / 1000:.2f} ms.", ""]


def report(options, targets, found):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    today = datetime.date.today().isoformat()
    answered, recorded = sum(r[0] for r in found["records"]), sum(r[1] for r in found["records"])
    lines = [f"## {today}, commit {commit}, {os.cpu_count()} cores", "",
             f"`{' '.join(['bench/run.py', *sys.argv[1:]])}`: {options.rounds} interleaved rounds of {options.seconds} s; medians. "
             "Load, backend, proxies and Postgres share the machine. CPU of Haetae and of the do-it-yourself includes "
             "Postgres'. `by CPU` is the ratio of all CPU time a request takes, load and backend included: what the ratio of "
             "requests would be if nothing but the bench ran and all cores were busy. Others on the machine disturb it less "
             "than the rates, but they do.",
             "", f"Load average at the end: {os.getloadavg()[0]:.1f} (the bench alone makes about 4).", ""]
    lines += table(found["results"], targets, options.connections)
    lines += ["", *added(found["results"], found["commits"])]
    lines += [f"{answered} requests were answered through Haetae; the log has {recorded} ALLOW records of them (those under way "
              "when a load stopped are recorded too). Peak memory of the gateway over these runs: "
              f"{found['memory']:.0f} MB.", ""]
    if found["streams"]:
        lines += [f"Streams of 101 events, {STREAM_CONNECTIONS} at a time:", "", *stream_table(found["streams"]), ""]
    print("\n".join(lines))
    if options.out:
        out = pathlib.Path(options.out)
        old = out.read_text() if out.exists() else "# Side by side\n\nNewest first.\n"
        head, _, rest = old.partition("\n## ")
        out.write_text(head.rstrip() + "\n\n" + "\n".join(lines) + ("\n## " + rest if rest else ""))


if __name__ == "__main__":
    main()
