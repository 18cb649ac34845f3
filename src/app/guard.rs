//! Builds a site's guard, joins it to its listeners, serves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, routing::get};
use hyper::service::service_fn;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller;
use crate::clock::Clock;
use crate::guard::{Config, Guard};
use crate::listen::{self, Listener, Peer, Stop};
use crate::telemetry::Metrics;

/// A guard that serves. Dropping it does not stop it: [`Running::stop`] does.
pub struct Running {
    site: SocketAddr,
    console: Option<SocketAddr>,
    edge: TaskTracker,
    inner: TaskTracker,
    stop: Stop,
    inner_stop: CancellationToken,
}

/// # Errors
/// When a part cannot be built: says which and why. Nothing serves then.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let (edge, inner) = (TaskTracker::new(), TaskTracker::new());
    let (stop, inner_stop) = (Stop::default(), CancellationToken::new());
    let guard = Arc::new(Guard::start(&config, Clock::system(), &inner, inner_stop.clone())?);
    let (metrics, wire) = (Metrics::new(), listen::Metrics::default());
    metrics.with(|all| guard.register(all));
    metrics.with(|all| wire.register(all));
    let console = match &config.console {
        Some(console) => Some(serve_console(console, &wire, metrics, &edge, &stop).await?),
        None => None,
    };
    let site = serve_site(&config, &wire, guard, &edge, &stop).await?;
    Ok(Running { site, console, edge, inner, stop, inner_stop })
}

impl Running {
    #[must_use]
    pub const fn site_address(&self) -> SocketAddr {
        self.site
    }

    #[must_use]
    pub const fn console_address(&self) -> Option<SocketAddr> {
        self.console
    }

    /// Nothing new is taken, what is under way may end within the listener's drain limit, the journal is brought to the disk.
    pub async fn stop(&self) {
        self.stop.soft.cancel();
        self.edge.close();
        self.edge.wait().await;
        self.inner_stop.cancel();
        self.inner.close();
        self.inner.wait().await;
    }

    /// Cuts what is under way.
    pub fn abort(&self) {
        self.stop.hard.cancel();
    }
}

async fn serve_site(
    config: &Config,
    wire: &listen::Metrics,
    guard: Arc<Guard>,
    tracker: &TaskTracker,
    stop: &Stop,
) -> anyhow::Result<SocketAddr> {
    let listener = Listener::bind("site", &config.listen, wire).await.context("`listen`")?;
    let address = listener.local_addr();
    let factory = move |peer: Arc<Peer>| {
        let network: Arc<str> = caller::network(peer.remote.ip()).into();
        let guard = Arc::clone(&guard);
        service_fn(move |request| {
            let (guard, network) = (Arc::clone(&guard), Arc::clone(&network));
            async move { Ok::<_, Infallible>(guard.handle(&network, request).await) }
        })
    };
    tracker.spawn(listener.serve(factory, tracker.clone(), stop.clone()));
    Ok(address)
}

async fn serve_console(
    config: &listen::Config,
    wire: &listen::Metrics,
    metrics: Metrics,
    tracker: &TaskTracker,
    stop: &Stop,
) -> anyhow::Result<SocketAddr> {
    let listener = Listener::bind("console", config, wire).await.context("`console`")?;
    let address = listener.local_addr();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ready\n" }))
        .route("/metrics", get(move || async move { metrics.text() }));
    super::serve_router(listener, router, tracker, stop);
    Ok(address)
}
