//! Everything that the demo runs, made in order and stopped in reverse.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::door;
use super::fleet::{Fleet, GATEWAY, Plan};
use super::gateway::{Gateway, ORIGIN, Program, Settings};
use super::issuer::{Bearer, Issuer, JWKS_PATH, Mint};
use super::pki::{By, Identity, Pki};
use super::ports::free;
use super::scenario::{ADDITIONS, ORGANISATIONS};
use crate::clock::Clock;
use crate::postgres::{Cluster, Options, PostgresError};

/// Where things are, and how to stop them. Fields drop in this order: the gateway before what it needs.
pub struct World {
    pub dir: PathBuf,
    pub data: SocketAddr,
    pub console: SocketAddr,
    /// Where the log's checkpoints and tiles are.
    pub tiles: SocketAddr,
    pub issuer: Issuer,
    pub clock: Clock,
    pub gateway: Gateway,
    pub fleet: Fleet,
    pub program: Program,
    pub cluster: Cluster,
    /// A client without a certificate, and one for each organisation with its own.
    pub plain: Client,
    pub certified: BTreeMap<&'static str, Client>,
    /// Somebody who has the gateway's certificate, and goes to a site without it.
    pub intruder: Client,
    pub sources: Sources,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// What comes with the program's sources.
pub struct Sources {
    pub policies: PathBuf,
    pub registry: PathBuf,
    pub ground: PathBuf,
}

/// What to build it from.
pub struct Plot {
    pub dir: PathBuf,
    /// Ports of the gateway, the console, the log, the issuer, then the sites; 0 or missing: any that is free.
    pub ports: Vec<u16>,
    /// This program.
    pub program: PathBuf,
    pub clock: Clock,
    /// Pause of the sites between two tokens of a stream, where it is not their usual one.
    pub token_ms: Option<u64>,
}

impl World {
    /// Builds everything; `say` hears each step in plain words.
    pub async fn build(plot: Plot, say: &dyn Fn(&str)) -> Result<Self> {
        let Plot { dir, ports, program, clock, token_ms } = plot;
        let sources = Sources::find(&program)?;
        let dir = fresh(&dir)?;
        let pki = Pki::create(&dir.join("pki"), clock.unix_s())?;
        let (mut ports, started) = (ports.into_iter(), Instant::now());
        let [data, console, tiles, issuing] = [(); 4].map(|()| ports.next().unwrap_or(0));
        let cluster = cluster(&dir, say).await?;
        say(&format!("a private Postgres on a unix socket ({} ms)", started.elapsed().as_millis()));

        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let issuer = publish(&pki, issuing, &tracker, &stop).await?;
        say(&format!("an identity provider at {}", issuer.url));
        let (data, console, tiles) = (free(data)?, free(console)?, free(tiles)?);
        let program = Program { path: program, dir: dir.clone() };
        let trust = ["keygen", "--origin", ORIGIN, "--out", "log.key", "--trust"];
        std::fs::write(dir.join("trust.policy"), program.run(&trust).await?.stdout)?;
        let plans = plans(&sources.registry, token_ms, ports)?;
        let fleet = Fleet::start(&program, &pki, tiles, plans.clone()).await?;
        for Plan { id, place, address, .. } in &plans {
            say(&format!(
                "GPU site {id} in {place} at {address} behind its guard (a stand-in: no GPU here)"
            ));
        }
        let gateway_client = pki.client(By::Root, "gateway-client", GATEWAY)?;
        prepare(&Preparing {
            pki: &pki,
            sources: &sources,
            fleet: &fleet,
            issuer: &issuer,
            data,
            console,
            tiles,
            cluster: &cluster,
            program: &program,
        })
        .await?;
        say("the schema, the registry of deploy/registry-example, and a key for the log");
        let plain = Client::new(&pki.ca(By::Root), None)?;
        let gateway = Gateway::start(&program, console, &plain).await?;
        say(&format!(
            "the gateway at https://127.0.0.1:{} ({} ms in all)",
            data.port(),
            started.elapsed().as_millis()
        ));
        let certified = certified(&pki)?;
        let intruder = Client::new(&pki.ca(By::Sites), Some(&gateway_client))?;
        Ok(Self {
            dir,
            data,
            console,
            tiles,
            issuer,
            clock,
            gateway,
            fleet,
            program,
            cluster,
            plain,
            certified,
            intruder,
            sources,
            tracker,
            stop,
        })
    }

