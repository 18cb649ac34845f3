//! The guard's own proxying without its checks: its listener, its way to the service, nothing between.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use haetae::guard::{Config, GuardError};
use haetae::listen::{Listener, Metrics, Peer, RequestBody, Stop};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tokio_util::task::TaskTracker;

#[path = "../../../../src/guard/upstream.rs"]
mod upstream;

use upstream::Upstream;

/// What the guard's file takes; here nothing admits.
struct Admitted {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

pub async fn start(config: &Config) -> anyhow::Result<SocketAddr> {
    let upstream = Arc::new(Upstream::new(config)?);
    let listener = Listener::bind("plain", &config.listen, &Metrics::default()).await?;
    let (address, tracker) = (listener.local_addr(), TaskTracker::new());
    let factory = move |_: Arc<Peer>| {
        let upstream = Arc::clone(&upstream);
        service_fn(move |request| {
            let upstream = Arc::clone(&upstream);
            async move { Ok::<_, Infallible>(pass(&upstream, request).await) }
        })
    };
    tracker.spawn(listener.serve(factory, tracker.clone(), Stop::default()));
    Ok(address)
}

async fn pass(
    upstream: &Upstream,
    request: Request<RequestBody>,
) -> Response<Either<Incoming, Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return failed() };
    let Parts { method, uri, headers, .. } = head;
    match upstream.send(Admitted { method, uri, headers, body: body.to_bytes() }).await {
        Ok(response) => response.map(Either::Left),
        Err(_) => failed(),
    }
}

fn failed() -> Response<Either<Incoming, Full<Bytes>>> {
    let mut response = Response::new(Either::Right(Full::default()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
