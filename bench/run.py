#!/usr/bin/env python3
"""Side by side in one interleaved run: nginx as a plain TLS reverse proxy, Haetae with token, decision and durable
audit, and the usual do-it-yourself (nginx auth_request + FastAPI + pycasbin + one INSERT a request), all to the same
TLS backend with the same load. Machines are shared and noisy, so ratios of one run are the result, not absolute rates.

Needs nginx, wrk, a Postgres and python3 with bench/diy/requirements.txt; `make bench` installs them. Standard library only.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
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
    {"model": "midm-2.0", "messages": [{"role": "user", "content": "Summarise the attached ward report in two sentences."}]}
)
NGINX_PORT, BACKEND_PORT, DIY_PORT, AUTHZ_PORT = 18443, 18444, 18445, 18446
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
        for process in reversed(list(self.all.values())):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.all.values():
            try:
                process.wait(15)
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


def rss_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def peak_rss_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


LUA = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
wrk.body = [==[%s]==]
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%.1f %%.1f %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def load(url, script, connections, seconds):
    threads = 1 if connections == 1 else 2
    out = subprocess.run(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url],
        capture_output=True, text=True, check=True,
    ).stdout
    requests, micros, p50, p99, errors = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", out).groups()
    return int(requests), int(micros) / 1e6, float(p50), float(p99), int(errors)


def measure(target, script, connections, seconds):
    before = cpu_seconds(target["pids"])
    requests, took, p50, p99, errors = load(target["url"], script, connections, seconds)
    cpu = cpu_seconds(target["pids"]) - before
    return {"rps": requests / took, "p50": p50, "p99": p99, "cpu_us": 1e6 * cpu / max(requests, 1), "errors": errors}


def wait_for(what, probe, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        if probe():
            return
        time.sleep(0.2)
    sys.exit(f"bench: {what} did not come up within {seconds} s; see {WORK}")


def answers(url, token=None, ca=None):
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(ca), url, "-d", BODY,
               "-H", "content-type: application/json"]
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
    """Postgres and the demo's PKI, registry and tokens, with every site's address that of the bench's backend."""
    world_dir = WORK / "world"
    subprocess.run([binary, "demo", "--dir", str(world_dir), "--prepare", "--site-port", str(BACKEND_PORT)],
                   check=True, stdout=subprocess.DEVNULL)
    world = json.loads((world_dir / "world.json").read_text())
    postgres = processes.start("postgres", [binary, "postgres", "--dir", str(world_dir / "postgres")])
    return world_dir, world, postgres


def start_haetae(processes, binary, world_dir, world):
    subprocess.run([binary, "migrate", "--config", world["config"]], check=True)
    subprocess.run([binary, "registry", "--config", world["config"], "apply", world["registry"]], check=True,
                   stdout=subprocess.DEVNULL)
    return processes.start("haetae", [binary, "serve", "--config", world["config"]])


def start_diy(processes, world, python):
    environment = dict(os.environ, DIY_PUBLIC_KEY=world["issuer_public_key"], DIY_AUDIENCE=world["audience"],
                       DIY_DATABASE=world["database"])
    # As many workers as cores, the usual advice.
    return processes.start("authz", [python, "-m", "uvicorn", "authz:app", "--port", str(AUTHZ_PORT), "--workers",
                                     str(os.cpu_count()), "--no-access-log"], cwd=HERE / "diy", env=environment)


def table(results, targets, connections):
    lines = ["| connections | system | requests/s | p50 us | p99 us | CPU us/request | errors | ratio to nginx |",
             "|---:|---|---:|---:|---:|---:|---:|---:|"]
    for count in connections:
        base = statistics.median(r["rps"] for r in results["nginx", count])
        for name in targets:
            rows = results[name, count]
            middle = {key: statistics.median(r[key] for r in rows) for key in ("rps", "p50", "p99", "cpu_us")}
            lines.append(
                f"| {count} | {name} | {middle['rps']:.0f} | {middle['p50']:.0f} | {middle['p99']:.0f} "
                f"| {middle['cpu_us']:.0f} | {sum(r['errors'] for r in rows)} | {middle['rps'] / base:.2f} |")
    return lines


