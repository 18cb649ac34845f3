//! Builds every part once, joins them, serves, drains in two steps.
//!
//! *Invariant:* no decision is made here; this room only knows who needs whom.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::{Router, body::Body};
use hyper::service::service_fn;
use sqlx::PgPool;
use tlog::tile::check_origin;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod aside;
pub mod guard;
pub mod witness;

use crate::audit::{Audit, Key, Text};
use crate::caller::{Callers, Connection};
use crate::clock::Clock;
use crate::config::Config;
use crate::console::{self, Part};
use crate::cosign::Cosign;
use crate::forward::Forward;
use crate::gate::strict::Authorities;
use crate::gate::{Gate, Rooms};
use crate::hold::Holds;
use crate::listen::{Listener, Peer, Stop};
use crate::mandate::{self, Mandate};
use crate::obligation::Obligations;
use crate::policy::{Policy, Unready};
use crate::privacy::Privacy;
use crate::registry::{Registry, Snapshot};
use crate::reserve::Reserve;
use crate::shadow::{self, Shadow};
use crate::telemetry::Metrics;
use crate::tiles::Tiles;
use crate::webhook::Webhooks;
use crate::{access, forward, gate, listen, webhook};

/// A gateway that serves. Dropping it does not stop it: [`Running::drain`] or [`Running::abort`] does.
pub struct Running {
    data: SocketAddr,
    console: SocketAddr,
    tiles: Option<SocketAddr>,
    gate: Arc<Gate>,
    edge: TaskTracker,
    inner: TaskTracker,
    stop: Stop,
    inner_stop: CancellationToken,
}

/// Builds the gateway from its configuration and serves until told to stop.
///
/// # Errors
/// When a part cannot be built: says which and why. Nothing serves then.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let clock = Clock::system();
    let (edge, inner) = (TaskTracker::new(), TaskTracker::new());
    let (stop, inner_stop) = (Stop::default(), CancellationToken::new());
    // Of its own for what no request waits for: it takes no connection from those that do.
    let aside = config.database.pool().await?;
    let rooms = build(&config, &aside, &clock, &inner, &inner_stop).await?;
    let shadow = rooms.shadow.clone();
    config.database.follow(&inner, &inner_stop);
    let mandate = mandate(aside.clone(), &rooms, &inner, &inner_stop).await?;
    let registry = Arc::clone(&rooms.registry);
    webhook::start(&config.webhooks, &aside, registry, &clock, &inner, &inner_stop)?;
    let metrics = Metrics::new();
    metrics.with(|all| rooms.audit.register(all));
    metrics.with(|all| rooms.forward.register(all));
    metrics.with(|all| rooms.callers.register(all));
    metrics.with(|all| rooms.policy.register(all));
    metrics.with(|all| rooms.obligations.register(all));
    metrics.with(|all| mandate.register(all));
    metrics.with(|all| shadow.register(all));
    let wire = listen::Metrics::default();
    metrics.with(|all| wire.register(all));
    let view = View {
        audit: Arc::clone(&rooms.audit),
        callers: Arc::clone(&rooms.callers),
        forward: Arc::clone(&rooms.forward),
        registry: Arc::clone(&rooms.registry),
        policy: Arc::clone(&rooms.policy),
        cosign: cosign(&config, &aside, &rooms, &inner, &inner_stop)?,
        mandate,
        shadow,
        clock: clock.clone(),
        kept: what_is_kept(Privacy::read(&config.privacy).context("`privacy`")?.as_ref()),
    };
    view.cosign.iter().for_each(|cosign| metrics.with(|all| cosign.register(all)));
    let authorities = Authorities::new(&config.authorities)?;
    let callers = Arc::clone(&rooms.callers);
    let reads = Readings {
        audit: Arc::clone(&rooms.audit),
        clock: clock.clone(),
        tracker: inner.clone(),
        stop: inner_stop.clone(),
    };
    let gate = Arc::new(Gate::new(&config.gate, rooms, authorities));
    metrics.with(|all| gate.register(all));
    inner.spawn(inner_stop.clone().run_until_cancelled_owned(Arc::clone(&gate).watch()));
    let engines = Arc::clone(&gate);
    let following = async move { engines.follow_access().await };
    inner.spawn(inner_stop.clone().run_until_cancelled_owned(following));
    let rechecking = Arc::clone(&gate);
    inner.spawn(inner_stop.clone().run_until_cancelled_owned(async move {
        rechecking.recheck().await;
    }));
    let comparing = Arc::clone(&gate);
    inner.spawn(inner_stop.clone().run_until_cancelled_owned(async move {
        comparing.judge_beside().await;
    }));

    let sources = console_sources(&config, view, metrics).await?;
    let tiles = serve_tiles(&config, &wire, (callers, reads), &edge, &stop).await?;
    let data = serve_data(&config, &wire, &gate, &edge, &stop).await?;
    // Last: what it calls ready can be connected to.
    let console = serve_console(&config, &wire, sources, &edge, &stop).await?;
    Ok(Running { data, console, tiles, gate, edge, inner, stop, inner_stop })
}

