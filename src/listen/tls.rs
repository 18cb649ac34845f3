//! The server's side of TLS: certificates read, checked and swapped whole.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::{
    NoServerSessionStorage, ServerConfig, WebPkiClientVerifier, danger::ClientCertVerifier,
};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::config::{ClientCertificates, ConfigError, Tls};
use super::connection::{HTTP_1, HTTP_2};
use super::metrics::Counters;

/// Holds the configuration in use. A handshake takes it whole; open connections stay as they are.
pub(super) struct Keeper {
    files: Tls,
    current: ArcSwap<ServerConfig>,
    /// Owned by whoever reloads, one at a time.
    state: Mutex<State>,
    /// What certificates are held against, in the handshake and after it.
    time: Arc<dyn TimeProvider>,
    counters: Counters,
}

/// From when to when a client's certificate may be used: seconds since 1970, both included.
#[derive(Debug)]
pub(super) struct Term {
    from: i64,
    until: i64,
    time: Arc<dyn TimeProvider>,
}

impl Term {
    /// The listener's own look, for services that rely on the handshake alone: it was hours ago, perhaps.
    pub fn is_now(&self) -> bool {
        let now = self.time.current_time().and_then(|now| i64::try_from(now.as_secs()).ok());
        now.is_some_and(|now| self.from <= now && now <= self.until)
    }
}

struct State {
    /// Digest of the files last looked at, good or bad: each change is tried and reported once.
    seen: [u8; 32],
    trouble: Option<String>,
}

struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_cas: Vec<Vec<u8>>,
}

impl Keeper {
    pub fn load(
        files: Tls,
        counters: Counters,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Self, ConfigError> {
        let contents = Contents::read(&files)?;
        let current = ArcSwap::from_pointee(build(&files, &contents, &time)?);
        let state = Mutex::new(State { seen: contents.digest(), trouble: None });
        Ok(Self { files, current, state, time, counters })
    }

    /// The term of a client's certificate. One that cannot be read is never in force.
    pub fn term(&self, leaf: &CertificateDer<'_>) -> Term {
        let read = X509Certificate::from_der(leaf).ok();
        let (from, until) = read.map_or((i64::MAX, i64::MIN), |(_, certificate)| {
            let validity = certificate.validity();
            (validity.not_before.timestamp(), validity.not_after.timestamp())
        });
        Term { from, until, time: Arc::clone(&self.time) }
    }

    /// Whether nobody gets in without a certificate.
    pub fn demands(&self) -> bool {
        self.files.client_certificates == ClientCertificates::Required
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    pub fn trouble(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// True if the files had changed and the new ones are in use.
    pub fn reload(&self) -> Result<bool, ConfigError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = match Contents::read(&self.files) {
            Ok(contents) => contents,
            Err(error) => return Err(self.report(&mut state, error)),
        };
        let digest = contents.digest();
        if digest == state.seen && state.trouble.is_none() {
            return Ok(false);
        }
        state.seen = digest;
        match build(&self.files, &contents, &self.time) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                state.trouble = None;
                self.counters.reload("taken");
                tracing::info!("new certificate files are in use");
                Ok(true)
            }
            Err(error) => Err(self.report(&mut state, error)),
        }
    }

    /// The same trouble is logged once, not at every look.
    fn report(&self, state: &mut State, error: ConfigError) -> ConfigError {
        let cause = error.to_string();
        if state.trouble.as_ref() != Some(&cause) {
            self.counters.reload("rejected");
            tracing::warn!(cause, "new certificate files are not usable: the old ones stay in use");
            state.trouble = Some(cause);
        }
        error
    }

    /// Looks at the files until the listener stops.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let every = Duration::from_millis(self.files.reload_poll_ms);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let keeper = Arc::clone(&self);
            // reported inside; the next look tries again
            let _ = tokio::task::spawn_blocking(move || keeper.reload()).await;
        }
    }
}

impl Contents {
    fn read(files: &Tls) -> Result<Self, ConfigError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_cas: files.client_cas.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [&self.certificate, &self.key].into_iter().chain(&self.client_cas) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
}

/// Sessions are resumed only where no client certificate is asked for: a resumed one brings its certificate back as it was
/// believed then, and nobody looks again whether it has expired or whether its CA is still one of ours. A whole handshake for
/// each connection, of which a client needs few, is the price.
fn build(
    files: &Tls,
    contents: &Contents,
    time: &Arc<dyn TimeProvider>,
) -> Result<ServerConfig, ConfigError> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|cause| ConfigError::Pem { path: files.key.clone(), cause: cause.to_string() })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(ConfigError::Tls)?;
    let builder = match client_verifier(files, contents, provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(ConfigError::Tls)?;
    config.alpn_protocols = vec![HTTP_2.into(), HTTP_1.into()];
    config.time_provider = Arc::clone(time);
    if files.client_certificates == ClientCertificates::None {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(ConfigError::Tls)?;
        config.send_tls13_tickets = TICKETS;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn client_verifier(
    files: &Tls,
    contents: &Contents,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ConfigError> {
    if files.client_certificates == ClientCertificates::None {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for (path, pem) in files.client_cas.iter().zip(&contents.client_cas) {
        for certificate in certificates(path, pem)? {
            roots.add(certificate).map_err(|cause| ConfigError::ClientCa(cause.to_string()))?;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match files.client_certificates {
        ClientCertificates::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    builder.build().map(Some).map_err(|cause| ConfigError::ClientCa(cause.to_string()))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let bad = |cause: String| ConfigError::Pem { path: path.to_owned(), cause };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found.map_err(|cause| bad(cause.to_string()))? {
        found if found.is_empty() => Err(bad("no certificate in it".to_owned())),
        found => Ok(found),
    }
}

/// A few kinds, for the metric; the client sees its TLS alert.
pub(super) fn failure_kind(error: &io::Error) -> &'static str {
    use rustls::Error as Tls;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Tls>());
    match cause {
        Some(Tls::NoCertificatesPresented) => "certificate_missing",
        Some(Tls::InvalidCertificate(_)) => "certificate_invalid",
        Some(Tls::AlertReceived(_)) => "refused_by_client",
        Some(Tls::PeerIncompatible(_)) => "incompatible",
        Some(Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. }) => "not_tls",
        Some(_) => "other",
        None => "closed",
    }
}

/// One ticket for each TLS 1.3 handshake: a client that opens several connections gets one from each.
const TICKETS: usize = 1;
