//! One attempt: a connection, the request, the head of the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    http::{HeaderMap, StatusCode},
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::{
    Body, Config, Cutter, Failure, ForwardError, OnStart,
    cutter::Open,
    ending::Ending,
    headers,
    link::{Link, NoAnswer},
    site::{Endpoint, SiteState},
};

/// The request, complete.
pub struct Call {
    pub method: &'static str,
    /// Origin form: a path without a query.
    pub path: &'static str,
    /// With `Host`.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub stream: bool,
    pub cutter: Cutter,
}

/// True when the body is the one whose digest the permit holds: the last look before it leaves. 0.5 us for each KiB.
pub fn is_permitted(body: &[u8], digest_hex: &str) -> bool {
    let mut hex = [0; 64];
    hex::encode_to_slice(Sha256::digest(body), &mut hex).is_ok() && hex == digest_hex.as_bytes()
}

/// Sends the call to the site, once.
pub async fn attempt(
    site: Arc<SiteState>,
    config: &Config,
    call: Call,
    on_start: OnStart,
    mut ending: Ending,
) -> Result<Response<Body>, ForwardError> {
    let Ok(endpoint) = &site.endpoint else { return Err(ending.fail(Failure::SiteInvalid)) };
    ending.at(Arc::clone(&site));
    let mut link = match connected(&site, endpoint, config, &call.cutter).await {
        Ok(link) => link,
        Err(failure) => return Err(ending.fail(failure)),
    };
    if let Some(why) = call.cutter.why() {
        return Err(ending.fail(why));
    }
    on_start(Arc::clone(&link.identity));

    let (stream, bytes_out) = (call.stream, call.body.len() as u64);
    let cutter = call.cutter.clone();
    let Some(request) = request(call) else { return Err(ending.fail(Failure::SiteInvalid)) };
    // If we stop here, or anywhere below, the site may have the request: the record says so.
    ending.sent.reached = true;
    ending.sent.bytes_out = bytes_out;
    let sent_at = Instant::now();
    let answered = tokio::select! {
        biased;
        why = cutter.wait() => return Err(ending.fail(why)),
        answered = timeout(config.first_byte(stream), link.exchange(request)) => answered,
    };
    let response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(NoAnswer { reached: true })) => return Err(ending.fail(Failure::Closed)),
        Ok(Err(NoAnswer { reached: false })) => {
            ending.sent.reached = false;
            ending.sent.bytes_out = 0;
            return Err(ending.fail(Failure::Unreachable));
        }
        Err(_) => return Err(ending.fail(Failure::FirstByteTimeout)),
    };
    site.answered(sent_at.elapsed());
    ending.sent.status = Some(response.status().as_u16());
    let bytes_max = config.response_max(stream);
    if let Some(failure) = not_carried(&response, bytes_max) {
        return Err(ending.fail(failure));
    }
    let (head, incoming) = response.into_parts();
    let limits = (bytes_max, Duration::from_millis(config.idle_ms));
    let mut response =
        Response::new(Body::new(incoming, Open { link, ending }, cutter, site, limits));
    *response.status_mut() = head.status;
    *response.headers_mut() = headers::to_caller(&head.headers);
    Ok(response)
}

/// An idle connection, or a new one.
async fn connected(
    site: &SiteState,
    endpoint: &Endpoint,
    config: &Config,
    cutter: &Cutter,
) -> Result<Box<Link>, Failure> {
    if let Some(link) = site.pool.take() {
        return Ok(link);
    }
    tokio::select! {
        biased;
        why = cutter.wait() => Err(why),
        link = Link::open(endpoint, config) => link,
    }
}

fn request(call: Call) -> Option<Request<Full<Bytes>>> {
    let mut request =
        Request::builder().method(call.method).uri(call.path).body(Full::new(call.body)).ok()?;
    *request.headers_mut() = call.headers;
    Some(request)
}

/// An answer that must not go to the caller as it is. A redirect would send data elsewhere; a 401 or 403 is about the
/// gateway's credentials or its receipt and would be taken for the caller's.
fn not_carried(response: &Response<Incoming>, bytes_max: u64) -> Option<Failure> {
    let status = response.status();
    if status.is_informational() || status.is_redirection() {
        return Some(Failure::Protocol);
    }
    if REFUSALS.contains(&status) {
        return Some(Failure::Refused);
    }
    (response.body().size_hint().lower() > bytes_max).then_some(Failure::TooLarge)
}

const REFUSALS: [StatusCode; 4] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    StatusCode::MISDIRECTED_REQUEST,
];
