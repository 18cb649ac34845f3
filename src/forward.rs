//! What is done: a permit and a request become a response. The permit is consumed; there is no other way out.
//!
//! A site is reached over TLS with a pinned identity and the gateway's own certificate, by HTTP/1.1. Connections are
//! pooled, and each is driven by the task that uses it: no task and no channel stands between a site's bytes and the
//! caller's socket, and dropping the response drops the site's work.
//!
//! *Invariant:* one decision, one site, one attempt: nothing here re-sends.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::{HeaderMap, Response};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::audit::Permit;

mod attempt;
mod balance;
mod body;
mod breaker;
mod config;
mod cutter;
mod ending;
mod failure;
mod headers;
mod identity;
mod link;
mod metrics;
mod probe;
mod site;
#[cfg(test)]
mod tests;

pub use body::{Body, Cut};
pub use config::{Config, ConfigError};
pub use cutter::Cutter;
pub use failure::{Failure, ForwardError};

use ending::Ending;
use site::Sites;

/// How one attempt ended; the gate turns it into the `ended` record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub status: Option<u16>,
    /// Bytes of the request's body that were handed to the connection.
    pub bytes_out: u64,
    pub bytes_back: u64,
    /// True when at least the head may have reached the site.
    pub reached: bool,
    /// True when the response arrived whole.
    pub whole: bool,
    /// Published reason when it was cut short: `client_gone`, `site_timeout_idle`, `response_too_large`, ...
    pub why: Option<&'static str>,
}

/// Called exactly once for each attempt: when the body ended, failed, or was dropped.
pub type OnEnd = Box<dyn FnOnce(Sent) + Send + 'static>;

/// Called once the TLS connection that carries the request is known to be the pinned site, before a byte is sent.
pub type OnStart = Box<dyn FnOnce(Arc<str>) + Send + 'static>;

/// A GPU site, as the app takes it from the registry's snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub id: Arc<str>,
    /// `https://host[:port]`, without a path.
    pub base_url: String,
    /// The CAs that may sign the site's certificate, PEM.
    pub ca_pem: String,
    /// `spiffe://...`, or `spki:sha256/<base64>` (several with commas between them while a key rotates).
    pub identity: Arc<str>,
}

/// What goes to the site, from the gate. Of the headers only those on the allow-list of this room are sent.
#[derive(Debug)]
pub struct Outgoing {
    pub headers: HeaderMap,
    /// The very bytes that were inspected: their digest stands in the permit.
    pub body: Bytes,
    /// True when the caller asked for a stream: it has no size cap, and another wait for its first byte.
    pub stream: bool,
    /// Kept by whoever may have to cut it.
    pub cutter: Cutter,
}

/// A site as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteHealth {
    pub id: Arc<str>,
    pub usable: bool,
    pub in_flight: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Code of the last failure while it counts, or what is wrong with the site's entry.
    pub why: Option<String>,
}

/// Forwards what is permitted. Shared behind `Arc`.
pub struct Forward {
    sites: Arc<Sites>,
}

impl Forward {
    /// Reads the gateway's certificate and starts to watch the sites (none yet: see [`Forward::set_sites`]).
    ///
    /// # Errors
    /// When the certificate or its key cannot be read or do not belong together.
    pub fn new(
        config: &Config,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, ConfigError> {
        let sites = Arc::new(Sites::new(config)?);
        tracker.spawn(probe::run(Arc::clone(&sites), stop));
        Ok(Self { sites })
    }

    /// Replaces the sites. Unchanged ones keep their connections and their health; what is under way to a removed one
    /// goes on to its end. An entry that cannot be used is kept and shown by [`Forward::health`].
    pub fn set_sites(&self, sites: Vec<Site>) {
        self.sites.set(sites);
    }

    /// Reads the gateway's certificate again. New connections show it; open ones end by age.
    ///
    /// # Errors
    /// As [`Forward::new`]; the old certificate then stays in use.
    pub fn reload(&self) -> Result<(), ConfigError> {
        self.sites.reload()
    }

    /// The site to use among those permitted: of two taken at random from the healthy ones, the less loaded.
    #[must_use]
    pub fn choose(&self, permitted: &[Arc<str>]) -> Option<Arc<str>> {
        balance::choose(&self.sites, permitted)
    }

    /// Sends the request that the permit is for, once.
    ///
    /// Cancel-safe: dropping it, or the response's body, closes the connection and so cancels the site's work.
    /// `on_end` is called exactly once in every case.
    ///
    /// # Errors
    /// When no response came; says whether anything may have reached the site.
    pub async fn send(
        &self,
        permit: Permit,
        request: Outgoing,
        on_start: OnStart,
        on_end: OnEnd,
    ) -> Result<Response<Body>, ForwardError> {
        let ending = Ending::new(on_end);
        let target = permit.target();
        let site = self.sites.find(&target.site).filter(|site| site.is(target));
        let Some(site) = site else { return Err(ending.fail(Failure::SiteChanged)) };
        if !attempt::is_permitted(&request.body, permit.body_digest()) {
            return Err(ending.fail(Failure::BodyChanged));
        }
        let call = attempt::Call {
            method: target.method,
            path: target.path,
            headers: headers::to_site(&request.headers, target, permit.proof()),
            body: request.body,
            stream: request.stream,
            cutter: request.cutter,
        };
        attempt::attempt(site, &self.sites.config, call, on_start, ending).await
    }

    #[must_use]
    pub fn health(&self) -> Vec<SiteHealth> {
        self.sites.all().values().map(|site| site.health()).collect()
    }

    /// Adds this room's metrics: `haetae_site_*`.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.sites.metrics.register(registry);
    }
}
