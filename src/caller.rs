//! Who asks: a connection and a request head become a [`Caller`].
//!
//! *Invariant:* nothing a caller *says* about data, place or policy is read here; and no token leaves this room.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::http::HeaderMap;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict::question::ActorKind;

use crate::clock::Clock;

mod agreement;
mod certificate;
mod claims;
mod config;
mod fetch;
mod issuer;
mod keys;
mod memo;
mod metrics;
mod token;

pub use config::{
    ActorKindConfig, Algorithm, CertificateConfig, Config, ConfigError, IssuerConfig,
    OrganisationConfig, RolesConfig,
};

use certificate::Rules;
use issuer::Issuer;
use memo::Memo;
use metrics::Metrics;

/// Who asks, proven. Carries no token and no raw personal field beyond `actor`, which audit digests before it keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Organisation id, as in the registry.
    pub org: Arc<str>,
    /// The person or service (`sub` of the token, or the SPIFFE id): personal, never written in clear.
    pub actor: Arc<str>,
    pub actor_kind: ActorKind,
    pub roles: Arc<[Arc<str>]>,
    pub credential: Credential,
    /// The place the credential asserts for the actor (ISO 3166), if its issuer is configured to say one.
    pub place: Option<Arc<str>>,
    /// Unix seconds after which this identity must not be used: token `exp` with the leeway, certificate `notAfter`,
    /// whichever is first.
    pub expires_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub kind: CredentialKind,
    /// Token issuer.
    pub issuer: Option<Arc<str>>,
    /// Lower-case hex SHA-256 of the token's `jti` (of the whole token when it has none).
    pub token_digest: Option<Arc<str>>,
    /// The certificate's SPIFFE id, else its first DNS SAN.
    pub certificate_id: Option<Arc<str>>,
    /// Lower-case hex SHA-256 of the certificate's DER.
    pub certificate_digest: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    Token,
    Certificate,
    /// Both were given and agree.
    TokenAndCertificate,
}

/// What the connection proves, parsed once for each connection.
#[derive(Debug, Clone)]
pub struct Connection {
    pub remote: SocketAddr,
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// The identities in a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    pub spiffe_ids: Vec<String>,
    pub dns_names: Vec<String>,
    /// Lower-case hex SHA-256 of the DER.
    pub sha256: String,
    /// The same digest as bytes.
    pub digest: [u8; 32],
    pub not_before: i64,
    pub not_after: i64,
}

/// Why a caller is not known. One answer (401) for all, so that no caller learns which; the audit's aggregate keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum CallerError {
    #[error("no credential was given")]
    Missing,
    #[error("the authorization header is malformed")]
    Malformed,
    #[error("the issuer is not configured")]
    UnknownIssuer,
    #[error("the algorithm is not allowed for this issuer")]
    Algorithm,
    #[error("no key of the issuer has this id")]
    UnknownKey,
    #[error("the signature does not verify")]
    Signature,
    #[error("the token has expired or has no exp")]
    Expired,
    #[error("the token is not yet valid")]
    NotYetValid,
    #[error("the audience is not ours")]
    Audience,
    #[error("a required claim is missing or of the wrong type")]
    Claims,
    #[error("the token is bound to another certificate")]
    Binding,
    #[error("the certificate has expired or names nobody we know")]
    Certificate,
    #[error("the token and the certificate disagree")]
    Disagreement,
    #[error("the issuer's keys cannot be had at present")]
    KeysUnavailable,
}

impl CallerError {
    /// The published code kept in aggregates and metrics, e.g. `token_expired`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Malformed => "token_malformed",
            Self::UnknownIssuer => "issuer_unknown",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Claims => "token_claims",
            Self::Binding => "token_binding",
            Self::Certificate => "certificate_unknown",
            Self::Disagreement => "credentials_disagree",
            Self::KeysUnavailable => "issuer_keys_unavailable",
        }
    }
}

/// Knows the issuers and the certificates that callers may come with. Share it behind an `Arc`.
pub struct Callers {
    issuers: Vec<Arc<Issuer>>,
    certificates: Rules,
    memo: Memo,
    metrics: Metrics,
    leeway_s: i64,
    token_bytes_max: usize,
    clock: Clock,
}

impl Callers {
    /// Checks the configuration and asks each issuer for its keys once. An issuer that cannot be reached does not stop
    /// the start (its callers get 401, and `health` says so); a key file that cannot be read does.
    pub async fn new(config: &Config, clock: Clock) -> Result<Self, ConfigError> {
        config.check()?;
        let metrics = Metrics::default();
        let mut issuers = Vec::with_capacity(config.issuers.len());
        for issuer in &config.issuers {
            issuers.push(Arc::new(Issuer::new(issuer, clock.clone(), metrics.clone())?));
        }
        futures_util::future::join_all(issuers.iter().map(|issuer| issuer.refresh())).await;
        for issuer in &issuers {
            issuer.check_file()?;
        }
        Ok(Self {
            issuers,
            certificates: Rules::new(&config.certificates)?,
            memo: Memo::new(config.cache_entries),
            metrics,
            leeway_s: config.leeway_s.into(),
            token_bytes_max: config.token_bytes_max,
            clock,
        })
    }

    /// Keeps the key sets fresh until `stop`: a key that its issuer removed is refused within the refresh interval.
    pub fn keep_fresh(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        for issuer in &self.issuers {
            tracker.spawn(Arc::clone(issuer).watch(stop.clone()));
        }
    }

    /// Who asks. A known credential costs one SHA-256 and one look-up; the network is touched only for an unknown key
    /// id or a missing key set, and then by one request at a time. Cancel-safe.
    pub async fn identify(
        &self,
        connection: &Connection,
        head: &HeaderMap,
    ) -> Result<Arc<Caller>, CallerError> {
        let now = self.clock.unix_s();
        let outcome = self.look(connection, head, now).await;
        if let Err(error) = &outcome {
            self.metrics.refused(*error);
        }
        outcome
    }

    async fn look(
        &self,
        connection: &Connection,
        head: &HeaderMap,
        now: i64,
    ) -> Result<Arc<Caller>, CallerError> {
        let token = token::bearer(head, self.token_bytes_max)?;
        let certificate = connection.certificate.as_deref();
        if let Some(certificate) = certificate {
            certificate.check(now)?;
        }
        let key = memo::Key::of(token, certificate);
        if let Some(caller) = self.memo.find(&key, now) {
            self.metrics.hit();
            return Ok(caller);
        }
        let known = match (token, certificate) {
            (None, None) => return Err(CallerError::Missing),
            (None, Some(certificate)) => self.certificates.caller(certificate)?,
            (Some(token), _) => {
                let proven =
                    token::verify(token, &self.issuers, self.leeway_s, &self.clock).await?;
                agreement::join(proven, certificate, &self.certificates, self.leeway_s)?
            }
        };
        let caller = Arc::clone(&known.caller);
        self.memo.keep(key, known);
        Ok(caller)
    }

    /// Issuer, whether its keys are usable now, and in words. For `/readyz`.
    #[must_use]
    pub fn health(&self) -> Vec<(String, bool, String)> {
        self.issuers.iter().map(|issuer| issuer.health()).collect()
    }

    /// Registers the counters of this room; call it once.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

/// A client's network, /24 or /48: enough to see a pattern, not a person.
#[must_use]
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn a_network_is_not_an_address() {
        assert_eq!(network("203.0.113.77".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(network("::ffff:203.0.113.77".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(network("2001:db8:5:77::1".parse().unwrap()), "2001:db8:5::/48");
    }
}
