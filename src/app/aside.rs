//! The processes beside the gateway (a site's guard, a regulator's witness): one service on one listener, health and metrics
//! on another, and an end in order.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, http::StatusCode, routing::get};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listen::{self, Factory, Listener, OnFault, Stop};
use crate::telemetry::Metrics;

/// A process that serves. Dropping it does not stop it: [`Running::stop`] does.
pub struct Running {
    address: SocketAddr,
    console: Option<SocketAddr>,
    edge: TaskTracker,
    inner: TaskTracker,
    stop: Stop,
    inner_stop: CancellationToken,
}

/// What a part is built with before it serves.
pub(super) struct Aside {
    /// Tasks that end after the last connection.
    pub inner: TaskTracker,
    pub inner_stop: CancellationToken,
    pub metrics: Metrics,
    /// What `/readyz` says: whether it is ready, and how it stands.
    pub ready: Ready,
    /// Told of what its listener refuses itself.
    pub on_fault: Option<OnFault>,
}

/// Asked for each `/readyz`.
pub(super) type Ready = Arc<dyn Fn() -> (bool, String) + Send + Sync>;

impl Aside {
    pub fn new() -> Self {
        Self {
            inner: TaskTracker::new(),
            inner_stop: CancellationToken::new(),
            metrics: Metrics::new(),
            ready: Arc::new(|| (true, "ready\n".to_owned())),
            on_fault: None,
        }
    }

    /// Binds both listeners and serves; the console last, because what it calls ready can be connected to.
    pub async fn serve(
        self,
        name: &'static str,
        listener: &listen::Config,
        console: Option<&listen::Config>,
        factory: impl Factory,
    ) -> anyhow::Result<Running> {
        let Self { inner, inner_stop, metrics, ready, on_fault } = self;
        let (edge, stop, wire) = (TaskTracker::new(), Stop::default(), listen::Metrics::default());
        metrics.with(|all| wire.register(all));
        let mut bound = Listener::bind(name, listener, &wire).await.context("`listen`")?;
        if let Some(on_fault) = on_fault {
            bound = bound.on_fault(on_fault);
        }
        let address = bound.local_addr();
        edge.spawn(bound.serve(factory, edge.clone(), stop.clone()));
        let console = match console {
            Some(config) => {
                let bound = Listener::bind("console", config, &wire).await.context("`console`")?;
                let address = bound.local_addr();
                super::serve_router(bound, router(metrics, ready), &edge, &stop);
                Some(address)
            }
            None => None,
        };
        Ok(Running { address, console, edge, inner, stop, inner_stop })
    }
}

fn router(metrics: Metrics, ready: Ready) -> Router {
    let readiness = move || async move {
        let (ready, said) = ready();
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, said)
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(move || async move { metrics.text() }))
}

impl Running {
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub const fn console_address(&self) -> Option<SocketAddr> {
        self.console
    }

    /// Nothing new is taken, what is under way may end within the listener's drain limit, then the inner tasks end.
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
