//! What is done: a permit and a request become a response. The permit is consumed; there is no other way out.
//!
//! *Invariant:* one decision, one site, one attempt: nothing here re-sends.

use std::sync::Arc;

use crate::audit::Permit;

/// How one attempt ended; the gate turns it into the `ended` record.
#[derive(Debug, Clone)]
pub struct Sent {
    pub status: Option<u16>,
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

/// Called once the TLS connection that carries the request is known to be the pinned site.
pub type OnStart = Box<dyn FnOnce(Arc<str>) + Send + 'static>;

// CONTRACT (gate and app call exactly this):
//
// pub struct Config { .. }              // connect, first byte, idle timeouts; response cap; pool; client certificate paths
// pub struct Site { id, base_url, ca_pem, identity }   // what the app takes from the registry snapshot
// pub struct Forward { .. }
// impl Forward {
//     pub fn new(config: &Config, tracker, stop) -> Result<Self, ConfigError>;
//     pub fn set_sites(&self, sites: Vec<Site>);                      // swap, keeping pools of unchanged ones
//     pub fn choose(&self, permitted: &[Arc<str>]) -> Option<Arc<str>>; // healthy, power of two choices by load in flight
//     pub async fn send(&self, permit: Permit, request: Outgoing, on_start: OnStart, on_end: OnEnd) -> Result<http::Response<Body>, ForwardError>;
//     pub fn health(&self) -> Vec<SiteHealth>;
// }
// pub struct Outgoing { headers: allow-listed http::HeaderMap, body: Bytes, stream: bool }
#[expect(dead_code, reason = "until the contract is written")]
fn only_permits(_: Permit) {}
