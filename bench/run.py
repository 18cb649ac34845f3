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
    {"model": "llama-3.3-70b", "messages": [{"role": "user", "content": "Summarise the attached ward report in two sentences."}]}
)
NGINX_PORT, BACKEND_PORT, DIY_PORT, AUTHZ_PORT, HAETAE_PORT, CONSOLE_PORT = 18443, 18444, 18445, 18446, 18447, 18448
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
wrk.headers["Haetae-Datasets"] = "kr-retail/orders@1"
wrk.headers["Haetae-Site"] = "kr-seo-1"
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
    demo = processes.start("demo", [binary, "demo", "--dir", str(world), "--ports", f"{HAETAE_PORT},{CONSOLE_PORT}"],
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


def start_diy(processes, world, python):
    environment = dict(os.environ, DIY_JWKS=str(world["jwks"]), DIY_AUDIENCE="haetae", DIY_DATABASE=world["database"])
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
    options.add_argument("--only", help="names of systems, with commas")
    options.add_argument("--connections", type=lambda text: [int(one) for one in text.split(",")], default=CONNECTIONS)
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
    world = start_world(processes, binary)
    pki = world["dir"] / "pki"
    files = {"CA": pki / "root.pem", "CERT": pki / "gateway.pem", "KEY": pki / "gateway.key",
             "SITE_CERT": pki / "kr-seo-1.pem", "SITE_KEY": pki / "kr-seo-1.key"}
    nginx(processes, "backend", "nginx-backend.conf", PORT=BACKEND_PORT, WORKERS=1, **files)
    plain = nginx(processes, "nginx", "nginx-proxy.conf", PORT=NGINX_PORT, BACKEND=BACKEND_PORT, **files)
    authz = start_diy(processes, world, options.python)
    diy = nginx(processes, "diy", "nginx-diy.conf", PORT=DIY_PORT, BACKEND=BACKEND_PORT, AUTHZ=AUTHZ_PORT, **files)
    token = (world["dir"] / "token").read_text().strip()
    gateway, postgres = world["gateway"], world["postgres"]
    targets = {
        "nginx": {"url": f"https://localhost:{NGINX_PORT}", "pids": [plain.pid]},
        "haetae": {"url": f"https://localhost:{HAETAE_PORT}", "pids": [gateway, postgres]},
        "do-it-yourself": {"url": f"https://localhost:{DIY_PORT}", "pids": [diy.pid, authz.pid, postgres]},
    }
    if options.only:
        targets = {name: targets[name] for name in options.only.split(",")}
    for name, target in targets.items():
        wait_for(name, lambda: answers(target["url"] + "/v1/chat/completions", token, files["CA"]))
    script = WORK / "load.lua"
    script.write_text(LUA % (token, BODY))
    results = {}
    for round_number in range(options.rounds):
        for count in options.connections:
            for name, target in targets.items():
                results.setdefault((name, count), []).append(measure(target, str(script), count, options.seconds))
                print(f"round {round_number + 1} {count:4} {name:15} {results[name, count][-1]}", flush=True)
    report(options, results, targets, gateway)


def report(options, results, targets, gateway):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    today = datetime.date.today().isoformat()
    lines = [f"## {today}, commit {commit}, {os.cpu_count()} cores", "",
             f"`make bench` ({options.rounds} interleaved rounds of {options.seconds} s; medians). Load, backend, proxies and Postgres share the "
             "machine. CPU of Haetae and of the do-it-yourself includes Postgres'.", ""]
    lines += table(results, targets, options.connections)
    lines += ["", f"Peak memory of haetae over the run (256 connections included): {peak_rss_mb(gateway):.0f} MB.", ""]
    print("\n".join(lines))
    out = pathlib.Path(options.out)
    old = out.read_text() if out.exists() else "# Side by side\n\nNewest first.\n"
    head, _, rest = old.partition("\n## ")
    out.write_text(head.rstrip() + "\n\n" + "\n".join(lines) + ("\n## " + rest if rest else ""))


if __name__ == "__main__":
    main()
