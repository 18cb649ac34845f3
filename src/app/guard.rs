//! Builds a site's guard, joins it to its listeners, serves.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::service::service_fn;

use super::aside::{Aside, Running};
use crate::caller;
use crate::clock::Clock;
use crate::guard::{Config, Guard};
use crate::listen::Peer;

/// # Errors
/// When a part cannot be built: says which and why. Nothing serves then.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let aside = Aside::new();
    let stop = aside.inner_stop.clone();
    let guard = Arc::new(Guard::start(&config, Clock::system(), &aside.inner, stop)?);
    aside.metrics.with(|all| guard.register(all));
    let factory = move |peer: Arc<Peer>| {
        let network: Arc<str> = caller::network(peer.remote.ip()).into();
        let guard = Arc::clone(&guard);
        service_fn(move |request| {
            let (guard, network) = (Arc::clone(&guard), Arc::clone(&network));
            async move { Ok::<_, Infallible>(guard.handle(&network, request).await) }
        })
    };
    aside.serve("site", &config.listen, config.console.as_ref(), factory).await
}
