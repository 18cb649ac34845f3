//! What a site's operator may set, and why a guard cannot start.

use std::path::PathBuf;

use serde::Deserialize;

use crate::{listen, remote, telemetry};

/// The file of `haetae guard serve`; `guard.toml` in the project's root explains every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site's id, as the registry has it.
    pub site: String,
    /// The TLS identity that the registry expects of this site: SPIFFE id or `spki:sha256/...`.
    pub identity: String,
    /// Whom the site trusts: a C2SP tlog-policy file with the log's lanes, and witnesses if it asks for any.
    pub trust: PathBuf,
    /// The service: `http://` on this machine, or `https://`.
    pub upstream: String,
    /// PEM file of the CA that vouches for an `https` service.
    #[serde(default)]
    pub upstream_ca: Option<PathBuf>,
    /// What the guard shows an `https` service that lets in nobody else; PEM files.
    #[serde(default)]
    pub upstream_certificate: Option<PathBuf>,
    #[serde(default)]
    pub upstream_key: Option<PathBuf>,
    /// Where every use and every refusal is written.
    pub journal: PathBuf,
    pub listen: listen::Config,
    /// The log as it is published, to see that receipts are of the tree that everybody sees. On receipts alone when absent.
    #[serde(default)]
    pub follow: Option<FollowConfig>,
    /// Health and metrics; nothing when absent.
    #[serde(default)]
    pub console: Option<listen::Config>,
    /// Bytes of a request body.
    #[serde(default = "body_bytes_max")]
    pub body_bytes_max: u64,
    /// Seconds that a record may be old.
    #[serde(default = "age_s")]
    pub age_s: u32,
    /// Seconds that the gateway's clock may be ahead.
    #[serde(default = "skew_s")]
    pub skew_s: u32,
    #[serde(default)]
    pub telemetry: telemetry::Config,
}

/// How a published log is followed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowConfig {
    /// Origin of the deployment: `gw.example/log` when its lanes are `gw.example/log/0` and so on.
    pub log: String,
    pub remote: remote::Config,
    /// How far each lane was followed. It outlives restarts: what was seen once cannot be unseen.
    pub state: PathBuf,
    /// Seconds between two looks.
    #[serde(default = "every_s")]
    pub every_s: u32,
    /// Seconds for which receipts alone are enough when the log cannot be read, or does not show their trees; then nothing is let in.
    #[serde(default = "alone_s")]
    pub alone_s: u32,
}

/// Why a guard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("the trust file `{}` cannot be used: {cause}", path.display())]
    Trust { path: PathBuf, cause: tlog::policy::PolicyError },
    #[error("the journal `{}` cannot be used: {cause}", path.display())]
    Journal { path: PathBuf, cause: std::io::Error },
    #[error("the journal `{}` is broken in line {line}: {cause}; keep it, and name a new file", path.display())]
    Chain { path: PathBuf, line: u64, cause: &'static str },
    #[error("`follow`: {0}")]
    Follow(String),
    #[error("`upstream` is `{0}`: write http://host:port or https://host:port, without a path")]
    Upstream(String),
    #[error(
        "`upstream` is `{0}`: plain http goes to this machine only; use https, or put the guard beside the service"
    )]
    PlainUpstream(String),
    #[error("`upstream_ca`: {0}")]
    UpstreamCa(String),
    #[error("`upstream_certificate` and `upstream_key`: {0}")]
    UpstreamCertificate(String),
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [&mut self.trust, &mut self.journal]
            .into_iter()
            .chain(&mut self.upstream_ca)
            .chain(&mut self.upstream_certificate)
            .chain(&mut self.upstream_key);
        let listeners = [Some(&mut self.listen), self.console.as_mut()].into_iter().flatten();
        let follow = self.follow.iter_mut().flat_map(FollowConfig::paths_mut);
        own.chain(listeners.flat_map(listen::Config::paths_mut)).chain(follow)
    }

    /// How long a used receipt must be remembered: nothing older is let in, and a body may take its time.
    pub(super) fn window_ns(&self) -> i64 {
        let body_ms = i64::try_from(self.listen.limits.body_read_ms).unwrap_or(i64::MAX);
        (i64::from(self.age_s) + i64::from(self.skew_s))
            .saturating_mul(NS)
            .saturating_add(body_ms.saturating_mul(NS / 1_000))
    }

    pub(super) fn age_ns(&self) -> i64 {
        i64::from(self.age_s) * NS
    }

    pub(super) fn skew_ns(&self) -> i64 {
        i64::from(self.skew_s) * NS
    }
}

impl FollowConfig {
    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.state).chain(self.remote.paths_mut())
    }
}

const fn every_s() -> u32 {
    EVERY_S
}

const fn alone_s() -> u32 {
    ALONE_S
}

const fn body_bytes_max() -> u64 {
    BODY_BYTES_MAX
}

const fn age_s() -> u32 {
    AGE_S
}

const fn skew_s() -> u32 {
    SKEW_S
}

const NS: i64 = 1_000_000_000;
/// The gateway's largest route takes 20 MiB.
const BODY_BYTES_MAX: u64 = 32 << 20;
/// From the commit to the site: two round trips and a slow upload; a stolen receipt is worth nothing after it.
const AGE_S: u32 = 60;
/// A receipt of another history is found out within this time.
const EVERY_S: u32 = 10;
/// Long enough to restart a gateway; short enough that a log which is kept away from its readers is noticed.
const ALONE_S: u32 = 300;
/// Clocks that are kept by NTP differ by far less.
const SKEW_S: u32 = 5;