/// Whether a gateway could be built from what lies on this machine: keys and values, the bundle, the log's key.
///
/// # Errors
/// What is wrong, as [`start`] would say it.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    Authorities::new(&config.authorities)?;
    bundle(config, &Clock::system()).await?;
    for path in std::iter::once(&config.audit.key_file).chain(&config.audit.also_sign_with) {
        Key::read(path)?;
    }
    tracing::info!(
        "{}",
        what_is_kept(Privacy::read(&config.privacy).context("`privacy`")?.as_ref())
    );
    Ok(())
}

impl Running {
    #[must_use]
    pub const fn data_address(&self) -> SocketAddr {
        self.data
    }

    #[must_use]
    pub const fn console_address(&self) -> SocketAddr {
        self.console
    }

    /// Where the log is served, if it is.
    #[must_use]
    pub const fn tiles_address(&self) -> Option<SocketAddr> {
        self.tiles
    }

    /// First step: nothing new is taken, what is under way may end (bounded by the listener's drain limit).
    pub async fn drain(&self) {
        self.gate.drain();
        self.stop.soft.cancel();
        self.edge.close();
        self.edge.wait().await;
    }

    /// Second step: what is left is cut. Its ALLOWs end as `partial`.
    pub fn abort(&self) {
        self.stop.soft.cancel();
        self.stop.hard.cancel();
    }

    /// After [`Running::drain`] or [`Running::abort`]: flushes the log and closes the lanes.
    pub async fn stopped(&self) {
        self.edge.close();
        self.edge.wait().await;
        // If we stop here, then ends of finished requests are missing: the next start closes them as `unknown_crash`.
        self.inner_stop.cancel();
        self.inner.close();
        if tokio::time::timeout(FLUSH_MAX, self.inner.wait()).await.is_err() {
            tracing::warn!("the log was not flushed in time: the next start closes what is open");
        }
    }
}