def stream_rows(targets, script, seconds):
    """CPU per SSE stream of about 100 chunks, 16 at a time."""
    rows = []
    for name in ("nginx", "haetae"):
        samples = [measure({**targets[name], "url": targets[name]["stream_url"]}, script, 16, seconds) for _ in range(3)]
        rows.append((name, statistics.median(s["cpu_us"] for s in samples), sum(s["errors"] for s in samples)))
    return rows


def main():
    global WORK
    options = argparse.ArgumentParser()
    options.add_argument("--binary", default="target/release/haetae")
    options.add_argument("--python", default=sys.executable, help="a Python with bench/diy/requirements.txt")
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", default="docs/bench.md")
    options.add_argument("--keep", action="store_true")
    options = options.parse_args()
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
    world_dir, world, postgres = start_world(processes, binary)
    pki = {"CA": world["ca"], "CERT": world["gateway_cert"], "KEY": world["gateway_key"],
           "SITE_CERT": world["site_cert"], "SITE_KEY": world["site_key"]}
    backend = nginx(processes, "backend", "nginx-backend.conf", PORT=BACKEND_PORT, WORKERS=1, **pki)
    plain = nginx(processes, "nginx", "nginx-proxy.conf", PORT=NGINX_PORT, BACKEND=BACKEND_PORT, **pki)
    wait_for("postgres", lambda: subprocess.run([binary, "migrate", "--config", world["config"]],
                                                capture_output=True).returncode == 0)
    haetae = start_haetae(processes, binary, world_dir, world)
    authz = start_diy(processes, world, options.python)
    diy = nginx(processes, "diy", "nginx-diy.conf", PORT=DIY_PORT, BACKEND=BACKEND_PORT, AUTHZ=AUTHZ_PORT, **pki)
    token = pathlib.Path(world["token"]).read_text().strip()
    targets = {
        "nginx": {"url": f"https://127.0.0.1:{NGINX_PORT}", "pids": [plain.pid]},
        "haetae": {"url": f"https://{world['gateway']}", "pids": [haetae.pid, postgres.pid]},
        "do-it-yourself": {"url": f"https://127.0.0.1:{DIY_PORT}", "pids": [diy.pid, authz.pid, postgres.pid]},
    }
    for name, target in targets.items():
        wait_for(name, lambda: answers(target["url"] + "/v1/chat/completions", token, world["ca"]))
    script = WORK / "load.lua"
    script.write_text(LUA % (token, BODY))
    results = {}
    for round_number in range(options.rounds):
        for count in CONNECTIONS:
            for name, target in targets.items():
                results.setdefault((name, count), []).append(measure(target, str(script), count, options.seconds))
                print(f"round {round_number + 1} {count:4} {name:15} {results[name, count][-1]}", flush=True)
    report(options, results, targets, haetae)


def report(options, results, targets, haetae):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    today = datetime.date.today().isoformat()
    lines = [f"## {today}, commit {commit}, {os.cpu_count()} cores", "",
             f"`make bench` ({options.rounds} interleaved rounds of {options.seconds} s; medians). Load, backend, proxies and Postgres share the "
             "machine. CPU of Haetae and of the do-it-yourself includes Postgres'.", ""]
    lines += table(results, targets, CONNECTIONS)
    lines += ["", f"Peak memory of haetae over the run (256 connections included): {peak_rss_mb(haetae.pid):.0f} MB.", ""]
    print("\n".join(lines))
    out = pathlib.Path(options.out)
    old = out.read_text() if out.exists() else "# Side by side\n\nNewest first.\n"
    head, _, rest = old.partition("\n## ")
    out.write_text(head.rstrip() + "\n\n" + "\n".join(lines) + ("\n## " + rest if rest else ""))


if __name__ == "__main__":
    main()
