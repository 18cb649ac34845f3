//! Builds a site's guard, joins it to its listeners, serves.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::service::service_fn;

use super::aside::{Aside, Running};
use crate::caller;
use crate::clock::Clock;
use crate::guard::{Config, Guard, Stands};
use crate::listen::{Fault, Peer};

/// # Errors
/// When a part cannot be built: says which and why. Nothing serves then.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let mut aside = Aside::new();
    let stop = aside.inner_stop.clone();
    let guard = Arc::new(Guard::start(&config, Clock::system(), &aside.inner, stop)?);
    aside.metrics.with(|all| guard.register(all));
    let followed = Arc::clone(&guard);
    aside.ready = Arc::new(move || ready(&followed.stands(), followed.trouble()));
    let told = Arc::clone(&guard);
    aside.on_fault = Some(Arc::new(move |peer: &Peer, fault: Fault| {
        told.unreadable(&caller::network(peer.remote.ip()), fault.code());
    }));
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

/// Ready while receipts of some lane open something; a line for each lane.
fn ready(lanes: &[Stands], trouble: Option<String>) -> (bool, String) {
    if let Some(trouble) = trouble {
        return (false, format!("not ready: the journal: {trouble}; start the guard again\n"));
    }
    let line = |lane: &Stands| {
        let Stands { origin, size, age_s, trouble, forked, open } = lane;
        let state = if *open { "open" } else { "CLOSED" };
        let why = forked.as_ref().or(trouble.as_ref()).map(|why| format!("; {why}"));
        let why = why.unwrap_or_default();
        format!("{state} {origin}: followed to {size} records, {age_s} s ago{why}\n")
    };
    let ready = lanes.is_empty() || lanes.iter().any(|lane| lane.open);
    let head = if ready { "ready\n" } else { "not ready: the log is not followed\n" };
    (ready, lanes.iter().map(line).fold(head.to_owned(), |all, line| all + line.as_str()))
}
