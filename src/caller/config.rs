//! Which issuers and certificates are believed, and how their words become organisation, roles, actor and place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use verdict::question::ActorKind;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub issuers: Vec<IssuerConfig>,
    pub certificates: Vec<CertificateConfig>,
    /// Seconds by which clocks may differ, for `exp` and `nbf`; at most 60.
    pub leeway_s: u8,
    pub token_bytes_max: usize,
    /// Verified credentials kept in memory.
    pub cache_entries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            certificates: Vec::new(),
            leeway_s: LEEWAY_S,
            token_bytes_max: TOKEN_BYTES_MAX,
            cache_entries: CACHE_ENTRIES,
        }
    }
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.issuers
            .iter_mut()
            .flat_map(|issuer| issuer.jwks_file.iter_mut().chain(&mut issuer.jwks_ca))
    }
}

/// One token issuer. Its keys come from exactly one of `jwks_url` and `jwks_file`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// A token must name one of these in `aud`.
    pub audiences: Vec<String>,
    /// What its tokens may be signed with. Never taken from a token.
    pub algorithms: Vec<Algorithm>,
    /// `https://...`, or `http://` on a loopback address.
    #[serde(default)]
    pub jwks_url: Option<String>,
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// PEM file with the CAs that `jwks_url` is verified against instead of the system's.
    #[serde(default)]
    pub jwks_ca: Option<PathBuf>,
    /// Seconds between refreshes of the keys, 1 to 50: a removed key is refused within that and one fetch.
    #[serde(default = "refresh_s")]
    pub refresh_s: u8,
    /// Seconds without another fetch after a fetch for an unknown key id that did not bring it.
    #[serde(default = "cooldown_s")]
    pub cooldown_s: u16,
    /// Seconds for which keys are still used while the issuer cannot be reached.
    #[serde(default = "stale_max_s")]
    pub stale_max_s: u32,
    /// If given, the token's `typ` must be one of these, e.g. `at+jwt` (RFC 9068).
    #[serde(default)]
    pub typ: Vec<String>,
    pub organisation: OrganisationConfig,
    #[serde(default)]
    pub roles: RolesConfig,
    #[serde(default)]
    pub actor_kind: ActorKindConfig,
    /// Claim that says where the actor is (ISO 3166). Claims are named, or pointed at (RFC 6901): `/realm_access/roles`.
    #[serde(default)]
    pub place_claim: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    ES256,
    ES384,
    RS256,
    PS256,
}

/// Which organisation an issuer may speak for. An issuer speaks only for those named here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum OrganisationConfig {
    /// All its tokens are of this organisation.
    Fixed(String),
    /// The claim's value is looked up: exactly, else by the longest entry that ends in `*`.
    Claim {
        claim: String,
        /// Value of the claim -> organisation id; `=` on the right takes the value itself.
        values: BTreeMap<String, String>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolesConfig {
    /// Claim with a list of strings, or with one string of words.
    pub claim: Option<String>,
    /// Value in the claim -> role, as for organisations; values that are not found give no role.
    pub values: BTreeMap<String, String>,
    /// Roles that every caller of this issuer has.
    pub always: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActorKindConfig {
    /// Claim that tells people from services.
    pub claim: Option<String>,
    /// Its values that mean a person; any other value, or none, means `otherwise`.
    pub human: Vec<String>,
    pub otherwise: ActorKind,
}

impl Default for ActorKindConfig {
    fn default() -> Self {
        Self { claim: None, human: Vec::new(), otherwise: ActorKind::Service }
    }
}

/// Callers known by their client certificate: those of a SPIFFE trust domain, or one DNS name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    #[serde(default)]
    pub trust_domain: Option<String>,
    /// Only ids whose path starts with these segments; the longest matching rule holds.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// The certificate's first DNS name.
    #[serde(default)]
    pub dns: Option<String>,
    pub organisation: String,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub place: Option<String>,
    #[serde(default = "service")]
    pub actor_kind: ActorKind,
    /// Subjects whose tokens this workload may carry besides its own; a last `*` stands for anything.
    #[serde(default)]
    pub token_subjects: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("no caller can be known: configure `issuers` or `certificates`")]
    Nobody,
    #[error("issuer `{0}` is there twice")]
    IssuerTwice(String),
    #[error("issuer `{issuer}`: {problem}")]
    Issuer { issuer: String, problem: String },
    #[error("certificate rule for `{rule}`: {problem}")]
    Certificate { rule: String, problem: &'static str },
    #[error("`{key}` must be {range}")]
    Range { key: &'static str, range: &'static str },
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.issuers.is_empty() && self.certificates.is_empty() {
            return Err(ConfigError::Nobody);
        }
        let range =
            |key, range, good| if good { Ok(()) } else { Err(ConfigError::Range { key, range }) };
        range("leeway_s", "at most 60", self.leeway_s <= LEEWAY_S_MAX)?;
        range("token_bytes_max", "64 to 32768", (64..=32_768).contains(&self.token_bytes_max))?;
        range("cache_entries", "1 to 1000000", (1..=1_000_000).contains(&self.cache_entries))?;
        let mut seen = BTreeSet::new();
        for issuer in &self.issuers {
            issuer.check().map_err(|problem| ConfigError::Issuer {
                issuer: issuer.issuer.clone(),
                problem: problem.to_owned(),
            })?;
            // the whole-token digest that keys the cache then also names the issuer's configuration
            if !seen.insert(&issuer.issuer) {
                return Err(ConfigError::IssuerTwice(issuer.issuer.clone()));
            }
        }
        Ok(())
    }
}

