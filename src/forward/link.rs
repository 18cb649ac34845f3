//! One TLS connection to a site, driven by whoever uses it, and the pool of idle ones.
//!
//! hyper's connection is a future that somebody must poll. Usually that is a task of its own, with a channel and a
//! wake-up for each chunk; here it is the response's body. An idle connection is polled by nobody: it is asked once when
//! it is taken out.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{Config, Failure, identity, site::Endpoint};

/// An open connection whose other end has shown the pinned identity.
pub struct Link {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>>,
    /// The connection's future has finished and must not be polled again.
    finished: bool,
    /// The identity as pinned.
    pub identity: Arc<str>,
    opened: Instant,
    idle_since: Instant,
}

/// A request did not get its answer's head.
pub struct NoAnswer {
    /// False when not one byte of it was written.
    pub reached: bool,
}

impl Link {
    /// Connects, within the configured time. Boxed: it is moved often and is large.
    pub async fn open(endpoint: &Endpoint, config: &Config) -> Result<Box<Self>, Failure> {
        let limit = Duration::from_millis(config.connect_ms);
        // Most requests find an open one, and do not carry the room for this.
        let connecting = Box::pin(Self::connect(endpoint));
        timeout(limit, connecting).await.unwrap_or(Err(Failure::ConnectTimeout))
    }

    async fn connect(endpoint: &Endpoint) -> Result<Box<Self>, Failure> {
        let address = (endpoint.host.as_str(), endpoint.port);
        let tcp = TcpStream::connect(address).await.map_err(|_| Failure::Unreachable)?;
        tcp.set_nodelay(true).map_err(|_| Failure::Unreachable)?;
        let tls = endpoint.tls.connect(endpoint.name.clone(), tcp).await;
        let tls = tls.map_err(|error| no_handshake(endpoint, &error))?;
        let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = shown.and_then(|leaf| endpoint.pin.seen(leaf)).ok_or(Failure::Identity)?;
        let (sender, connection) = Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| Failure::Unreachable)?;
        let now = Instant::now();
        Ok(Box::new(Self {
            sender,
            connection,
            finished: false,
            identity,
            opened: now,
            idle_since: now,
        }))
    }

    /// Sends the request and waits for the head of the answer, driving the connection meanwhile.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let mut reply = pin!(self.sender.try_send_request(request));
        let (connection, finished) = (&mut self.connection, &mut self.finished);
        let answer = std::future::poll_fn(|context| {
            if let Poll::Ready(answer) = reply.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            *finished = *finished || Pin::new(&mut *connection).poll(context).is_ready();
            match reply.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if *finished => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match answer.await {
            Some(Ok(response)) => Ok(response),
            // hyper gives the request back if and only if it wrote nothing of it.
            Some(Err(error)) => Err(NoAnswer { reached: error.message().is_none() }),
            None => Err(NoAnswer { reached: true }),
        }
    }

    /// Moves bytes. After this the body may have a frame, and the connection may be at its end.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        self.finished = self.finished || Pin::new(&mut self.connection).poll(context).is_ready();
    }

    /// True when the connection is open, has nothing under way, and can take a request.
    fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.finished && self.sender.is_ready()
    }
}

/// Says why: from the failure alone nobody could tell a certificate that ended from another server at the address.
fn no_handshake(endpoint: &Endpoint, cause: &std::io::Error) -> Failure {
    let site = endpoint.authority();
    if identity::is_mismatch(cause) {
        tracing::warn!(site, %cause, "a site did not prove its identity");
        return Failure::Identity;
    }
    tracing::warn!(site, %cause, "a site made no TLS connection");
    Failure::Unreachable
}

/// Idle connections of one site, the last used on top.
pub struct Pool {
    // Held for a push or a pop; never across an await.
    #[expect(
        clippy::vec_box,
        reason = "a link moves between the pool and a body: 8 bytes, not some 2,000"
    )]
    idle: Mutex<Vec<Box<Link>>>,
    max: usize,
    idle_max: Duration,
    age_max: Duration,
}

impl Pool {
    pub fn new(config: &Config) -> Self {
        Self {
            idle: Mutex::default(),
            max: config.pool_max,
            idle_max: Duration::from_millis(config.pool_idle_ms),
            age_max: Duration::from_millis(config.pool_age_ms),
        }
    }

    /// A connection that is still open, as far as can be known without sending.
    pub fn take(&self) -> Option<Box<Link>> {
        loop {
            let mut link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if self.is_fresh(&link, Instant::now()) && link.is_idle() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end; closes any other.
    pub fn put(&self, mut link: Box<Link>) {
        if !link.is_idle() {
            return;
        }
        link.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.max {
            idle.push(link);
        }
    }

    /// Closes what is too old or was closed by the site; returns how many are left.
    pub fn sweep(&self) -> usize {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|link| self.is_fresh(link, now) && link.is_idle());
        idle.len()
    }

    fn is_fresh(&self, link: &Link, now: Instant) -> bool {
        now < link.idle_since + self.idle_max && now < link.opened + self.age_max
    }
}

/// Bytes of hyper's read and write buffers for each connection, which begin small and grow: 256 connections x 2 x
/// 64 KiB = 32 MiB at the worst.
const BUFFER_MAX: usize = 64 << 10;