    /// A token for an organisation's service.
    pub fn token(&self, org: &str, mint: Mint) -> Result<String> {
        let subject = format!("svc-assistant@{org}");
        let bearer = Bearer { org, subject: &subject, roles: &["user"] };
        self.issuer.mint(mint, bearer, self.clock.unix_s())
    }

    /// The gateway's address with a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.data.port())
    }

    /// Starts the gateway again, after it was killed or stopped, and waits until it is ready.
    pub async fn restart_gateway(&mut self) -> Result<()> {
        self.gateway = Gateway::start(&self.program, self.console, &self.plain).await?;
        Ok(())
    }

    /// Stops everything, the gateway first and in order.
    pub async fn stop(self) -> Result<()> {
        let status = self.gateway.stop().await?;
        anyhow::ensure!(status.success(), "the gateway ended badly: {status}");
        drop(self.fleet);
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        drop(self.cluster);
        Ok(())
    }
}

impl Sources {
    /// Looks for `policies/` from the working directory upwards, then from the program upwards.
    fn find(program: &Path) -> Result<Self> {
        let here = std::env::current_dir()?;
        let mut roots = here.ancestors().chain(program.ancestors().skip(1));
        let root = roots.find(|root| root.join("policies/bundle.toml").is_file());
        let Some(root) = root else {
            bail!(
                "the policies of the demo were not found: run `haetae demo` in the project's directory"
            );
        };
        Ok(Self {
            policies: root.join("policies"),
            registry: root.join("deploy/registry-example"),
            ground: root.join("deploy/ground-example.toml"),
        })
    }
}

/// What has been made before the gateway can start.
struct Preparing<'a> {
    pki: &'a Pki,
    sources: &'a Sources,
    fleet: &'a Fleet,
    issuer: &'a Issuer,
    data: SocketAddr,
    console: SocketAddr,
    tiles: SocketAddr,
    cluster: &'a Cluster,
    program: &'a Program,
}

/// The gateway's files and database, by the commands that an operator would use.
async fn prepare(with: &Preparing<'_>) -> Result<()> {
    let dir = &with.program.dir;
    with.pki.server(By::Root, "gateway", None)?;
    let url = with.cluster.url();
    let settings = Settings {
        data: with.data,
        console: with.console,
        tiles: with.tiles,
        database: &url,
        pki: &dir.join("pki"),
        policies: &with.sources.policies,
        issuer: &with.issuer.url,
        jwks: &format!("{}{JWKS_PATH}", with.issuer.url),
        audience: AUDIENCE,
        organisations: &ORGANISATIONS,
    };
    std::fs::write(dir.join("haetae.toml"), settings.toml())?;
    with.program.run(&["migrate", "--config", "haetae.toml"]).await?;
    with.program.run(&["audit", "keygen", "--out", "privacy.key"]).await?;
    let registry = dir.join("registry");
    copy(&with.sources.registry, &registry)?;
    std::fs::copy(with.pki.ca(By::Sites), registry.join("sites/ca.pem"))?;
    for (path, text) in ADDITIONS {
        std::fs::write(registry.join(path), text)?;
    }
    for (id, address) in with.fleet.addresses() {
        readdress(&registry.join(format!("sites/{id}.toml")), address)?;
    }
    with.program.run(&[REGISTRY.as_slice(), &["apply", "registry"]].concat()).await?;
    Ok(())
}

