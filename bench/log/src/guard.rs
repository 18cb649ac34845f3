//! What a guard costs: the same requests, each with a fresh receipt of a real log, through `haetae guard serve` and through the
//! guard's own listener and its own way to the service without any check. The second is built here and nowhere else: the product
//! has no such mode.
//!
//! Four processes: this one (the load), the guard, the plain proxy, the service.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use haetae::audit::Key;
use haetae::demo::pki::{By, Pki};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::log::ORIGIN;
use crate::report::{self, median};
use crate::{cpu, draft};

mod load;
mod mint;
mod plain;
mod service;

/// What one system did in one round.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    /// Of the guard, or of the proxy, alone.
    cpu_us: f64,
}

pub async fn run(rounds: usize) -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let place = dir.path();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let pki = Pki::create(place, i64::try_from(now)?)?;
    let key = Key::generate()?;
    let service = Role::start("service", place).await?;
    write_config(place, &pki, &key, &service.address)?;
    let (guard, plain) = (Role::start("guard", place).await?, Role::start("plain", place).await?);
    let count = REQUESTS * (rounds + 1);
    let began = Instant::now();
    // After the guard's start: nothing from before it opens anything.
    let minted = mint::receipts(&key, count).await?;
    eprintln!("{count} receipts minted in {:.0} s", began.elapsed().as_secs_f64());
    let tls = load::tls(&pki.ca(By::Sites))?;
    let mut results = [Vec::new(), Vec::new()];
    for (round, tickets) in minted.tickets.chunks(REQUESTS).enumerate() {
        let tickets: Arc<[_]> = tickets.into();
        // Who is first takes turns.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (name, system) = [("plain", &plain), ("guard", &guard)][which];
            let spent = cpu::of(system.pid);
            let done = load::run(&system.address, &tls, &tickets, CONNECTIONS).await?;
            let spent = cpu::of(system.pid) - spent;
            let it = Round {
                rate: done.rate,
                p50_us: done.p50_us,
                p99_us: done.p99_us,
                cpu_us: spent.as_secs_f64() * 1e6 / tickets.len() as f64,
            };
            eprintln!(
                "round {round}, {name}: {:.0} requests/s, {:.1} us CPU/request",
                it.rate, it.cpu_us
            );
            // The first round warms up.
            results[which].extend((round > 0).then_some(it));
        }
    }
    // The same receipts again: none opens anything twice.
    let again: Arc<[_]> = minted.tickets[..CONNECTIONS].into();
    let opened = load::opened(&guard.address, &tls, &again).await?;
    anyhow::ensure!(opened == 0, "{opened} receipts opened the site twice");
    Ok(render(&results, minted.commits, count))
}

/// A child in one of the roles.
struct Role {
    address: String,
    pid: u32,
    _child: Child,
}

impl Role {
    async fn start(role: &str, dir: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // It ends when its standard input does, which is when this process ends.
        command
            .args(["serve", role])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let said = child.stdout.take().context("its standard output")?;
        let mut line = String::new();
        tokio::time::timeout(START_MAX, BufReader::new(said).read_line(&mut line)).await??;
        anyhow::ensure!(!line.is_empty(), "the {role} did not start");
        let pid = child.id().context("its process id")?;
        Ok(Self { address: line.trim().to_owned(), pid, _child: child })
    }
}

/// The child's side: says its address, serves until its standard input ends.
pub async fn serve(role: &str, dir: &Path) -> anyhow::Result<()> {
    let address = match role {
        "service" => service::start().await?,
        "plain" => plain::start(&config(dir)?).await?,
        "guard" => haetae::app::guard::start(config(dir)?).await?.address(),
        other => anyhow::bail!("no role `{other}`"),
    };
    println!("{address}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

fn config(dir: &Path) -> anyhow::Result<haetae::guard::Config> {
    let mut config: haetae::guard::Config =
        toml::from_str(&std::fs::read_to_string(dir.join("guard.toml"))?)?;
    config.paths_mut().for_each(|path| *path = dir.join(&*path));
    Ok(config)
}

fn write_config(dir: &Path, pki: &Pki, key: &Key, service: &str) -> anyhow::Result<()> {
    let site = pki.server(By::Sites, "site", Some(draft::IDENTITY))?;
    let quoted = |path: &PathBuf| path.display().to_string();
    let logs: Vec<String> =
        (0..mint::LANES).map(|lane| key.vkey(ORIGIN, lane)).collect::<Result<_, _>>()?;
    let logs: String = logs.iter().map(|vkey| format!("log {vkey}\n")).collect();
    std::fs::write(dir.join("trust.policy"), format!("{logs}quorum none\n"))?;
    // The receipts of all rounds are made ahead, so they must stay fresh for as long as the rounds take.
    let text = format!(
        "site = \"{}\"\nidentity = \"{}\"\ntrust = \"trust.policy\"\nupstream = \"http://{service}\"\njournal = \"guard.jsonl\"\n\
         age_s = 900\n[listen]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{}\", key = \"{}\" }}\n",
        draft::SITE,
        draft::IDENTITY,
        quoted(&site.certificate),
        quoted(&site.key),
    );
    Ok(std::fs::write(dir.join("guard.toml"), text)?)
}

fn render(results: &[Vec<Round>; 2], commits: usize, count: usize) -> String {
    let of =
        |which: usize, field: fn(&Round) -> f64| median(results[which].iter().map(field).collect());
    let row = |name: &str, which: usize| {
        format!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.1} |\n",
            of(which, |it| it.rate),
            of(which, |it| it.p50_us),
            of(which, |it| it.p99_us),
            of(which, |it| it.cpu_us)
        )
    };
    let pairs = || results[0].iter().zip(&results[1]);
    // Of each round its own ratio: what disturbs one disturbs both.
    let rate = median(pairs().map(|(plain, guard)| plain.rate / guard.rate).collect());
    let cpu = median(pairs().map(|(plain, guard)| guard.cpu_us / plain.cpu_us).collect());
    let more = |ratio: f64| (ratio - 1.0) * 100.0;
    format!(
        "**Guard.** {CONNECTIONS} connections over TLS, {} interleaved rounds of {REQUESTS} requests, each with a receipt of its own from a \
         real log (on average {:.1} records a commit) and a leaf of about 1,300 bytes; the plain proxy gets the same requests. The service \
         answers at once over plain http. CPU is the guard's or the proxy's alone.\n\n\
         | system | requests/s | p50 us | p99 us | CPU us/request |\n\
         |---|---:|---:|---:|---:|\n{}{}\n\
         Promised: at 64 connections at most 25 % more than its own plain TLS proxying: {:.0} % more time a request{}; of its own CPU \
         {:.0} % more. Afterwards none of the used receipts opened the site again.\n",
        results[0].len(),
        count as f64 / commits as f64,
        row("the guard's listener and upstream, no check", 0),
        row("guard", 1),
        more(rate),
        report::met(rate <= 1.25),
        more(cpu)
    )
}

const CONNECTIONS: usize = 64;
/// One to three seconds of load.
const REQUESTS: usize = 12_000;
const START_MAX: Duration = Duration::from_secs(20);
