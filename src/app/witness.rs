//! Builds a witness, joins it to its listeners, serves.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::service::service_fn;

use super::aside::{Aside, Running};
use crate::clock::Clock;
use crate::listen::Peer;
use crate::witness::{Config, Witness};

/// # Errors
/// When a part cannot be built: says which and why. Nothing serves then.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let mut aside = Aside::new();
    let witness = Arc::new(Witness::open(&config, Clock::system())?);
    aside.metrics.with(|all| witness.register(all));
    // Checkpoints are cosigned whatever keeps a log from being mirrored: it is ready all the same.
    let stands = Arc::clone(&witness);
    aside.ready = Arc::new(move || (true, format!("ready\n{}", stands.stands())));
    witness.watch(&aside.inner, &aside.inner_stop);
    let factory = move |_: Arc<Peer>| {
        let witness = Arc::clone(&witness);
        service_fn(move |request| {
            let witness = Arc::clone(&witness);
            async move { Ok::<_, Infallible>(witness.handle(request).await) }
        })
    };
    aside.serve("witness", &config.listen, config.console.as_ref(), factory).await
}