impl IssuerConfig {
    fn check(&self) -> Result<(), &'static str> {
        if self.issuer.is_empty() || self.audiences.is_empty() || self.algorithms.is_empty() {
            return Err("`issuer`, `audiences` and `algorithms` may not be empty");
        }
        match (&self.jwks_url, &self.jwks_file) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err("give either `jwks_url` or `jwks_file`"),
        }
        if !(1..=REFRESH_S_MAX).contains(&self.refresh_s) {
            return Err("`refresh_s` must be 1 to 50: a removed key is refused within a minute");
        }
        if self.cooldown_s == 0 || self.stale_max_s == 0 {
            return Err("`cooldown_s` and `stale_max_s` must be greater than 0");
        }
        match &self.organisation {
            OrganisationConfig::Claim { values, .. } if values.is_empty() => {
                Err("`organisation.claim.values` is empty: name the organisations it may speak for")
            }
            _ => Ok(()),
        }
    }
}

/// Looks a value up exactly, else by the longest entry ending in `*`; `=` gives the value itself.
pub(super) fn mapped<'a>(values: &'a BTreeMap<String, String>, value: &'a str) -> Option<&'a str> {
    let found = values.get(value).or_else(|| {
        values
            .iter()
            .filter(|(entry, _)| matches_pattern(entry, value))
            .max_by_key(|(entry, _)| entry.len())
            .map(|(_, to)| to)
    })?;
    Some(if found == "=" { value } else { found })
}

/// Equal, or equal up to a last `*`.
pub(super) fn matches_pattern(pattern: &str, value: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == value, |prefix| value.starts_with(prefix))
}

const fn refresh_s() -> u8 {
    REFRESH_S
}

const fn cooldown_s() -> u16 {
    COOLDOWN_S
}

const fn stale_max_s() -> u32 {
    STALE_MAX_S
}

const fn service() -> ActorKind {
    ActorKind::Service
}

/// Machines with NTP differ by less than a second; 30 s covers those without.
const LEEWAY_S: u8 = 30;
/// A stream may outlive its authority by 60 s at most.
const LEEWAY_S_MAX: u8 = 60;
/// A token with an `x5c`-free header, 40 roles and an RS256 signature is below 3 KiB.
const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// About 1 KiB each: 16 MiB when full.
const CACHE_ENTRIES: usize = 16 * 1_024;
/// A removed key is refused after 30 s and one fetch of at most 5 s.
const REFRESH_S: u8 = 30;
const REFRESH_S_MAX: u8 = 50;
/// Garbage key ids cost an issuer at most one fetch in 5 s.
const COOLDOWN_S: u16 = 5;
/// An hour: an issuer's outage of a morning is felt, a blip is not.
const STALE_MAX_S: u32 = 3_600;
