//! One connection from its handshake to its end.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::http::{HeaderValue, Request, Response, header};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{Answer, RequestBody};
use super::config::{
    BUFFER_BYTES_MAX, H2_CONNECTION_WINDOW, H2_PING_ANSWER, H2_PING_EVERY, H2_RESETS_LOCAL_MAX,
    H2_RESETS_PENDING_MAX, H2_SEND_BUFFER, H2_STREAM_WINDOW, HEAD_BYTES_MAX, IDLE_LOOKS, Limits,
};
use super::fault::Fault;
use super::metrics::Counters;
use super::places::Place;
use super::tls::{Keeper, Term, failure_kind};
use super::turn::watched;
use super::wire::Wire;
use super::{Factory, OnFault, Peer, ResponseBody, host};

/// What all connections of a listener share.
pub(super) struct Common<F> {
    pub factory: F,
    pub limits: Limits,
    pub tls: Option<Arc<Keeper>>,
    pub counters: Counters,
    pub on_fault: Option<OnFault>,
    /// Takes no other name in a request than one of this machine's own.
    pub here_only: bool,
    pub tracker: TaskTracker,
    pub soft: CancellationToken,
    pub hard: CancellationToken,
}

impl<F: Factory> Common<F> {
    pub async fn connection(self: Arc<Self>, stream: TcpStream, remote: SocketAddr, place: Place) {
        let _open = Open::new(&self.counters, place);
        // a lost option costs latency, not correctness
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => {
                let peer = Peer { remote, certificate: None, server_name: None, alpn: HTTP_1 };
                self.http(stream, peer, None).await;
            }
            Some(keeper) => {
                let shaking = keeper.acceptor().accept(stream);
                let shaken = tokio::select! {
                    () = self.hard.cancelled() => return,
                    shaken = tokio::time::timeout(self.limits.handshake(), shaking) => shaken,
                };
                match shaken {
                    Ok(Ok(stream)) => {
                        let peer = peer_of(&stream, remote);
                        let term = peer.certificate.as_ref().map(|leaf| keeper.term(leaf));
                        self.http(stream, peer, term.map(Arc::new)).await;
                    }
                    Ok(Err(error)) => self.counters.handshake_failure(failure_kind(&error)),
                    Err(_) => self.counters.handshake_failure("timeout"),
                }
            }
        }
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        term: Option<Arc<Term>>,
    ) {
        let peer = Arc::new(peer);
        let vitals = Arc::new(Vitals::default());
        let alpn = peer.alpn;
        let desk = Desk {
            inner: self.factory.service(Arc::clone(&peer)),
            vitals: Arc::clone(&vitals),
            limits: self.limits.clone(),
            counters: self.counters.clone(),
            on_fault: self.on_fault.clone(),
            here_only: self.here_only,
            term: term.clone(),
            peer,
        };
        let service = service_fn(move |request| desk.serve(request));
        if alpn == HTTP_2 {
            let io = TokioIo::new(Wire::http2(stream, Arc::clone(&vitals)));
            let streams = Streams {
                tracker: self.tracker.clone(),
                idle: self.limits.idle(),
                stalled: self.counters.stalled.clone(),
            };
            let built = h2_builder(&self.limits, streams).serve_connection(io, service);
            self.drive(built, &vitals, term.as_deref()).await;
        } else {
            let wire = Wire::http1(stream, Arc::clone(&vitals), self.limits.head_read());
            let built = h1_builder().serve_connection(TokioIo::new(wire), service);
            self.drive(built, &vitals, term.as_deref()).await;
        }
    }

    /// Runs the connection until it ends, and ends it when it is idle, old, stuck, its client's certificate is over, or the
    /// listener stops.
    async fn drive<C: GracefulConnection>(
        &self,
        connection: C,
        vitals: &Vitals,
        term: Option<&Term>,
    ) {
        let mut connection = std::pin::pin!(connection);
        let look = self.limits.idle() / IDLE_LOOKS;
        let born = Instant::now();
        let mut quiet = Quiet::default();
        let mut leaving = false;
        let mut tick = std::pin::pin!(tokio::time::sleep(look));
        loop {
            tokio::select! {
                biased;
                // an error here is the client's doing (reset, bad frame) and ends only this connection
                _ = connection.as_mut() => return,
                () = self.hard.cancelled() => return,
                () = self.soft.cancelled(), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tick.as_mut() => {
                    let (idle, age) = (quiet.look(vitals), born.elapsed());
                    if idle.stuck || (idle.empty && leaving) || age >= self.limits.end() {
                        return;
                    }
                    let over = term.is_some_and(|term| !term.is_now());
                    if !leaving && (idle.empty || over || age >= self.limits.connection_age()) {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    tick.as_mut().reset(Instant::now() + look);
                }
            }
        }
    }
}

/// One of the open connections: counted and under the cap, also when its task panics.
struct Open {
    gauge: Gauge,
    _place: Place,
}