async fn build(
    config: &Config,
    aside: &PgPool,
    clock: &Clock,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Rooms> {
    let policy = bundle(config, clock).await?;
    let callers = Callers::new(&config.identity, clock.clone()).await.context("`identity`")?;
    callers.keep_fresh(tracker, stop);
    let pool = config.database.pool().await?;
    // Of its own, though it takes one connection of it: whoever fills the pool with what waits keeps no gateway from what is true.
    let watched = config.database.pool().await?;
    let registry = Registry::start(watched, clock.clone(), tracker, stop.clone())
        .await
        .context("the registry cannot be read: has `haetae migrate` run?")?;
    let forward = Forward::new(&config.forward, tracker, stop.clone()).context("`forward`")?;
    let policy = Arc::new(policy);
    let reserve = Reserve::start(pool.clone(), tracker, stop.clone());
    let holds = Holds::new(pool.clone());
    let webhooks = Webhooks::new(&config.webhooks, pool.clone());
    let obligations = Obligations::start(pool.clone(), aside, clock.clone(), tracker, stop);
    let access = access::Desk::new(pool.clone());
    let privacy = Privacy::read(&config.privacy).context("`privacy`")?.map(Arc::new);
    let audit = Audit::start(&config.audit, privacy, pool, clock.clone(), tracker, stop.clone())
        .context("the audit log cannot be opened")?;
    // Of its own: whoever reads records takes no connection from decisions, nor from the console.
    let reads = config.database.reader_pool().await?;
    let (registry, forward) = (Arc::new(registry), Arc::new(forward));
    follow_sites(Arc::clone(&registry), Arc::clone(&forward), tracker, stop.clone());
    follow_altered(&registry, audit.clone(), tracker, stop.clone());
    let instance = audit.new_id()?;
    let (pool, clock, shelf) = (aside.clone(), clock.clone(), Arc::clone(&policy));
    let parts = shadow::Parts { pool, clock: clock.clone(), policy: shelf, instance };
    let shadow = Shadow::start(parts, tracker, stop.clone());
    Ok(Rooms {
        callers: Arc::new(callers),
        registry,
        policy,
        audit: Arc::new(audit),
        shadow,
        forward,
        reserve: Arc::new(reserve),
        holds,
        obligations,
        webhooks,
        access,
        reads,
        clock,
    })
}

/// Has the bundle in force at hand before anything is asked, or says why it has not.
async fn mandate(
    pool: PgPool,
    rooms: &Rooms,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Mandate> {
    let parts = mandate::Parts {
        pool,
        clock: rooms.clock.clone(),
        policy: Arc::clone(&rooms.policy),
        registry: Arc::clone(&rooms.registry),
        audit: Arc::clone(&rooms.audit),
    };
    let mandate = Mandate::start(parts, rooms.audit.new_id()?, tracker, stop.clone()).await;
    let now = rooms.clock.unix_s();
    // Which rules this process judges with, from here on. Later changes are told by whoever makes them.
    match gate::bundle_in_force(&rooms.policy, &rooms.registry.current(), now) {
        Ok(bundle) => {
            let text = Text::new(bundle.texts().to_vec().into());
            rooms.audit.policy_changed(text.digest, None);
        }
        Err(unready) => tracing::error!(%unready, "every request will be refused"),
    }
    Ok(mandate)
}

async fn bundle(config: &Config, clock: &Clock) -> anyhow::Result<Policy> {
    let Some(dir) = &config.policy.dir else { return Ok(Policy::new(None)) };
    let loaded = Policy::load(dir, clock.unix_s()).await;
    loaded.with_context(|| format!("the policy bundle `{}` cannot be used", dir.display()))
}

/// Puts into the log that entries of the registry were altered in the database, as often as this process sees it anew.
fn follow_altered(
    registry: &Registry,
    audit: Audit,
    tracker: &TaskTracker,
    stop: CancellationToken,
) {
    let mut altered = registry.altered();
    altered.mark_changed();
    tracker.spawn(stop.run_until_cancelled_owned(async move {
        while altered.changed().await.is_ok() {
            let about = altered.borrow_and_update().as_deref().map(str::to_owned);
            if let Some(about) = about {
                audit.alarm("facts_altered", about, None);
            }
        }
    }));
}

/// Keeps the forward room's sites those of the registry.
fn follow_sites(
    registry: Arc<Registry>,
    forward: Arc<Forward>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) {
    let mut changed = registry.changed();
    forward.set_sites(sites(&registry.current()));
    tracker.spawn(stop.run_until_cancelled_owned(async move {
        while changed.changed().await.is_ok() {
            forward.set_sites(sites(&registry.current()));
        }
    }));
}

fn sites(snapshot: &Snapshot) -> Vec<forward::Site> {
    snapshot
        .sites()
        .map(|entry| forward::Site {
            id: Arc::clone(&entry.id),
            base_url: entry.base_url.to_string(),
            ca_pem: entry.ca_pem.to_string(),
            identity: Arc::clone(&entry.identity),
        })
        .collect()
}

async fn serve_data(
    config: &Config,
    wire: &listen::Metrics,
    gate: &Arc<Gate>,
    tracker: &TaskTracker,
    stop: &Stop,
) -> anyhow::Result<SocketAddr> {
    let faults = Arc::clone(gate);
    let listener = Listener::bind("data", &config.listen, wire)
        .await
        .context("`listen`")?
        .on_fault(Arc::new(move |peer: &Peer, fault| faults.fault(peer.remote, fault.code())));
    let address = listener.local_addr();
    let gate = Arc::clone(gate);
    let factory = move |peer: Arc<Peer>| {
        let connection = Arc::new(Connection::new(peer.remote, peer.certificate.as_ref()));
        let gate = Arc::clone(&gate);
        service_fn(move |request| {
            let (gate, connection) = (Arc::clone(&gate), Arc::clone(&connection));
            async move { Ok::<_, Infallible>(gate.handle(&connection, request).await) }
        })
    };
    tracker.spawn(listener.serve(factory, tracker.clone(), stop.clone()));
    Ok(address)
}

async fn serve_console(
    config: &Config,
    wire: &listen::Metrics,
    sources: console::Sources,
    tracker: &TaskTracker,
    stop: &Stop,
) -> anyhow::Result<SocketAddr> {
    let listener = Listener::bind("console", &config.console, wire).await.context("`console`")?;
    let address = listener.local_addr();
    serve_router(listener, console::router(sources), tracker, stop);
    Ok(address)
}

fn serve_router(listener: Listener, router: Router, tracker: &TaskTracker, stop: &Stop) {
    let factory = move |_: Arc<Peer>| {
        let router = router.clone();
        service_fn(move |request: http::Request<listen::RequestBody>| {
            let router = router.clone();
            async move { tower::ServiceExt::oneshot(router, request.map(Body::new)).await }
        })
    };
    tracker.spawn(listener.serve(factory, tracker.clone(), stop.clone()));
}

/// What the tiles' readers are told to.
struct Readings {
    audit: Arc<Audit>,
    clock: Clock,
    /// Tasks that end after the last connection.
    tracker: TaskTracker,
    stop: CancellationToken,
}

async fn serve_tiles(
    config: &Config,
    wire: &listen::Metrics,
    (callers, reads): (Arc<Callers>, Readings),
    tracker: &TaskTracker,
    stop: &Stop,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(settings) = &config.tiles else { return Ok(None) };
    let origin = &config.audit.origin;
    check_origin(origin).with_context(|| {
        format!("`tiles` cannot serve `{origin}`: take `tiles` out, or a new origin with a new, empty database")
    })?;
    let listener = Listener::bind("tiles", &settings.listen, wire).await.context("`tiles`")?;
    let address = listener.local_addr();
    // A pool of its own: whoever fetches tiles takes no connection from the console.
    let pool = config.database.reader_pool().await?;
    let tiles = Arc::new(Tiles::new(settings, origin, pool, callers));
    let Readings { audit, clock, tracker: inner, stop: inner_stop } = reads;
    inner.spawn(Arc::clone(&tiles).tell(audit, clock, inner_stop));
    let factory = move |peer: Arc<Peer>| {
        let connection = Arc::new(Connection::new(peer.remote, peer.certificate.as_ref()));
        let tiles = Arc::clone(&tiles);
        service_fn(move |request: http::Request<listen::RequestBody>| {
            let (tiles, connection) = (Arc::clone(&tiles), Arc::clone(&connection));
            let (head, _unread) = request.into_parts();
            let request = http::Request::from_parts(head, ());
            async move { Ok::<_, Infallible>(tiles.handle(&connection, &request).await) }
        })
    };
    tracker.spawn(listener.serve(factory, tracker.clone(), stop.clone()));
    Ok(Some(address))
}

/// What becomes of the values behind the log's salted digests.
fn what_is_kept(privacy: Option<&Privacy>) -> String {
    match privacy {
        Some(privacy) => format!(
            "values behind salted digests are kept, sealed under the master key `{}`",
            privacy.id()
        ),
        None => "no `[privacy] keys`: values behind salted digests are not kept, and can never be disclosed".to_owned(),
    }
}

/// What the console may look at.
struct View {
    audit: Arc<Audit>,
    callers: Arc<Callers>,
    forward: Arc<Forward>,
    registry: Arc<Registry>,
    policy: Arc<Policy>,
    mandate: Mandate,
    shadow: Shadow,
    clock: Clock,
    cosign: Option<Cosign>,
    /// What is kept of people.
    kept: String,
}

/// Has the log's checkpoints cosigned, where somebody is there to do it.
fn cosign(
    config: &Config,
    pool: &PgPool,
    rooms: &Rooms,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Cosign>> {
    if config.cosign.witnesses.is_empty() {
        return Ok(None);
    }
    let cosign = Cosign::start(&config.cosign, pool, &rooms.audit, Clock::system(), tracker, stop);
    Ok(Some(cosign.context("`cosign`")?))
}

async fn console_sources(
    config: &Config,
    view: View,
    metrics: Metrics,
) -> anyhow::Result<console::Sources> {
    let view = Arc::new(view);
    let (parts, in_force) = (Arc::clone(&view), view);
    Ok(console::Sources {
        pool: config.database.reader_pool().await?,
        parts: Arc::new(move || parts.parts()),
        metrics: Arc::new(move || metrics.text()),
        in_force: Arc::new(move || in_force.in_force()),
    })
}

impl View {
    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![];
        let audit = self.audit.health();
        let cause = if audit.causes.is_empty() {
            format!("{} records wait for their rows", audit.projection_lag)
        } else {
            audit.causes.join("; ")
        };
        parts.push(Part { name: "audit".into(), ready: audit.ready, cause });
        parts.push(Part { name: "privacy".into(), ready: true, cause: self.kept.clone() });
        // What speaks against it stands among the causes of `audit`.
        parts.push(Part { name: "durability".into(), ready: true, cause: audit.durability });
        let registry = self.registry.health();
        parts.push(Part {
            name: "registry".into(),
            ready: registry.ready(),
            cause: registry.cause(),
        });
        let policy = self.mandate.health();
        parts.push(Part { name: "policy".into(), ready: policy.ready, cause: policy.cause });
        if let Some(cause) = self.shadow.health() {
            // Nothing rests on it.
            parts.push(Part { name: "shadow".into(), ready: true, cause });
        }
        for (issuer, ready, cause) in self.callers.health() {
            parts.push(Part { name: format!("issuer {issuer}"), ready, cause });
        }
        for witness in self.cosign.iter().flat_map(Cosign::health) {
            // Nothing waits for a witness; who relies on it reads here how it stands.
            let age = witness.age_s.map(|age| format!("last cosignature {age} s ago"));
            let age = age.unwrap_or_else(|| "no cosignature since the start".to_owned());
            let cause = witness.trouble.map_or_else(|| age.clone(), |why| format!("{age}; {why}"));
            parts.push(Part { name: format!("witness {}", witness.witness), ready: true, cause });
        }
        for site in self.forward.health() {
            // A site that is down is reported, not a reason to take no traffic for the others.
            let cause = site.why.unwrap_or_else(|| format!("{} in flight", site.in_flight));
            parts.push(Part { name: format!("site {}", site.id), ready: true, cause });
        }
        parts
    }

    fn in_force(&self) -> serde_json::Value {
        let snapshot = self.registry.current();
        let bundle = gate::bundle_in_force(&self.policy, &snapshot, self.clock.unix_s());
        let digest = bundle.as_ref().map(|bundle| bundle.digest());
        let unready = bundle.as_ref().err().map(Unready::to_string);
        serde_json::json!({
            "build": env!("CARGO_PKG_VERSION"),
            "bundle": digest.ok(),
            "bundle_files": bundle.as_ref().ok().map(|bundle| bundle.content_digest()),
            "bundle_since": snapshot.in_force().map_or(0, |named| named.since),
            "bundle_unready": unready,
            "fact_version": snapshot.version(),
        })
    }
}

/// The listener's drain limit has passed by then; this bounds the last commits.
const FLUSH_MAX: Duration = Duration::from_secs(10);
