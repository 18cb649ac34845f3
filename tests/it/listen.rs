//! The wire: real sockets, real TLS, raw bytes.
//!
//! Proves that limits hold before a service is asked, that an ambiguous HTTP/1 head is answered and never served, that every
//! connection ends, that stopping finishes what is in flight, and that new certificates are taken whole or not at all.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use haetae::gate::strict::{self, Authorities};
use haetae::listen::{
    ClientCertificates, Config, ConfigError, Drained, Fault, Limits, Listener, Metrics, Peer,
    Reloader, RequestBody, Stop, Tls,
};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::http::{Request, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;

/// A CA of our own, and what it issues.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, each as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        self.issue_with(name, |_| ())
    }

    fn issue_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), name.to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.0).unwrap();
        (leaf.pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// What the service saw.
#[derive(Default)]
struct Seen {
    served: AtomicUsize,
    given_up: AtomicUsize,
    faults: Mutex<Vec<Fault>>,
    peers: Mutex<Vec<Peer>>,
    waiting: Notify,
    release: Notify,
}

struct Server {
    address: SocketAddr,
    ca: Ca,
    files: tempfile::TempDir,
    seen: Arc<Seen>,
    stop: Stop,
    metrics: Metrics,
    reloader: Reloader,
    running: tokio::task::JoinHandle<Drained>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.soft.cancel();
        self.stop.hard.cancel();
    }
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::with(limits, ClientCertificates::None).await
    }

    async fn with(limits: Limits, client_certificates: ClientCertificates) -> Self {
        let time = Arc::new(DefaultTimeProvider);
        Self::open("gateway", limits, client_certificates, time).await
    }

    async fn open(
        name: &'static str,
        limits: Limits,
        client_certificates: ClientCertificates,
        time: Arc<dyn TimeProvider>,
    ) -> Self {
        let (ca, files) = (Ca::new(), tempfile::tempdir().unwrap());
        let path = |name: &str| files.path().join(name);
        write_identity(&path(""), &ca.issue("first.example"));
        std::fs::write(path("ca.pem"), ca.pem()).unwrap();
        let tls = Tls {
            certificate: path("leaf.pem"),
            key: path("key.pem"),
            client_certificates,
            client_cas: vec![path("ca.pem")],
            reload_poll_ms: 50,
        };
        let config = Config { address: "127.0.0.1:0".parse().unwrap(), tls: Some(tls), limits };
        let (metrics, stop, seen) =
            (Metrics::default(), Stop::default(), Arc::new(Seen::default()));
        let faults = Arc::clone(&seen);
        let listener = Listener::bind_at(name, &config, &metrics, time)
            .await
            .unwrap()
            .on_fault(Arc::new(move |_, fault| faults.faults.lock().unwrap().push(fault)));
        let (address, reloader) = (listener.local_addr(), listener.reloader());
        let tracker = TaskTracker::new();
        let shared = Arc::clone(&seen);
        let factory = move |peer: Arc<Peer>| {
            shared.peers.lock().unwrap().push((*peer).clone());
            let (seen, alpn) = (Arc::clone(&shared), peer.alpn);
            service_fn(move |request| serve(request, Arc::clone(&seen), alpn))
        };
        let running = tracker.spawn(listener.serve(factory, tracker.clone(), stop.clone()));
        Self { address, ca, files, seen, stop, metrics, reloader, running }
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let ca = reqwest::Certificate::from_pem(self.ca.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([ca])
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// A raw TLS connection that speaks HTTP/1.1.
    async fn raw(&self) -> TlsStream<TcpStream> {
        self.connect(client_tls(&self.ca, None)).await.unwrap()
    }

    async fn connect(
        &self,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }

    /// A client that gives every stream so much room; its connection answers pings by itself.
    async fn h2(
        &self,
        config: Arc<rustls::ClientConfig>,
        window: u32,
    ) -> (http2::SendRequest<Full<Bytes>>, JoinSet<hyper::Result<()>>) {
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.connect(Arc::new(config)).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        (sender, driver)
    }

    fn get(&self, path: &str) -> Request<Full<Bytes>> {
        Request::get(self.url(path)).body(Full::default()).unwrap()
    }

    /// With TLS 1.3 the refusal of a certificate comes after the client's side is done.
    async fn is_served(&self, config: Arc<rustls::ClientConfig>) -> bool {
        let Ok(mut stream) = self.connect(config).await else { return false };
        let sent = stream.write_all(GET.as_bytes()).await;
        sent.is_ok() && stream.read_exact(&mut [0; 12]).await.is_ok()
    }

    /// How a connection was begun that then asked for something.
    async fn handshake(&self, config: &Arc<rustls::ClientConfig>) -> rustls::HandshakeKind {
        let mut stream = self.connect(Arc::clone(config)).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        read_one(&mut stream).await;
        stream.get_ref().1.handshake_kind().unwrap()
    }

    /// Sends bytes and reads to the end.
    async fn answer(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.raw().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    fn metric(&self, line: &str) -> bool {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines().any(|have| have == line)
    }

    fn served(&self) -> usize {
        self.seen.served.load(Ordering::SeqCst)
    }
}

/// The gate's first layer and an echo behind it.
async fn serve(
    request: Request<RequestBody>,
    seen: Arc<Seen>,
    alpn: &'static str,
) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    let ours = Authorities::new(["localhost", "127.0.0.1", "gw.example"]).unwrap();
    if let Err(error) = strict::check(&head, &ours) {
        return Ok(answer(error.status, error.rule));
    }
    seen.served.fetch_add(1, Ordering::SeqCst);
    match (head.uri.path(), head.uri.query()) {
        ("/drip", _) => return Ok(Response::new(drip())),
        ("/large", Some(bytes)) => {
            let bytes = bytes.strip_prefix("bytes=").unwrap().parse().unwrap();
            return Ok(answer(StatusCode::OK, &"x".repeat(bytes)));
        }
        _ => {}
    }
    if head.uri.path() == "/wait" {
        let gone = GiveUp(&seen);
        seen.waiting.notify_one();
        seen.release.notified().await;
        std::mem::forget(gone);
    }
    match body.collect().await {
        Ok(body) => Ok(answer(StatusCode::OK, &format!("{alpn} {} bytes", body.to_bytes().len()))),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Ok(answer(StatusCode::REQUEST_TIMEOUT, "slow body"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Ok(answer(StatusCode::BAD_REQUEST, "bad body"))
        }
        Err(_) => Ok(answer(StatusCode::BAD_REQUEST, "gone")),
    }
}

struct GiveUp<'a>(&'a Seen);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

type Answer = UnsyncBoxBody<Bytes, Infallible>;

fn answer(status: StatusCode, text: &str) -> Response<Answer> {
    let body = Full::from(text.to_owned()).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

/// A stream of real pieces that never ends.
fn drip() -> Answer {
    let pieces = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok(Frame::data(Bytes::from_static(b"drop"))), ()))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// A clock that stands still until it is set: Unix seconds.
#[derive(Debug)]
struct Hand(AtomicU64);

impl TimeProvider for Hand {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.load(Ordering::SeqCst);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

fn write_identity(folder: &std::path::Path, (leaf, key): &(String, String)) {
    std::fs::write(folder.join("leaf.pem"), leaf).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

fn client_tls(ca: &Ca, identity: Option<(String, String)>) -> Arc<rustls::ClientConfig> {
    tls_of(ca, identity, rustls::DEFAULT_VERSIONS)
}

fn tls_of(
    ca: &Ca,
    identity: Option<(String, String)>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((leaf, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    // an end without close_notify is an end too
    let _ = tokio::time::timeout(DEADLINE, reading).await.expect("the server closes");
    String::from_utf8(bytes).unwrap()
}

/// One answer with a `content-length`, byte by byte, so that the next one stays in the stream.
async fn read_one(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.ends_with("\r\n\r\n") {
            text.push(char::from(stream.read_u8().await.unwrap()));
        }
        let length = text.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        for _ in 0..length {
            text.push(char::from(stream.read_u8().await.unwrap()));
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("an answer");
    text
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect(what);
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn both_protocols_are_negotiated() {
    let server = Server::start(Limits::default()).await;
    let h2 = server.client().build().unwrap();
    let answer = h2.post(server.url("/v1/a")).body("12345").send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "h2 5 bytes");
    let h1 = server.client().http1_only().build().unwrap();
    let answer = h1.post(server.url("/v1/a")).body("12345").send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_11);
    assert_eq!(answer.text().await.unwrap(), "http/1.1 5 bytes");
    let peers = server.seen.peers.lock().unwrap();
    assert_eq!(peers.iter().map(|peer| peer.alpn).collect::<Vec<_>>(), ["h2", "http/1.1"]);
    assert!(peers.iter().all(|peer| peer.certificate.is_none() && peer.remote.ip().is_loopback()));
}

#[tokio::test]
async fn bodies_arrive_whole_however_they_are_framed() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.raw().await;
    let large = "x".repeat(300_000);
    let chunked = format!(
        "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x};e=1\r\n{large}\r\n2\r\nhi\r\n0\r\nt: 1\r\n\r\n",
        large.len()
    );
    let sized = format!(
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{large}",
        large.len()
    );
    for (request, length) in [(&chunked, 300_002), (&sized, 300_000), (&GET.to_owned(), 0)] {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(body(&read_one(&mut stream).await), format!("http/1.1 {length} bytes"));
    }
    // the same in one write, pipelined, and then byte by byte
    let all = format!("{sized}{chunked}{GET}");
    stream.write_all(all.as_bytes()).await.unwrap();
    for byte in GET.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    for length in [300_000, 300_002, 0, 0] {
        assert_eq!(body(&read_one(&mut stream).await), format!("http/1.1 {length} bytes"));
    }
    assert_eq!(server.served(), 7);
}

#[tokio::test]
async fn ambiguous_requests_are_answered_and_not_served() {
    let server = Server::start(Limits::default()).await;
    for (request, code, rule) in THE_BYTES_SHOW.into_iter().chain(THE_HEAD_SHOWS) {
        let mut stream = server.raw().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_one(&mut stream).await;
        assert_eq!(status(&answer), code, "{request:?}");
        assert!(body(&answer).starts_with(rule), "{request:?}: {answer}");
    }
    // a backslash: refused by the URI parser or by the grammar, in any case not served
    assert_eq!(
        status(
            &server
                .answer("GET /a\\b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await
        ),
        "400"
    );
    assert_eq!(server.served(), 0);
    assert_eq!(server.seen.faults.lock().unwrap().len(), 20);
    assert!(
        server
            .metric("haetae_framing_faults_total{listener=\"gateway\",kind=\"framing_bare_lf\"} 2")
    );
}

#[tokio::test]
async fn a_refused_head_is_answered_in_its_turn_and_ends_the_connection() {
    let server = Server::start(Limits::default()).await;
    let smuggled = format!(
        "{GET}POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}"
    );
    let answer = server.answer(&smuggled).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1);
    assert!(answer.find("200").unwrap() < answer.find("400").unwrap());
    assert!(answer.contains("connection: close") && !answer.contains("refused"));
    assert_eq!(server.served(), 1);
    // the answer survives what the client goes on sending
    let flood = format!("GET /a HTTP/1.1\nHost: x\r\n\r\n{}", "x".repeat(200_000));
    assert_eq!(status(&server.answer(&flood).await), "400");
}

#[tokio::test]
async fn a_malformed_chunk_reaches_the_service_as_an_error() {
    let server = Server::start(Limits::default()).await;
    let request = "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n";
    let answer = server.answer(request).await;
    assert_eq!((status(&answer), body(&answer)), ("400", "bad body"));
}

#[tokio::test]
async fn heads_that_are_too_large_get_431() {
    let server = Server::start(Limits::default()).await;
    let wide =
        format!("GET /a HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "a".repeat(32 * 1_024));
    let many = format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(100));
    for (request, rule) in [(&wide, "head_too_large"), (&many, "head_too_many_fields")] {
        let answer = server.answer(request).await;
        assert_eq!((status(&answer), body(&answer).split(':').next()), ("431", Some(rule)));
    }
    let h2 = server.client().build().unwrap();
    let sent = h2.get(server.url("/a")).header("a", "a".repeat(33 * 1_024)).send().await;
    assert_eq!(sent.unwrap().status(), 431);
    let mut request = h2.get(server.url("/a"));
    for n in 0..101 {
        request = request.header(format!("a-{n}"), "b");
    }
    assert_eq!(request.send().await.unwrap().status(), 431);
    assert_eq!(server.served(), 0);
    // and one that is just not too large, in many reads
    let fits = format!(
        "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nA: {}\r\n\r\n",
        "a".repeat(32_000)
    );
    assert_eq!(status(&server.answer(fits).await), "200");
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let limits =
        Limits { head_read_ms: 300, handshake_ms: 300, body_grace_ms: 300, ..Limits::default() };
    let server = Server::start(limits).await;
    // a drop now and then buys no time
    let (mut read, mut write) = tokio::io::split(server.raw().await);
    let dripping = async {
        for byte in GET.bytes().filter(|byte| *byte != b'\n').cycle() {
            // the end of the connection shows on the reading side
            let _ = write.write_all(&[byte]).await;
            let _ = write.flush().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = tokio::select! {
        () = dripping => unreachable!(),
        answer = read_to_end(&mut read) => answer,
    };
    assert_eq!((status(&answer), body(&answer).split(':').next()), ("408", Some("head_too_slow")));
    let answer =
        server.answer("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc").await;
    assert_eq!((status(&answer), body(&answer)), ("408", "slow body"));
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    until("the failed handshake is counted", || {
        server.metric("haetae_handshake_failures_total{listener=\"gateway\",kind=\"timeout\"} 1")
    })
    .await;
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let server = Server::start(Limits { idle_ms: 200, ..Limits::default() }).await;
    let mut stream = server.raw().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(status(&read_to_end(&mut stream).await), "200");
    // in flight is not idle
    let mut busy = server.raw().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    server.seen.waiting.notified().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.seen.release.notify_one();
    assert_eq!(status(&read_one(&mut busy).await), "200");

    let server =
        Server::start(Limits { idle_ms: 200, connection_age_ms: 100, ..Limits::default() }).await;
    let mut stream = server.raw().await;
    // never idle, so only its age ends it
    let using = async {
        while stream.write_all(GET.as_bytes()).await.is_ok()
            && stream.read(&mut [0; 4_096]).await.is_ok_and(|length| length > 0)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, using).await.unwrap();
    until("the old connection is closed", || {
        server.metric("haetae_connections_open{listener=\"gateway\"} 0")
    })
    .await;
}

/// No write is ever blocked here, and every ping is answered.
#[tokio::test]
async fn an_answer_of_which_the_client_takes_nothing_is_given_up_and_so_is_the_connection() {
    let server = Server::start(Limits { idle_ms: 200, ..Limits::default() }).await;
    let (mut sender, _driver) = server.h2(client_tls(&server.ca, None), 0).await;
    let mut slow = JoinSet::new();
    slow.spawn(sender.send_request(server.get("/wait")));
    server.seen.waiting.notified().await;
    let untaken = sender.send_request(server.get("/v1/a")).await.unwrap();
    assert_eq!(untaken.status(), 200);
    let taken = tokio::time::timeout(DEADLINE, untaken.into_body().collect()).await.unwrap();
    assert!(taken.is_err(), "the stream is reset");
    assert!(server.metric("haetae_streams_stalled_total{listener=\"gateway\"} 1"));

    // The others of the connection go on, also one whose service is slow.
    assert_eq!(server.seen.given_up.load(Ordering::SeqCst), 0);
    server.seen.release.notify_one();
    let slow = slow.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(slow.status(), 200);
    until("the connection is closed", || {
        server.metric("haetae_connections_open{listener=\"gateway\"} 0")
    })
    .await;
}

#[tokio::test]
async fn a_large_answer_arrives_whole_however_little_room_the_client_gives() {
    let server = Server::start(Limits::default()).await;
    for window in [1, 1_000, 100_000, 10_000_000] {
        let (mut sender, _driver) = server.h2(client_tls(&server.ca, None), window).await;
        let length = if window == 1 { 50 } else { 300_000 };
        let answer = sender.send_request(server.get(&format!("/large?bytes={length}"))).await;
        let answer = answer.unwrap();
        assert_eq!(answer.headers()["content-length"], length.to_string());
        let whole = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(whole.len() == length && whole.iter().all(|byte| *byte == b'x'), "{window}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_ends_with_its_connection() {
    let limits =
        Limits { idle_ms: 100, connection_age_ms: 100, last_answer_ms: 300, ..Limits::default() };
    let server = Server::start(limits).await;
    let (mut sender, _driver) = server.h2(client_tls(&server.ca, None), 1 << 20).await;
    let drip = sender.send_request(server.get("/drip")).await.unwrap().into_body();
    let taken = tokio::time::timeout(DEADLINE, drip.collect()).await.expect("it ends");
    assert!(taken.is_err(), "and not as if it were whole");
    let mut h1 = server.raw().await;
    h1.write_all(b"GET /drip HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(!read_to_end(&mut h1).await.ends_with("0\r\n\r\n"));
    assert!(server.metric("haetae_streams_stalled_total{listener=\"gateway\"} 0"));
}

#[tokio::test]
async fn the_cap_holds_before_the_handshake() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() }).await;
    let first = server.raw().await;
    // a connection that never shakes hands counts too
    let second = TcpStream::connect(server.address).await.unwrap();
    until("two are open", || server.metric("haetae_connections_open{listener=\"gateway\"} 2"))
        .await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, "");
    assert!(server.metric("haetae_connections_refused_total{listener=\"gateway\"} 1"));
    drop((first, second));
    until("both are closed", || server.metric("haetae_connections_open{listener=\"gateway\"} 0"))
        .await;
    assert_eq!(
        status(&server.answer(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await),
        "200"
    );
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    use ClientCertificates::{None as Never, Optional, Required};
    let stranger = Ca::new();
    // mode, whether no / our / a stranger's certificate is let in, and whether ours is handed on
    for (mode, without, ours, theirs) in
        [(Never, true, true, true), (Optional, true, true, false), (Required, false, true, false)]
    {
        let server = Server::with(Limits::default(), mode).await;
        let identities =
            [None, Some(server.ca.issue("client.example")), Some(stranger.issue("client.example"))];
        for (identity, let_in) in identities.into_iter().zip([without, ours, theirs]) {
            let tried = server.is_served(client_tls(&server.ca, identity));
            assert_eq!(tried.await, let_in, "{mode:?}");
        }
        let handed_on = server
            .seen
            .peers
            .lock()
            .unwrap()
            .iter()
            .filter(|peer| peer.certificate.is_some())
            .count();
        assert_eq!(handed_on, usize::from(mode != Never), "{mode:?}");
        let invalid =
            "haetae_handshake_failures_total{listener=\"gateway\",kind=\"certificate_invalid\"} 1";
        assert_eq!(server.metric(invalid), mode != Never, "{mode:?}");
    }
}

/// A session that is resumed brings its certificate back unseen.
#[tokio::test]
async fn sessions_resume_where_no_certificate_is_asked_for() {
    use rustls::HandshakeKind::{Full, Resumed};
    for (mode, second) in [
        (ClientCertificates::None, Resumed),
        (ClientCertificates::Optional, Full),
        (ClientCertificates::Required, Full),
    ] {
        let server = Server::with(Limits::default(), mode).await;
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let config = tls_of(&server.ca, Some(server.ca.issue("client.example")), &[version]);
            let kinds = [server.handshake(&config).await, server.handshake(&config).await];
            assert_eq!(kinds, [Full, second], "{mode:?} {version:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_over_is_refused_on_open_connections_too() {
    let (june, february) = (1_780_272_000, 1_801_440_000);
    let hand = Arc::new(Hand(june.into()));
    let time = Arc::clone(&hand);
    let required = ClientCertificates::Required;
    let server = Server::open("gateway", Limits::default(), required, time).await;
    let identity = server.ca.issue_with("client.example", |params| {
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
    });
    let config = client_tls(&server.ca, Some(identity));
    let mut h1 = server.connect(Arc::clone(&config)).await.unwrap();
    h1.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(status(&read_one(&mut h1).await), "200");
    let (mut h2, _driver) = server.h2(Arc::clone(&config), 1 << 20).await;
    assert_eq!(h2.send_request(server.get("/v1/a")).await.unwrap().status(), 200);

    hand.0.store(february, Ordering::SeqCst);
    h1.write_all(GET.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut h1).await;
    assert_eq!(status(&answer), "403");
    assert!(body(&answer).starts_with("client_certificate_not_in_force"), "{answer}");
    assert_eq!(h2.send_request(server.get("/v1/a")).await.unwrap().status(), 403);
    assert!(!server.is_served(Arc::clone(&config)).await, "nor is a new connection taken");
    assert_eq!(server.served(), 2);
    assert_eq!(*server.seen.faults.lock().unwrap(), [Fault::CertificateTerm; 2]);

    // Nor is one that is not valid yet.
    hand.0.store(1_000_000_000, Ordering::SeqCst);
    assert_eq!(h2.send_request(server.get("/v1/a")).await.unwrap().status(), 403);
}

/// At the next look at it; a request is refused before that.
#[tokio::test]
async fn a_connection_whose_certificate_is_over_is_told_to_leave() {
    let hand = Arc::new(Hand(1_780_272_000.into()));
    let (time, required) = (Arc::clone(&hand), ClientCertificates::Required);
    let limits = Limits { idle_ms: 200, ..Limits::default() };
    let server = Server::open("gateway", limits, required, time).await;
    let identity = server.ca.issue_with("client.example", |params| {
        params.not_after = date_time_ymd(2027, 1, 1);
    });
    let (mut sender, _driver) = server.h2(client_tls(&server.ca, Some(identity)), 1 << 20).await;
    // Not idle, so nothing else ends it.
    let mut slow = JoinSet::new();
    slow.spawn(sender.send_request(server.get("/wait")));
    server.seen.waiting.notified().await;
    hand.0.store(1_801_440_000, Ordering::SeqCst);
    let asking = async {
        while let Ok(answer) = sender.send_request(server.get("/v1/a")).await {
            assert_eq!(answer.status(), 403);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("nothing more may be asked");
    server.seen.release.notify_one();
    assert_eq!(slow.join_next().await.unwrap().unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_soft_stop_finishes_what_is_in_flight() {
    let mut server = Server::start(Limits::default()).await;
    let mut h1 = server.raw().await;
    h1.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    server.seen.waiting.notified().await;
    let h2 = server.client().build().unwrap();
    let asking = tokio::task::JoinSet::from_iter([h2.get(server.url("/wait")).send()]);
    server.seen.waiting.notified().await;
    let mut idle = server.raw().await;

    server.stop.soft.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    until("nothing new is accepted", || std::net::TcpStream::connect(server.address).is_err())
        .await;
    assert!(!server.running.is_finished());
    server.seen.release.notify_waiters();
    let answer = read_to_end(&mut h1).await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("connection: close"));
    assert_eq!(asking.join_all().await.pop().unwrap().unwrap().status(), 200);
    let drained = tokio::time::timeout(DEADLINE, &mut server.running).await.unwrap().unwrap();
    assert_eq!(drained, Drained { aborted: 0 });
}

#[tokio::test]
async fn a_hard_stop_or_the_deadline_drops_the_rest() {
    for hard in [true, false] {
        let drain_ms = if hard { 60_000 } else { 100 };
        let mut server = Server::start(Limits { drain_ms, ..Limits::default() }).await;
        let mut stream = server.raw().await;
        stream.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        server.seen.waiting.notified().await;
        server.stop.soft.cancel();
        if hard {
            server.stop.hard.cancel();
        }
        let drained = tokio::time::timeout(DEADLINE, &mut server.running).await.unwrap().unwrap();
        assert_eq!(drained, Drained { aborted: 1 });
        assert_eq!(server.seen.given_up.load(Ordering::SeqCst), 1);
        assert_eq!(read_to_end(&mut stream).await, "");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_work_with_it() {
    let server = Server::start(Limits::default()).await;
    let mut h1 = server.raw().await;
    h1.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    server.seen.waiting.notified().await;
    drop(h1);
    until("the HTTP/1 request is dropped", || server.seen.given_up.load(Ordering::SeqCst) == 1)
        .await;
    let h2 = server.client().build().unwrap();
    let asked =
        tokio::time::timeout(Duration::from_millis(300), h2.get(server.url("/wait")).send());
    assert!(asked.await.is_err());
    until("the HTTP/2 request is dropped", || server.seen.given_up.load(Ordering::SeqCst) == 2)
        .await;
    assert_eq!(h2.get(server.url("/v1/a")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn new_certificates_are_taken_whole_or_not_at_all() {
    let server = Server::start(Limits::default()).await;
    let leaf = async || {
        let stream = server.connect(client_tls(&server.ca, None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let mut open = server.raw().await;
    let first = leaf().await;
    let folder: PathBuf = server.files.path().to_owned();

    // half of a rotation: the new certificate with the old key
    let (certificate, key) = server.ca.issue("second.example");
    std::fs::write(folder.join("leaf.pem"), &certificate).unwrap();
    until("the trouble is seen", || server.reloader.trouble().is_some()).await;
    assert!(matches!(server.reloader.reload(), Err(ConfigError::Tls(_))));
    assert_eq!(leaf().await, first);
    std::fs::write(folder.join("leaf.pem"), "no certificate").unwrap();
    assert!(matches!(server.reloader.reload(), Err(ConfigError::Pem { .. })));
    std::fs::remove_file(folder.join("leaf.pem")).unwrap();
    assert!(matches!(server.reloader.reload(), Err(ConfigError::Read { .. })));
    assert_eq!(leaf().await, first);

    // the poll may be quicker than the call: what counts is what is in use afterwards
    write_identity(&folder, &(certificate, key));
    until("the new one is in use", || matches!(server.reloader.reload(), Ok(false))).await;
    let second = leaf().await;
    assert_ne!(second, first);
    assert_eq!(server.reloader.trouble(), None);
    open.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(status(&read_one(&mut open).await), "200");
    // without a call, by looking
    write_identity(&folder, &server.ca.issue("third.example"));
    let waiting = async {
        while leaf().await == second {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
}

#[tokio::test]
async fn a_ca_that_was_taken_away_is_not_let_in_by_an_old_ticket() {
    let server = Server::with(Limits::default(), ClientCertificates::Required).await;
    let config = client_tls(&server.ca, Some(server.ca.issue("client.example")));
    assert!(server.is_served(Arc::clone(&config)).await);
    assert!(server.is_served(Arc::clone(&config)).await);
    std::fs::write(server.files.path().join("ca.pem"), Ca::new().pem()).unwrap();
    until("the new CA is in use", || matches!(server.reloader.reload(), Ok(false))).await;
    assert!(!server.is_served(config).await);
}

#[tokio::test]
async fn plain_http_serves_this_machine_only() {
    let bind = async |text: &str| {
        let config: Config = toml::from_str(text).unwrap();
        Listener::bind("console", &config, &Metrics::default()).await
    };
    let far = bind("address = \"0.0.0.0:0\"").await.err().unwrap();
    assert!(matches!(far, ConfigError::PlainBeyondLoopback(_)));
    let no_ca = bind("address = \"127.0.0.1:0\"\ntls = { certificate = \"a\", key = \"b\", client_certificates = \"required\" }").await;
    assert!(matches!(no_ca.err().unwrap(), ConfigError::NoClientCa));
    let zero = bind("address = \"127.0.0.1:0\"\nlimits = { connections = 0 }").await;
    assert_eq!(zero.err().unwrap().to_string(), "`connections` must be greater than 0");
    let over = bind("address = \"127.0.0.1:0\"\nlimits = { network_share_percent = 101 }").await;
    assert!(matches!(over.err().unwrap(), ConfigError::Share(101)));
    assert!(toml::from_str::<Config>("address = \"127.0.0.1:0\"\nport = 1").is_err());

    let plain = Plain::start("console").await;
    assert_eq!(body(&plain.answer(GET).await), "http/1.1 0 bytes");
    plain.stop.soft.cancel();
    plain.tracker.close();
    tokio::time::timeout(DEADLINE, plain.tracker.wait()).await.unwrap();
}

/// A listener without TLS.
struct Plain {
    address: SocketAddr,
    tracker: TaskTracker,
    stop: Stop,
}

impl Plain {
    async fn start(name: &'static str) -> Self {
        let config: Config = toml::from_str("address = \"127.0.0.1:0\"").unwrap();
        let listener = Listener::bind(name, &config, &Metrics::default()).await.unwrap();
        let (address, tracker, stop) = (listener.local_addr(), TaskTracker::new(), Stop::default());
        let seen = Arc::new(Seen::default());
        let factory = move |peer: Arc<Peer>| {
            let seen = Arc::clone(&seen);
            service_fn(move |request| serve(request, Arc::clone(&seen), peer.alpn))
        };
        tracker.spawn(listener.serve(factory, tracker.clone(), stop.clone()));
        Self { address, tracker, stop }
    }

    async fn answer(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_one(&mut stream).await
    }
}

/// What a page in a browser of this machine can bring about by DNS: its own name here, and nothing else.
#[tokio::test]
async fn a_console_of_this_machine_takes_no_other_name() {
    let get = |host: &str| format!("GET /v1/log HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (console, tiles) = (Plain::start("console").await, Plain::start("tiles").await);
    for host in ["localhost", "localhost:8444", "127.0.0.1:1"] {
        assert_eq!(status(&console.answer(&get(host)).await), "200", "{host}");
    }
    let answer = console.answer(&get("gw.example")).await;
    assert_eq!(status(&answer), "421");
    assert!(body(&answer).starts_with("host_not_this_machine: "), "{answer}");
    assert_eq!(status(&tiles.answer(&get("gw.example")).await), "200", "a proxy may be in front");

    // One with TLS is no other; one that asks for certificates shows nothing to a page.
    for (mode, code) in [(ClientCertificates::None, 421), (ClientCertificates::Required, 200)] {
        let time = Arc::new(DefaultTimeProvider);
        let server = Server::open("console", Limits::default(), mode, time).await;
        let identity = Some(server.ca.issue("client.example"));
        let (mut sender, _driver) = server.h2(client_tls(&server.ca, identity), 1 << 20).await;
        let here = sender.send_request(server.get("/v1/log")).await.unwrap();
        assert_eq!(here.status(), 200);
        let other = Request::get("https://gw.example/v1/log").body(Full::default()).unwrap();
        assert_eq!(sender.send_request(other).await.unwrap().status(), code, "{mode:?}");
    }
}

/// Request, status, rule: what can no longer be seen once the head is parsed, and what every service wants seen to.
const THE_BYTES_SHOW: [(&str, &str, &str); 20] = [
    (
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        "framing_length_with_encoding",
    ),
    (
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "400",
        "framing_length_repeated",
    ),
    (
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3, 3\r\n\r\nabc",
        "400",
        "framing_length_invalid",
    ),
    (
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\nabc",
        "400",
        "framing_length_invalid",
    ),
    (
        "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "400",
        "framing_transfer_encoding",
    ),
    (
        "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400",
        "framing_transfer_encoding",
    ),
    (
        "POST /a HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        "framing_transfer_encoding",
    ),
    ("GET /a HTTP/1.1\nHost: localhost\n\n", "400", "framing_bare_lf"),
    ("GET /a HTTP/1.1\r\nHost: localhost\r\nA: b\n\r\n", "400", "framing_bare_lf"),
    ("GET /a HTTP/1.1\r\nHost : localhost\r\n\r\n", "400", "framing_field_name"),
    ("GET /a HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", "400", "framing_obsolete_fold"),
    ("GET /a HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n", "400", "framing_control_byte"),
    ("GET /a HTTP/1.1\r\nHost: localhost\r\nA: b\rc\r\n\r\n", "400", "framing_control_byte"),
    ("GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "framing_target"),
    ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "framing_request_line"),
    ("\r\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "framing_request_line"),
    ("GET /a HTTP/2.0\r\nHost: localhost\r\n\r\n", "400", "framing_version"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", "framing_version"),
    ("GET /a HTTP/1.1\r\n\r\n", "400", "host_missing"),
    ("GET /a HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", "400", "host_repeated"),
];

/// The same for what the parsed head still shows.
const THE_HEAD_SHOWS: [(&str, &str, &str); 14] = [
    ("GET /a HTTP/1.1\r\nHost: a@localhost\r\n\r\n", "400", "host_invalid"),
    ("GET /a HTTP/1.1\r\nHost: localhost/#\r\n\r\n", "400", "host_invalid"),
    (
        "GET https://evil.example/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "400",
        "host_conflicts_with_target",
    ),
    ("GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421", "authority_not_ours"),
    (
        "GET /a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        "400",
        "header_repeated",
    ),
    ("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", "405", "method_refused"),
    ("TRACE /a HTTP/1.1\r\nHost: localhost\r\n\r\n", "405", "method_refused"),
    ("GET /a/%2e%2e/b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "path_characters"),
    ("GET /a%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "path_characters"),
    ("GET /a;b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "path_characters"),
    ("GET //a HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "path_empty_segment"),
    ("GET /a/../b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "path_dot_segment"),
    (
        "GET /a HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "400",
        "upgrade_refused",
    ),
    (
        "GET /a HTTP/1.1\r\nHost: localhost\r\nHaetae_Datasets: a\r\n\r\n",
        "400",
        "header_underscore",
    ),
];

/// Not a measurement: what hangs longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(20);
