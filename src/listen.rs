//! Bind, TLS, limits, stop: gives a connection with its peer certificate.
//!
//! In: a socket. Out: parsed requests for the service that the factory makes for each connection, on HTTP/1.1 or
//! HTTP/2, with every limit of the wire already held.
//!
//! *Invariant:* knows nothing of requests: no route, no caller, no policy. And no HTTP/1 head reaches the parser
//! before `framing` has found exactly one way to read it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::http::{Request, Response};
use hyper::service::Service;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod body;
mod config;
mod connection;
mod fault;
mod files;
mod framing;
mod host;
mod metrics;
mod places;
mod tls;
mod turn;
mod wire;

pub use body::{Answer, RequestBody};
pub use config::{ClientCertificates, Config, ConfigError, Limits, Tls};
pub use fault::Fault;
pub use metrics::Metrics;

use connection::Common;
use metrics::Counters;
use places::Places;
use tls::Keeper;

/// What the handshake established about the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    pub remote: SocketAddr,
    /// The client's leaf certificate, verified against the configured CAs; absent if none was given.
    pub certificate: Option<CertificateDer<'static>>,
    /// The server name the client asked for (SNI), lower case.
    pub server_name: Option<Arc<str>>,
    /// Negotiated protocol: `h2` or `http/1.1`.
    pub alpn: &'static str,
}

/// The two steps of stopping. The app owns the tokens: soft on the first signal, hard on the second or at a deadline.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Accept nothing new, tell clients to leave, let what is in flight finish.
    pub soft: CancellationToken,
    /// Drop what is left.
    pub hard: CancellationToken,
}

/// Told of each request that was refused below HTTP, for the aggregate of unidentified refusals.
pub type OnFault = Arc<dyn Fn(&Peer, Fault) + Send + Sync>;

/// What a service may answer with: a body of plain bytes that may be moved.
pub trait ResponseBody:
    http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
    + Send
    + Unpin
    + 'static
{
}

impl<B> ResponseBody for B where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// Makes the service of each connection. Any `Fn(Arc<Peer>) -> Service` is one; so the app can join this room to the
/// gate without either knowing the other. A service answers everything, so it has no error.
pub trait Factory: Send + Sync + 'static {
    type Body: ResponseBody;
    type Service: Service<
            Request<RequestBody>,
            Response = Response<Self::Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Send
        + Sync
        + 'static;

    fn service(&self, peer: Arc<Peer>) -> Self::Service;
}

impl<F, S, B> Factory for F
where
    F: Fn(Arc<Peer>) -> S + Send + Sync + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: ResponseBody,
{
    type Body = B;
    type Service = S;

    fn service(&self, peer: Arc<Peer>) -> S {
        self(peer)
    }
}

/// A bound socket, not yet serving.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
    tls: Option<Arc<Keeper>>,
    counters: Counters,
    on_fault: Option<OnFault>,
    here_only: bool,
}

/// Reloads certificates and tells of their state while the listener serves.
#[derive(Clone)]
pub struct Reloader(Option<Arc<Keeper>>);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections dropped with something in flight, at the deadline or on the hard stop.
    pub aborted: usize,
}

impl Listener {
    /// Reads the certificates and binds. `name` is the `listener` label of the metrics.
    pub async fn bind(
        name: &'static str,
        config: &Config,
        metrics: &Metrics,
    ) -> Result<Self, ConfigError> {
        Self::bind_at(name, config, metrics, Arc::new(DefaultTimeProvider)).await
    }

    /// The same, with the time that client certificates are held against.
    pub async fn bind_at(
        name: &'static str,
        config: &Config,
        metrics: &Metrics,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let counters = metrics.of(name);
        let tls = match &config.tls {
            Some(tls) => Some(Arc::new(Keeper::load(tls.clone(), counters.clone(), time)?)),
            None => None,
        };
        let bound = TcpListener::bind(config.address).await;
        let cause = |cause| ConfigError::Bind { address: config.address, cause };
        let socket = bound.map_err(cause)?;
        let address = socket.local_addr().map_err(cause)?;
        let connections = files::fitting(config.limits.connections);
        let limits = Limits { connections, ..config.limits.clone() };
        let here_only = name == CONSOLE && config.is_open_here();
        Ok(Self { socket, address, limits, tls, counters, on_fault: None, here_only })
    }

    #[must_use]
    pub fn on_fault(mut self, on_fault: OnFault) -> Self {
        self.on_fault = Some(on_fault);
        self
    }

    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(self.tls.clone())
    }

    /// Serves until `stop.soft`, then drains: returns when the last connection is closed, at the latest after the
    /// drain limit. The factory is called once for each connection. All tasks run on `tracker`.
    pub async fn serve(self, factory: impl Factory, tracker: TaskTracker, stop: Stop) -> Drained {
        let Self { socket, limits, tls, counters, on_fault, here_only, .. } = self;
        if let Some(keeper) = &tls {
            tracker.spawn(Arc::clone(keeper).watch(stop.soft.clone()));
        }
        let drain = limits.drain();
        let hard = stop.hard.child_token();
        let places = Places::new(&limits, tls.as_ref().is_some_and(|tls| tls.demands()));
        let common = Arc::new(Common {
            factory,
            limits,
            tls,
            counters,
            on_fault,
            here_only,
            tracker: tracker.clone(),
            soft: stop.soft.clone(),
            hard: hard.clone(),
        });
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.soft.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            let Ok((stream, remote)) = accepted else {
                // out of file descriptors, or the client left already: go on, but do not spin
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // before the handshake, so that a flood costs an accept and a close, not a key exchange
            let place = match places.take(remote.ip()) {
                Ok(place) => place,
                Err(full) => {
                    common.counters.refused(full);
                    continue;
                }
            };
            common.counters.accepted.inc();
            let run = Arc::clone(&common).connection(stream, remote, place);
            tracker.spawn(connections.track_future(run));
        }
        drop(socket);
        finish(&connections, drain, &hard).await
    }
}

async fn finish(
    connections: &TaskTracker,
    drain: std::time::Duration,
    hard: &CancellationToken,
) -> Drained {
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = hard.cancelled() => {}
        () = tokio::time::sleep(drain) => {}
    }
    let aborted = connections.len();
    hard.cancel();
    connections.wait().await;
    Drained { aborted }
}

impl Reloader {
    /// Reads the files again now. True if they had changed. A bad file keeps what is in use and is reported.
    pub fn reload(&self) -> Result<bool, ConfigError> {
        self.0.as_ref().map_or(Ok(false), |keeper| keeper.reload())
    }

    /// Why the files on disk are not the ones in use, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.as_ref().and_then(|keeper| keeper.trouble())
    }
}

/// The listener of this name shows what it has to whoever reaches it; the others ask for a token or a receipt, or show what
/// everybody may see, and may stand behind a proxy that brings its clients' names along.
const CONSOLE: &str = "console";
/// After a failed accept. EMFILE persists until something closes; 50 ms means at most 20 tries a second.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
