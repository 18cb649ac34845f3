//! The demo's GPU sites: each a stand-in for the service, and before it `haetae guard serve`, in processes of their own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::gateway::{ORIGIN, Program, quoted};
use super::pki::{By, Identity, Pki};
use super::ports::Said;
use super::site::Report;

/// What the demo needs to know of a site to run it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub id: String,
    pub place: String,
    pub models: Vec<String>,
    /// The SPIFFE id that the registry says it has.
    pub spiffe: String,
    /// Pause between two tokens of a stream, where it is not the usual one.
    pub token_ms: Option<u64>,
    /// Where its guard listens.
    pub address: SocketAddr,
}

/// Three running sites. They end with their standard input, so also when this process is killed.
pub struct Fleet {
    sites: Vec<Site>,
    observer: Client,
}

struct Site {
    plan: Plan,
    guard: Child,
    /// What the guard wrote since it was started.
    said: Said,
    service: Child,
    /// Where the service listens, for its guard and for the observer.
    behind: SocketAddr,
}

impl Fleet {
    /// Starts each site: its service, which lets in its guard alone, and the guard with the site's own certificate and the
    /// trust file `trust.policy`, following the log that `log` will publish.
    pub async fn start(
        program: &Program,
        pki: &Pki,
        log: SocketAddr,
        plans: Vec<Plan>,
    ) -> Result<Self> {
        let observer = pki.client(By::Root, "observer", OBSERVER)?;
        let guard = pki.client(By::Root, "guard", GUARD)?;
        let start = |plan| Site::start(program, pki, log, &guard, plan);
        let mut sites = plans.into_iter().map(start).collect::<Result<Vec<_>>>()?;
        for site in &mut sites {
            site.until_open().await?;
        }
        Ok(Self { sites, observer: Client::new(&pki.ca(By::Sites), Some(&observer))? })
    }

    /// Ids and addresses, in the order of the plans.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.sites.iter().map(|site| (site.plan.id.as_str(), site.plan.address))
    }

    /// The same of the services behind the guards, for the observer.
    pub fn services(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.sites.iter().map(|site| (site.plan.id.as_str(), site.behind))
    }

    /// What each service has seen by now.
    pub async fn reports(&self) -> Result<Vec<(String, Report)>> {
        let mut reports = Vec::new();
        for site in &self.sites {
            let reply = self.observer.get(&format!("https://{}/demo/seen", site.behind)).await?;
            let report = serde_json::from_slice(&reply.body)
                .with_context(|| format!("site {} says {}", site.plan.id, reply.text()))?;
            reports.push((site.plan.id.clone(), report));
        }
        Ok(reports)
    }
}

impl Site {
    fn start(
        program: &Program,
        pki: &Pki,
        log: SocketAddr,
        guard: &Identity,
        plan: Plan,
    ) -> Result<Self> {
        let (service, behind) = service(program, pki, &plan)?;
        let identity = pki.server(By::Sites, &plan.id, Some(&plan.spiffe))?;
        let name = format!("guard-{}", plan.id);
        let file = program.dir.join(format!("{name}.toml"));
        std::fs::write(&file, settings(pki, log, &plan, &identity, guard, behind))?;
        let arguments = ["guard", "serve", "--config", &format!("{name}.toml")];
        let log = program.dir.join(format!("{name}.log"));
        let said = Said::after(&log);
        let guard = program.serve(&arguments, &log)?;
        Ok(Self { plan, guard, said, service, behind })
    }

    async fn until_open(&mut self) -> Result<()> {
        let deadline = Instant::now() + OPEN_WAIT_MAX;
        while !self.said.is_ready()? {
            if let Some(status) = self.guard.try_wait()? {
                bail!("the guard of {} ended ({status}): see its log", self.plan.id);
            }
            if Instant::now() > deadline {
                bail!("the guard of {} does not listen: see its log", self.plan.id);
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// Starts the stand-in for the service; it says where it listens.
fn service(program: &Program, pki: &Pki, plan: &Plan) -> Result<(Child, SocketAddr)> {
    let identity = pki.server(By::Sites, &format!("{}-service", plan.id), None)?;
    let mut process = Command::new(&program.path)
        .args(["demo-site", "--name", &plan.id, "--place", &plan.place])
        .args(["--models", &plan.models.join(",")])
        .args(["--gateway", GUARD, "--observer", OBSERVER])
        .args(plan.token_ms.map(|pause| format!("--token-ms={pause}")))
        .arg("--certificate")
        .arg(&identity.certificate)
        .arg("--key")
        .arg(&identity.key)
        .arg("--client-ca")
        .arg(pki.ca(By::Root))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0) // Ctrl-C is for us: sites end after the gateway
        .spawn()
        .with_context(|| format!("`{}` could not be started", program.path.display()))?;
    let mut line = String::new();
    if let Some(output) = process.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let Ok(address) = line.trim().parse() else {
        let _gone_already = process.kill();
        process.wait()?;
        bail!("site {} did not say its address but `{}`", plan.id, line.trim());
    };
    Ok((process, address))
}

/// The guard's configuration file.
fn settings(
    pki: &Pki,
    log: SocketAddr,
    plan: &Plan,
    site: &Identity,
    guard: &Identity,
    behind: SocketAddr,
) -> String {
    let path = |path: &std::path::Path| quoted(&path.to_string_lossy());
    format!(
        r#"# Written by `haetae demo`. The example `guard.toml` in the project's root explains every key.
site = {id}
identity = {spiffe}
trust = "trust.policy"
upstream = "https://{behind}"
upstream_ca = {sites}
upstream_certificate = {guard_certificate}
upstream_key = {guard_key}
journal = "guard-{name}.jsonl"

[follow]
log = "{ORIGIN}"
state = "guard-{name}.followed.json"
every_s = 2
remote = {{ url = "https://{log}/log", ca = {root} }}

[listen]
address = "{address}"
tls = {{ certificate = {certificate}, key = {key}, client_certificates = "required", client_cas = [{root}] }}
"#,
        id = quoted(&plan.id),
        spiffe = quoted(&plan.spiffe),
        sites = path(&pki.ca(By::Sites)),
        guard_certificate = path(&guard.certificate),
        guard_key = path(&guard.key),
        name = plan.id,
        address = plan.address,
        certificate = path(&site.certificate),
        key = path(&site.key),
        root = path(&pki.ca(By::Root)),
    )
}

impl Drop for Site {
    fn drop(&mut self) {
        for process in [&mut self.guard, &mut self.service] {
            drop(process.stdin.take());
        }
        // The guard drains: what it lets in is over by now, and its journal goes to the disk.
        let _reaped = self.guard.wait();
        // The service ends by itself in a moment; a kill makes that certain, and it has nothing to lose.
        let _gone_already = self.service.kill();
        let _reaped = self.service.wait();
    }
}

/// SPIFFE id of the gateway towards the sites.
pub const GATEWAY: &str = "spiffe://haetae.example/gateway";
/// SPIFFE id of the guards towards the services behind them.
const GUARD: &str = "spiffe://haetae.example/guard";
const OBSERVER: &str = "spiffe://haetae.example/demo/observer";
const OPEN_WAIT_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(30);
