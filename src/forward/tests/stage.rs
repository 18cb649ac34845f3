//! A site on loopback that does exactly what its script says, over real TLS, and notes what reached it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PublicKeyData, SanType,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::forward::Site;

/// A throw-away authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Certified {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these URIs among its names.
    pub fn sign(&self, uris: &[&str]) -> Certified {
        self.sign_with(uris, |_| ())
    }

    pub fn sign_with(
        &self,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certified {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        params.subject_alt_names.extend(uris.iter().map(uri));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        Certified { certificate: signed.der().clone(), pem: signed.pem(), key }
    }
}

impl Certified {
    /// The pin of its public key.
    pub fn spki(&self) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let digest = Sha256::digest(self.key.subject_public_key_info());
        format!("spki:sha256/{}", STANDARD.encode(digest))
    }
}

/// What a site does once it has read a request.
pub enum Step {
    Say(String),
    /// Waits for one permit.
    Wait(Arc<Semaphore>),
    /// Waits until the other end has gone.
    Hang,
    Close,
}

/// The whole of a simple answer.
pub fn answer(head: &str, body: &str) -> Vec<Step> {
    vec![Step::Say(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))]
}

type Script = Arc<dyn Fn(usize) -> Vec<Step> + Send + Sync>;

/// A running site.
pub struct Stage {
    pub port: u16,
    pub seen: Arc<Seen>,
    stop: CancellationToken,
}

/// What reached a site.
#[derive(Default)]
pub struct Seen {
    pub requests: Mutex<Vec<String>>,
    pub connections: AtomicUsize,
    closed: watch::Sender<usize>,
}

impl Stage {
    /// Starts a site; the script gets the number of the request, from 0.
    pub async fn open(
        certified: &Certified,
        clients: Option<&Authority>,
        script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::open_at(0, certified, clients, script).await
    }

    /// The same, at a port.
    pub async fn open_at(
        port: u16,
        certified: &Certified,
        clients: Option<&Authority>,
        script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, script): (Arc<Seen>, Script) = (Arc::default(), Arc::new(script));
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let host = Host {
            acceptor: acceptor(certified, clients),
            seen: Arc::clone(&seen),
            script,
            tracker: tracker.clone(),
            stop: stop.clone(),
        };
        tracker.spawn(stop.clone().run_until_cancelled_owned(host.accept(listener)));
        Self { port, seen, stop }
    }

    pub fn site(&self, id: &str, ca: &Authority, identity: &str) -> Site {
        Site {
            id: id.into(),
            base_url: format!("https://127.0.0.1:{}", self.port),
            ca_pem: ca.pem(),
            identity: identity.into(),
        }
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many connections have ended.
    pub async fn closed(&self, count: usize) {
        let mut closed = self.seen.closed.subscribe();
        let wait = closed.wait_for(|closed| *closed >= count);
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap().unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
struct Host {
    acceptor: TlsAcceptor,
    seen: Arc<Seen>,
    script: Script,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Host {
    async fn accept(self, listener: TcpListener) {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let talk = self.clone().talk(tcp);
            self.tracker.spawn(self.stop.clone().run_until_cancelled_owned(talk));
        }
    }

    async fn talk(self, tcp: TcpStream) {
        if let Ok(tls) = self.acceptor.accept(tcp).await {
            self.seen.connections.fetch_add(1, Ordering::SeqCst);
            self.serve(tls).await;
        }
        self.seen.closed.send_modify(|closed| *closed += 1);
    }

    async fn serve(&self, mut tls: TlsStream<TcpStream>) {
        while let Some(request) = request(&mut tls).await {
            let number = self.seen.note(request);
            if !play(&mut tls, (self.script)(number)).await {
                break;
            }
        }
    }
}

impl Seen {
    fn note(&self, request: String) -> usize {
        let mut requests = self.requests.lock().unwrap();
        requests.push(request);
        requests.len() - 1
    }
}

/// Plays the steps; false when the connection is over.
async fn play(tls: &mut TlsStream<TcpStream>, steps: Vec<Step>) -> bool {
    for step in steps {
        match step {
            Step::Say(text) => {
                if tls.write_all(text.as_bytes()).await.is_err() || tls.flush().await.is_err() {
                    return false;
                }
            }
            Step::Wait(permits) => permits.acquire().await.unwrap().forget(),
            Step::Hang => {
                let mut rest = Vec::new();
                let _ = tls.read_to_end(&mut rest).await;
                return false;
            }
            Step::Close => return false,
        }
    }
    true
}

/// One request with a `content-length`, or none at the end of the connection.
async fn request(tls: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if tls.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    tls.read_exact(&mut body).await.ok()?;
    Some(head + String::from_utf8(body).unwrap().as_str())
}

fn acceptor(certified: &Certified, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(certified.key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = vec![certified.certificate.clone()];
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}
