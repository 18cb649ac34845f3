//! The demo's GPU sites as processes of their own, and what they say they have seen.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::client::Client;
use super::pki::{By, Pki};
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
}

/// Three running sites. They end with their standard input, so also when this process is killed.
pub struct Fleet {
    sites: Vec<Site>,
    observer: Client,
}

struct Site {
    id: String,
    address: SocketAddr,
    process: Child,
}

impl Fleet {
    /// Starts each site as `program demo-site ...` on its port (0: any), with a certificate of the sites' authority.
    pub fn start(program: &Path, pki: &Pki, plans: &[Plan], ports: &[u16]) -> Result<Self> {
        let observer = pki.client(By::Root, "observer", OBSERVER)?;
        let ports = ports.iter().copied().chain(std::iter::repeat(0));
        let sites =
            plans.iter().zip(ports).map(|(plan, port)| Site::start(program, pki, plan, port));
        let sites = sites.collect::<Result<Vec<_>>>()?;
        Ok(Self { sites, observer: Client::new(&pki.ca(By::Sites), Some(&observer))? })
    }

    /// Ids and addresses, in the order of the plans.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.sites.iter().map(|site| (site.id.as_str(), site.address))
    }

    /// What each site has seen by now.
    pub async fn reports(&self) -> Result<Vec<(String, Report)>> {
        let mut reports = Vec::new();
        for site in &self.sites {
            let reply = self.observer.get(&format!("https://{}/demo/seen", site.address)).await?;
            let report = serde_json::from_slice(&reply.body)
                .with_context(|| format!("site {} says {}", site.id, reply.text()))?;
            reports.push((site.id.clone(), report));
        }
        Ok(reports)
    }
}

impl Site {
    fn start(program: &Path, pki: &Pki, plan: &Plan, port: u16) -> Result<Self> {
        let identity = pki.server(By::Sites, &plan.id, Some(&plan.spiffe))?;
        let mut process = Command::new(program)
            .args(["demo-site", "--name", &plan.id, "--place", &plan.place])
            .args(["--models", &plan.models.join(",")])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--gateway", GATEWAY, "--observer", OBSERVER])
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
            .with_context(|| format!("`{}` could not be started", program.display()))?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let Ok(address) = line.trim().parse() else {
            let _gone_already = process.kill();
            process.wait()?;
            bail!("site {} did not say its address but `{}`", plan.id, line.trim());
        };
        Ok(Self { id: plan.id.clone(), address, process })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends by itself in a moment; a kill makes that certain, and it has nothing to lose.
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// SPIFFE id of the gateway towards the sites.
pub const GATEWAY: &str = "spiffe://haetae.example/gateway";

const OBSERVER: &str = "spiffe://haetae.example/demo/observer";
