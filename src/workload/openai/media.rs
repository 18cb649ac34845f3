//! Which bodies are read at all: JSON in UTF-8, not compressed.

use hyper::http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use verdict::reason::Reason;

use crate::workload::NotUnderstood;

/// Checks `Content-Type` and `Content-Encoding`.
///
/// # Errors
/// 415.
pub fn check(head: &HeaderMap) -> Result<(), NotUnderstood> {
    if head.contains_key(CONTENT_ENCODING) {
        let message = "a compressed body cannot be inspected: send it without `content-encoding`";
        return Err(
            NotUnderstood::new(415, Reason::ContentEncodingRefused, message).of("Content-Encoding")
        );
    }
    let mut given = head.get_all(CONTENT_TYPE).iter();
    let is_json = match (given.next().map(|value| value.to_str()), given.next()) {
        (Some(Ok(value)), None) => is_json(value),
        _ => false,
    };
    if is_json {
        return Ok(());
    }
    let message =
        "send `content-type: application/json`, once, with no parameter but `charset=utf-8`";
    Err(NotUnderstood::new(415, Reason::MediaTypeRefused, message).of("Content-Type"))
}

/// `application/json`, with at most the parameter `charset=utf-8` (RFC 9110, 8.3.1).
fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(|part| part.trim_matches([' ', '\t']));
    let media = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let utf8 = |part: &str| {
        part.eq_ignore_ascii_case("charset=utf-8") || part.eq_ignore_ascii_case("charset=\"utf-8\"")
    };
    media && parts.next().is_none_or(utf8) && parts.next().is_none()
}
