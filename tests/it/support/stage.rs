//! A whole system for a test, made of the demo's own pieces: `haetae serve`, three sites, an issuer and a durable Postgres,
//! each a process that a test may ask, break and look into.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use haetae::audit::Key;
use haetae::clock::Clock;
use haetae::demo::gateway::ORIGIN;
use haetae::demo::issuer::{Bearer, Mint};
use haetae::demo::site::{Report, Seen};
use haetae::demo::world::{Plot, World};
use http::HeaderMap;
use jsonwebtoken::Algorithm;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tlog::{Hash, Policy, Receipt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::scratch;

/// A running system. Its processes end with this value, or with the test's process.
pub struct Stage {
    pub world: World,
    /// Removes the directory when its input ends, so also after a kill.
    _sweeper: Child,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The sites as their observer sees them.
pub struct Sites {
    observer: reqwest::Client,
    ports: Vec<(String, u16)>,
}

/// Somebody with a credential and a connection of its own.
pub struct Caller {
    http: reqwest::Client,
    base: String,
    /// Where the log is served.
    log: String,
    authorization: Option<String>,
}

impl Stage {
    /// A system of its own for one test.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// The same, with sites that pause so long between two tokens of a stream.
    pub async fn with(token_ms: Option<u64>) -> Self {
        let dir = scratch("stage");
        let plot = Plot {
            dir: dir.clone(),
            // All of ours: one that the system chooses for a guard could be another's before the guard listens.
            ports: (0..7).map(|_| port()).collect(),
            program: env!("CARGO_BIN_EXE_haetae").into(),
            clock: Clock::system(),
            token_ms,
        };
        let sweeper = sweeper(&dir);
        Self { world: World::build(plot, &|_| {}).await.unwrap(), _sweeper: sweeper }
    }

    /// One system for all tests that break nothing. It runs on a thread of its own: a test's runtime ends with the test.
    pub async fn shared() -> &'static Self {
        static SHARED: tokio::sync::OnceCell<&'static Stage> = tokio::sync::OnceCell::const_new();
        let start = async || {
            let (tell, told) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                tokio::runtime::Runtime::new().unwrap().block_on(Self::stay(tell));
            });
            told.await.expect("the shared system starts")
        };
        SHARED.get_or_init(start).await
    }

    async fn stay(tell: tokio::sync::oneshot::Sender<&'static Self>) {
        let stage: &'static Self = Box::leak(Box::new(Self::start().await));
        assert!(tell.send(stage).is_ok());
        std::future::pending::<()>().await;
    }

    /// A service of an organisation, with a right token.
    pub fn caller(&self, org: &str) -> Caller {
        let token = self.world.token(org, Mint::Right(Algorithm::EdDSA)).unwrap();
        self.with_authorization(Some(format!("Bearer {token}")))
    }

    /// A person of an organisation in these roles, with a right token.
    pub fn person(&self, org: &str, name: &str, roles: &[&str]) -> Caller {
        let bearer = Bearer { org, subject: name, roles };
        let (mint, now) = (Mint::Right(Algorithm::EdDSA), Clock::system().unix_s());
        let token = self.world.issuer.mint(mint, bearer, now).unwrap();
        self.with_authorization(Some(format!("Bearer {token}")))
    }

    /// A caller who sends this, or nothing, as `authorization`. Speaks HTTP/2.
    pub fn with_authorization(&self, authorization: Option<String>) -> Caller {
        let http = reqwest::Client::builder().tls_certs_only([self.pem("root.pem")]);
        Caller {
            http: http.build().unwrap(),
            base: self.world.url(""),
            log: self.log_url(),
            authorization,
        }
    }

    /// A caller who shows its organisation's certificate and no token.
    pub fn certified(&self, org: &str) -> Caller {
        let http = reqwest::Client::builder()
            .tls_certs_only([self.pem("root.pem")])
            .identity(self.identity(&format!("svc-{org}")));
        Caller {
            http: http.build().unwrap(),
            base: self.world.url(""),
            log: self.log_url(),
            authorization: None,
        }
    }

    /// The same caller over HTTP/1.1.
    pub fn over_http1(&self, caller: Caller) -> Caller {
        let http = reqwest::Client::builder().tls_certs_only([self.pem("root.pem")]).http1_only();
        Caller { http: http.build().unwrap(), ..caller }
    }

    /// Straight to the services of the sites, with their guard's certificate (`guard`) or the observer's (`observer`).
    pub fn to_sites(&self, who: &str) -> reqwest::Client {
        reqwest::Client::builder()
            .tls_certs_only([self.pem("sites.pem")])
            .identity(self.identity(who))
            .build()
            .unwrap()
    }

    /// The sites, for whoever asks what they have seen.
    pub fn sites(&self) -> Sites {
        let address = |(id, address): (&str, SocketAddr)| (id.to_owned(), address.port());
        let ports = self.world.fleet.services().map(address).collect();
        Sites { observer: self.to_sites("observer"), ports }
    }

    /// The console's answer to a GET.
    pub async fn console(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.world.console);
        Answer::of(plain_http().get(url).send().await.unwrap()).await
    }

    /// The database as its owner sees it.
    pub async fn pool(&self) -> PgPool {
        let options = self.world.cluster.connect_options();
        PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap()
    }

    /// A raw TLS connection to the gateway.
    pub async fn raw(&self, alpn: &str) -> TlsStream<TcpStream> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.world.dir.join("pki/root.pem")).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.world.data).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends bytes on a connection of their own and gives the answer.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw("http/1.1").await;
        stream.write_all(bytes).await.unwrap();
        let (mut text, mut piece) = (Vec::new(), [0; 4_096]);
        while !is_whole(&text) {
            match tokio::time::timeout(DEADLINE, stream.read(&mut piece)).await.unwrap() {
                Ok(length) if length > 0 => text.extend_from_slice(&piece[..length]),
                _ => break,
            }
        }
        String::from_utf8(text).unwrap()
    }

    /// The policy of a reader who trusts the log's key in one lane.
    pub fn trust(&self, lane: u64) -> Policy {
        let key = Key::read(&self.world.dir.join("log.key")).unwrap();
        let vkey = key.vkey(ORIGIN, u16::try_from(lane).unwrap()).unwrap();
        Policy::of_log(vkey.parse().unwrap())
    }

    /// The leaf of a decision as the console gives it, once it is in the query tables.
    pub async fn leaf(&self, decision: &str) -> Vec<u8> {
        let path = format!("/v1/decisions/{decision}/leaf");
        let mut last = None;
        eventually("the decision is shown", async || {
            let answer = self.console(&path).await;
            let found = answer.status == 200;
            last = Some(answer);
            found
        })
        .await;
        last.unwrap().body.to_vec()
    }

    /// The record that an answer points to; its receipt must prove it.
    pub async fn record_of(&self, answer: &Answer) -> Value {
        let id = answer.header("haetae-decision").expect("a decision id");
        let leaf = self.leaf(id).await;
        let value: Value = serde_json::from_slice(&leaf).unwrap();
        let receipt = answer.receipt();
        receipt.verify(&Hash::leaf(&leaf), &self.trust(value["lane"].as_u64().unwrap())).unwrap();
        assert_eq!(
            (value["id"].as_str(), value["index"].as_u64()),
            (Some(id), Some(receipt.index))
        );
        value
    }

    /// The address of the log: append `<lane>/checkpoint`.
    pub fn log_url(&self) -> String {
        format!("https://127.0.0.1:{}/log", self.world.tiles.port())
    }

    fn pem(&self, name: &str) -> reqwest::Certificate {
        let bytes = std::fs::read(self.world.dir.join("pki").join(name)).unwrap();
        reqwest::Certificate::from_pem(&bytes).unwrap()
    }

    fn identity(&self, name: &str) -> reqwest::Identity {
        let pki = self.world.dir.join("pki");
        let mut bytes = std::fs::read(pki.join(format!("{name}.pem"))).unwrap();
        bytes.extend(std::fs::read(pki.join(format!("{name}.key"))).unwrap());
        reqwest::Identity::from_pem(&bytes).unwrap()
    }
}

