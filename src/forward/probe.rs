//! Looks after the sites: closes idle connections in time, and connects to each site that has none, so that an outage
//! or a wrong identity is known before a request meets it, and an end of it too.
//!
//! A probe is a TLS handshake, never a request: a site's guard lets in nothing without a receipt.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    link::Link,
    site::{SiteState, Sites},
};

/// Runs until `stop`.
pub async fn run(sites: Arc<Sites>, stop: CancellationToken) {
    let mut ticks = interval(Duration::from_millis(sites.config.probe_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = once(&sites) => {}
        }
    }
}

/// Looks at every site once, all at the same time.
pub async fn once(sites: &Sites) {
    let all = sites.all();
    join_all(all.values().map(|site| look(sites, site))).await;
}

async fn look(sites: &Sites, site: &SiteState) {
    let is_connected = site.pool.sweep() > 0;
    let Ok(endpoint) = &site.endpoint else { return };
    if is_connected && site.breaker.failures() == 0 {
        return;
    }
    match Link::open(endpoint, &sites.config).await {
        Ok(link) => {
            site.breaker.connected();
            site.pool.put(link);
        }
        Err(failure) => site.failed(failure),
    }
}
