//! Who asks: a connection and a request head become a [`Caller`].
//!
//! *Invariant:* nothing a caller *says* about data, place or policy is read here; and no token leaves this room.

use std::net::SocketAddr;
use std::sync::Arc;

use verdict::question::ActorKind;

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
    /// Unix seconds after which this identity must not be used: token `exp`, certificate `notAfter`, whichever is first.
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

// CONTRACT (to be written by the owner of this room; the gate calls exactly this):
//
// impl Connection { pub fn new(remote: SocketAddr, leaf: Option<&CertificateDer<'_>>) -> Self }   // parses once
//
// pub struct Config { .. }            // serde, deny_unknown_fields: issuers[], certificate callers[], leeway ...
// pub struct Callers { .. }           // shared, cheap to clone behind Arc
// impl Callers {
//     pub async fn new(config: &Config, clock: Clock) -> Result<Self, ConfigError>;
//     /// Cancel-safe. Touches the network only for an unknown kid or a missing key set.
//     pub async fn identify(&self, connection: &Connection, head: &http::HeaderMap) -> Result<Arc<Caller>, CallerError>;
//     /// issuer -> state of its key set, for /readyz
//     pub fn health(&self) -> Vec<(String, bool, String)>;
// }