impl Sites {
    /// What each site says it has seen.
    pub async fn reports(&self) -> Vec<(String, Report)> {
        self.ask("").await
    }

    /// Where this body arrived: site and what came with it.
    pub async fn arrivals(&self, body: &[u8]) -> Vec<(String, Seen)> {
        let reports = self.ask(&format!("/{}", hex::encode(Sha256::digest(body)))).await;
        let seen = |(site, report): (String, Report)| {
            report.seen.into_iter().map(move |seen| (site.clone(), seen))
        };
        reports.into_iter().flat_map(seen).collect()
    }

    /// Requests that have arrived in all, and what the sites did not expect.
    pub async fn arrived(&self) -> (usize, Vec<String>) {
        let reports = self.reports().await;
        let seen = reports.iter().map(|(_, report)| report.seen.len()).sum();
        (seen, reports.into_iter().flat_map(|(_, report)| report.unexpected).collect())
    }

    async fn ask(&self, of: &str) -> Vec<(String, Report)> {
        let mut reports = Vec::new();
        for (id, port) in &self.ports {
            let url = format!("https://localhost:{port}/demo/seen{of}");
            let report = self.observer.get(url).send().await.unwrap().json().await.unwrap();
            reports.push((id.clone(), report));
        }
        reports
    }
}

impl Caller {
    /// The same caller of another gateway.
    pub fn at(self, data: SocketAddr) -> Self {
        Self { base: format!("https://127.0.0.1:{}", data.port()), ..self }
    }