impl Open {
    fn new(counters: &Counters, place: Place) -> Self {
        counters.open.inc();
        Self { gauge: counters.open.clone(), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Stands before the service on one connection.
struct Desk<S> {
    inner: S,
    vitals: Arc<Vitals>,
    limits: Limits,
    counters: Counters,
    on_fault: Option<OnFault>,
    here_only: bool,
    term: Option<Arc<Term>>,
    peer: Arc<Peer>,
}

impl<S, B> Desk<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: ResponseBody,
{
    fn serve(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer<B>>, Infallible>> + use<S, B> {
        let number = self.vitals.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = self.vitals.fault_at(number).or_else(|| self.fault_of(&request)) {
            self.counters.fault(fault.code());
            if let Some(on_fault) = &self.on_fault {
                on_fault(&self.peer, fault);
            }
            return Either::Left(ready(Ok(refusal(fault, self.peer.alpn))));
        }
        let flight = Flight::start(Arc::clone(&self.vitals));
        // In a box: hyper and we move it several times before it first runs, and it is large.
        let serving =
            Box::pin(self.inner.call(request.map(|body| RequestBody::new(body, &self.limits))));
        Either::Right(async move {
            let answer = |body| Answer::Service { body, rest: Bytes::new(), flight };
            serving.await.map(|response| response.map(answer))
        })
    }

    /// What is wrong with a request whose head can be read.
    fn fault_of(&self, request: &Request<Incoming>) -> Option<Fault> {
        // The handshake looked once, and the connection may be hours old.
        if self.term.as_ref().is_some_and(|term| !term.is_now()) {
            return Some(Fault::CertificateTerm);
        }
        (self.here_only && !host::is_this_machine(request)).then_some(Fault::HostElsewhere)
    }
}

/// Signs of life of one connection. Written by its stream and its service, read by its driver.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// Requests handed to the service.
    requests: AtomicU64,
    /// Of these, not yet answered to the last byte.
    in_flight: AtomicU32,
    written: AtomicU64,
    /// The last write found no room.
    blocked: AtomicBool,
    /// The number of the request that the stream refused, and why.
    fault: OnceLock<(u64, Fault)>,
}

impl Vitals {
    pub fn refuse(&self, number: u64, fault: Fault) {
        // only the first counts: nothing passes after it
        let _ = self.fault.set((number, fault));
    }

    pub fn fault_at(&self, number: u64) -> Option<Fault> {
        self.fault.get().filter(|(at, _)| *at == number).map(|(_, fault)| *fault)
    }

    pub fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => self.blocked.store(true, Ordering::Relaxed),
            Poll::Ready(Ok(length)) => {
                self.blocked.store(false, Ordering::Relaxed);
                self.written.fetch_add(*length as u64, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
        }
        result
    }
}

/// One request between its head and the last byte of its answer.
#[derive(Debug)]
pub struct Flight(Arc<Vitals>);

impl Flight {
    fn start(vitals: Arc<Vitals>) -> Self {
        vitals.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(vitals)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The driver's memory from one look to the next.
#[derive(Default)]
struct Quiet {
    requests: u64,
    written: u64,
    empty_looks: u32,
    stuck_looks: u32,
}

struct Idle {
    empty: bool,
    stuck: bool,
}

impl Quiet {
    fn look(&mut self, vitals: &Vitals) -> Idle {
        let requests = vitals.requests.load(Ordering::Relaxed);
        let written = vitals.written.load(Ordering::Relaxed);
        let blocked = vitals.blocked.load(Ordering::Relaxed);
        // The last piece of an answer is ours no more while its client, slow as it may be, still takes it.
        let answered = vitals.in_flight.load(Ordering::Relaxed) == 0 && !blocked;
        let empty = answered && requests == self.requests;
        let stuck = blocked && written == self.written;
        self.requests = requests;
        self.written = written;
        self.empty_looks = if empty { self.empty_looks + 1 } else { 0 };
        self.stuck_looks = if stuck { self.stuck_looks + 1 } else { 0 };
        Idle { empty: self.empty_looks >= IDLE_LOOKS, stuck: self.stuck_looks >= IDLE_LOOKS }
    }
}

/// The answer to a request that has no readable head. It names the rule; there is no protocol yet to speak.
fn refusal<B>(fault: Fault, alpn: &str) -> Response<Answer<B>> {
    let text = format!("{}: {}\n", fault.code(), fault.message());
    let mut response = Response::new(Answer::Fault(Some(Bytes::from(text))));
    *response.status_mut() = fault.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if alpn == HTTP_1 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn peer_of(stream: &tokio_rustls::server::TlsStream<TcpStream>, remote: SocketAddr) -> Peer {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
    Peer {
        remote,
        certificate: leaf.map(|leaf| leaf.clone().into_owned()),
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        alpn: if session.alpn_protocol() == Some(HTTP_2.as_bytes()) { HTTP_2 } else { HTTP_1 },
    }
}

/// No timer here: `Wire` holds the head to its time and `drive` the idle connection, at no cost for each request.
/// No half-close: with TLS, a client that closes its side has gone away, and its work is to be cancelled.
fn h1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.half_close(false).header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
    builder
}

fn h2_builder(limits: &Limits, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_RESETS_PENDING_MAX)
        .max_local_error_reset_streams(H2_RESETS_LOCAL_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_ANSWER);
    builder
}

/// hyper runs each HTTP/2 stream as a task of its own: these are tracked too, and end when their client takes nothing.
#[derive(Clone)]
struct Streams {
    tracker: TaskTracker,
    idle: Duration,
    stalled: Counter,
}

impl<T> hyper::rt::Executor<T> for Streams
where
    T: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: T) {
        let (idle, stalled) = (self.idle, self.stalled.clone());
        self.tracker.spawn(async move {
            if !watched(task, idle).await {
                stalled.inc();
            }
        });
    }
}

/// ALPN protocol ids (RFC 7301).
pub(super) const HTTP_1: &str = "http/1.1";
pub(super) const HTTP_2: &str = "h2";
