//! The head for the service. It gets what the leaf names, as the leaf names it, and of the other headers only those that the
//! gateway sends to sites: what was not checked and could be read as another request (another method, path, type or coding)
//! stays here.

use hyper::http::HeaderMap;
use hyper::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::ticket::{LEAF, Proven, RECEIPT};
use super::upstream::named_by_connection;

/// The head for the service: what the gateway sends along, then what was proven, which no `connection` takes away.
pub(super) fn to_service(from: &HeaderMap, proven: &Proven<'_>) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(HEADERS_USUAL);
    for (name, value) in from.iter().filter(|(name, _)| ALONG.contains(&name.as_str())) {
        head.append(name.clone(), value.clone());
    }
    for name in named_by_connection(from) {
        head.remove(name);
    }
    for name in [RECEIPT, LEAF] {
        if let Some(value) = from.get(&name) {
            head.insert(name, value.clone());
        }
    }
    let own = [(CONTENT_TYPE, proven.content_type()), (DECISION, Some(&*proven.decision))];
    for (name, value) in own {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            head.insert(name, value);
        }
    }
    head
}

/// `TO_SITE` of `forward::headers`, which this room may not read: a test sends a request through both and holds one against
/// the other.
const ALONG: [&str; 2] = ["accept", "traceparent"];
const DECISION: HeaderName = HeaderName::from_static("haetae-decision");
/// Those, and the four that are proven.
const HEADERS_USUAL: usize = 6;