    /// A POST of JSON with further headers.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        Answer::of(self.try_post(path, headers, body).await.unwrap()).await
    }

    /// The same, as far as its head; an error when none came.
    /// The same; `None` when it was cut under way. One that is cut before its head has left the gateway takes the head with it:
    /// HTTP/2 drops what is queued in a stream that is reset (RFC 9113, 6.4).
    pub async fn post_or_cut(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let cut = |error: reqwest::Error| {
            let reset = format!("{error:?}").contains("INTERNAL_ERROR");
            assert!(reset, "not cut, but: {error:?}");
        };
        let response = self.try_post(path, headers, body).await.map_err(cut).ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(cut).ok()?;
        Some(Answer { status, headers, body })
    }

    pub async fn try_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> reqwest::Result<reqwest::Response> {
        let request = self.http.post(format!("{}{path}", self.base)).body(body.to_vec());
        let request = if headers.iter().any(|(name, _)| *name == "content-type") {
            request
        } else {
            request.header("content-type", "application/json")
        };
        self.dress(request, headers).send().await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let method = method.parse::<http::Method>().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        Answer::of(self.dress(request, headers).send().await.unwrap()).await
    }

    /// A GET of the log's public listener, e.g. `0/checkpoint`.
    pub async fn of_log(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}/{path}", self.log));
        Answer::of(self.dress(request, &[]).send().await.unwrap()).await
    }

    fn dress(
        &self,
        mut request: reqwest::RequestBuilder,
        headers: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.timeout(DEADLINE)
    }

    /// `Bearer <token>`.
    pub fn authorization(&self) -> &str {
        self.authorization.as_deref().unwrap()
    }
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `error.code` of a refusal.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = json.pointer("/error/code").and_then(Value::as_str);
        code.unwrap_or("none").to_owned()
    }

    /// The receipt: an RFC 8941 byte sequence that holds a tlog-proof.
    pub fn receipt(&self) -> Receipt {
        let value = self.header("haetae-receipt").expect("a receipt");
        let inner = value.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap();
        String::from_utf8(STANDARD.decode(inner).unwrap()).unwrap().parse().unwrap()
    }
}

/// A client without TLS, which need not read the machine's certificates.
pub fn plain_http() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).build().unwrap()
}

/// A chat whose bytes nobody else sends.
pub fn chat() -> Value {
    let text = format!("Summarise complaint {}.", number());
    json!({ "model": "llama-3.3-70b", "messages": [{ "role": "user", "content": text }] })
}

/// A number that this run has not given before.
pub fn number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// All leaves of the log, by lane and index.
pub async fn leaves(pool: &PgPool) -> Vec<Value> {
    let select = "select leaves from log_batch order by lane, first_index";
    let batches: Vec<Vec<u8>> = sqlx::query_scalar(select).fetch_all(pool).await.unwrap();
    let read = |leaf: Result<&[u8], _>| serde_json::from_slice(leaf.unwrap()).unwrap();
    let leaves: Vec<Value> = batches
        .iter()
        .flat_map(|batch| tlog::bundle::leaves(batch).map(read).collect::<Vec<_>>())
        .collect();
    leaves.iter().for_each(crate::audit::schema::check);
    leaves
}

/// From now on keeps the size of every lane at each change of the facts. While the trigger runs `fact_head` is locked, so no
/// batch is under way: these are the sizes at the change's own instant.
pub async fn note_sizes(pool: &PgPool) {
    sqlx::raw_sql(SIZES).execute(pool).await.unwrap();
}

/// How many sizes were kept, and the decisions that were committed after a change on facts that it replaced.
pub async fn late(pool: &PgPool, leaves: &[Value]) -> (usize, Vec<Value>) {
    let sizes: Vec<(i64, i32, i64)> =
        sqlx::query_as("select version, lane, size from test_sizes").fetch_all(pool).await.unwrap();
    let is_late = |leaf: &&Value| {
        let (index, judged) = (leaf["index"].as_i64(), leaf["fact_version"].as_i64());
        let after = |(version, lane, size): &(i64, i32, i64)| {
            leaf["lane"] == *lane && index >= Some(*size) && judged < Some(*version)
        };
        leaf["kind"] == "decision" && sizes.iter().any(after)
    };
    (sizes.len(), leaves.iter().filter(is_late).cloned().collect())
}

/// Waits for what must come by itself.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// A port below those that the kernel gives to outgoing connections, so that a gateway finds it free again.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 18_000).unwrap();
    10_000 + (start + 7 * NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000
}

/// An answer with a `content-length` is here to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}

fn sweeper(dir: &Path) -> Child {
    Command::new("/bin/sh")
        .args(["-c", "cat > /dev/null; sleep 3; rm -rf -- \"$1\"", "haetae-test-sweeper"])
        .arg(dir)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Datasets of the example registry.
pub const ORDERS: (&str, &str) = ("haetae-datasets", "kr-retail/orders@1");
pub const SEOUL: (&str, &str) = ("haetae-site", "kr-seo-1");
pub const VIRGINIA: (&str, &str) = ("haetae-site", "us-va-1");

pub const CHAT: &str = "/v1/chat/completions";

/// A busy machine is no reason for a test to fail.
pub const DEADLINE: Duration = Duration::from_secs(40);

const SIZES: &str = "
    create table test_sizes (version bigint, lane integer, size bigint);
    create function test_note() returns trigger language plpgsql security definer as $$ begin
        insert into test_sizes select new.version, lane, size from log_head; return null; end $$;
    create trigger test_note after update of version on fact_head for each row execute function test_note();";
