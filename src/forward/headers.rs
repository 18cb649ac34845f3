//! Which headers cross, in each direction. Both lists are allow-lists: hop-by-hop headers, cookies, credentials, forged
//! `Haetae-*` and everything not thought of stay behind.

use hyper::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, InvalidHeaderValue, RETRY_AFTER,
    },
};

use crate::audit::{Proof, Target};

/// The head for the site: what the caller may send along, then the gateway's own, which win.
pub fn to_site(from_gate: &HeaderMap, target: &Target, proof: &Proof) -> HeaderMap {
    let mut head = allowed(from_gate, |name| TO_SITE.contains(&name.as_str()));
    let own = [
        (HOST, HeaderValue::from_str(&target.authority)),
        (RECEIPT, HeaderValue::from_maybe_shared(proof.receipt.clone())),
        (LEAF, HeaderValue::from_maybe_shared(proof.leaf.clone())),
        (DECISION, HeaderValue::from_str(&proof.id)),
    ];
    for (name, value) in own {
        set(&mut head, name, value);
    }
    match target.content_type {
        Some(media) => set(&mut head, CONTENT_TYPE, HeaderValue::from_str(media)),
        None => drop(head.remove(CONTENT_TYPE)),
    }
    head
}

/// The head for the caller. The site's own request id arrives as `haetae-site-request-id`: `x-request-id` is the
/// decision's.
pub fn to_caller(from_site: &HeaderMap) -> HeaderMap {
    let mut head = allowed(from_site, |name| {
        TO_CALLER.contains(name) || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
    });
    if let Some(id) = from_site.get(REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_MAX) {
        head.insert(SITE_REQUEST_ID, id.clone());
    }
    head
}

fn allowed(from: &HeaderMap, is_allowed: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(HEADERS_USUAL);
    for (name, value) in from.iter().filter(|(name, _)| is_allowed(name)) {
        head.append(name.clone(), value.clone());
    }
    head
}

/// A value that is no header value is left out: the guard then refuses, nothing is let in by it.
fn set(head: &mut HeaderMap, name: HeaderName, value: Result<HeaderValue, InvalidHeaderValue>) {
    match value {
        Ok(value) => drop(head.insert(name, value)),
        Err(_) => drop(head.remove(name)),
    }
}

const RECEIPT: HeaderName = HeaderName::from_static("haetae-receipt");
const LEAF: HeaderName = HeaderName::from_static("haetae-leaf");
const DECISION: HeaderName = HeaderName::from_static("haetae-decision");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SITE_REQUEST_ID: HeaderName = HeaderName::from_static("haetae-site-request-id");

/// Both are the gateway's own words. Not `accept-encoding`: a compressed stream cannot be passed on piece by piece.
const TO_SITE: [&str; 2] = ["accept", "traceparent"];

const TO_CALLER: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CACHE_CONTROL, RETRY_AFTER];

/// `openai-processing-ms`, `openai-model`, `x-ratelimit-remaining-tokens`: the SDKs show them.
const PREFIXES: [&str; 2] = ["openai-", "x-ratelimit-"];

const HEADERS_USUAL: usize = 12;

/// Bytes; a UUID has 36.
const REQUEST_ID_MAX: usize = 128;