/// An empty directory of ours: one from an earlier demo is emptied, anybody else's is refused.
fn fresh(dir: &Path) -> Result<PathBuf> {
    let mark = dir.join(MARK);
    let taken = dir.exists() && std::fs::read_dir(dir)?.next().is_some();
    if taken && !mark.exists() {
        bail!(
            "`{}` is not empty and is no directory of an earlier demo: name another with --dir",
            dir.display()
        );
    }
    if taken {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("`{}`", dir.display()))?;
    std::fs::write(&mark, "made by `haetae demo`: emptied by the next one\n")?;
    Ok(dir.canonicalize()?)
}

/// The cluster lies in the demo's directory, or under /tmp when Postgres' user cannot go there.
async fn cluster(dir: &Path, say: &dyn Fn(&str)) -> Result<Cluster> {
    let options = |dir| Options { ephemeral: true, ..Options::durable(dir) };
    match Cluster::start(options(dir.join("postgres"))).await {
        Err(PostgresError::NotTraversable { user, parent }) => {
            let other = PathBuf::from(format!("/tmp/haetae-demo-{}", std::process::id()));
            say(&format!(
                "the user {user} cannot enter {}: its data go to {}",
                parent.display(),
                other.display()
            ));
            Ok(Cluster::start(options(other)).await?)
        }
        result => Ok(result?),
    }
}

async fn publish(
    pki: &Pki,
    port: u16,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Issuer> {
    let listener = TcpListener::bind(free(port)?).await?;
    let url = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
    let issuer = Issuer::create(&url, AUDIENCE)?;
    let answers = issuer.answers()?;
    let tls = door::server_config(&pki.server(By::Root, "issuer", None)?, None)?;
    let answer = move |_peer, request: hyper::Request<hyper::body::Incoming>| {
        std::future::ready(answers(request.method(), request.uri().path()))
    };
    tracker.spawn(door::serve(listener, tls, tracker.clone(), stop.clone(), answer));
    Ok(issuer)
}

/// The sites of the example registry, as far as the demo must know them to run them.
fn plans(
    registry: &Path,
    token_ms: Option<u64>,
    mut ports: impl Iterator<Item = u16>,
) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for id in SITES {
        let path = registry.join(format!("sites/{id}.toml"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
        let site: toml::Table = text.parse()?;
        let texts = |key: &str| -> Vec<String> {
            let list = site.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
            list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let name = site.get("name").and_then(toml::Value::as_str).unwrap_or(id);
        plans.push(Plan {
            id: id.to_owned(),
            place: name.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned(),
            models: texts("serves"),
            spiffe: texts("identities").into_iter().next().context("a site without identity")?,
            token_ms,
            address: free(ports.next().unwrap_or(0))?,
        });
    }
    Ok(plans)
}

/// Puts the running site's address in the place of the example's.
fn readdress(path: &Path, address: SocketAddr) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    let line = |line: &str| {
        if line.starts_with("base_url") {
            format!("base_url = \"https://127.0.0.1:{}\"\n", address.port())
        } else {
            format!("{line}\n")
        }
    };
    Ok(std::fs::write(path, text.lines().map(line).collect::<String>())?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("`{}`", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn certified(pki: &Pki) -> Result<BTreeMap<&'static str, Client>> {
    let client = |org: &'static str| {
        let spiffe = format!("spiffe://{org}.example/svc/assistant");
        let identity: Identity = pki.client(By::Clients, &format!("svc-{org}"), &spiffe)?;
        Ok((org, Client::new(&pki.ca(By::Root), Some(&identity))?))
    };
    ORGANISATIONS.into_iter().map(client).collect()
}

/// How the demo changes the registry.
pub const REGISTRY: [&str; 5] = ["registry", "--config", "haetae.toml", "--by", "haetae demo"];

const AUDIENCE: &str = "haetae";
const SITES: [&str; 3] = ["kr-seo-1", "eu-fra-1", "us-va-1"];
const MARK: &str = ".haetae-demo";
