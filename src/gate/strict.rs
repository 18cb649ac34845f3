//! The strict first layer: a parsed request head is either plain, or refused before anything else looks at it.
//!
//! In: the head. Out: nothing, or the rule that refuses it. What only the bytes can show (two lengths, a bare LF) is
//! `listen::framing`'s; the checks that both can make are made twice.
//!
//! *Invariant:* pure; and refuses, never repairs: no folding, no decoding, no normalising. What may go upstream is an
//! allow-list, so that a header nobody thought of goes nowhere.

use std::collections::BTreeSet;

use hyper::http::request::Parts;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use verdict::reason::Reason;

use crate::workload;

mod authority;
mod target;

pub use authority::{Authorities, AuthorityError};

/// Why a head is refused. All texts are ours: nothing of the client's is echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StrictError {
    pub status: StatusCode,
    pub reason: Reason,
    /// The published name of the rule, e.g. `host_missing`.
    pub rule: &'static str,
    /// One sentence that says what to do.
    pub message: &'static str,
}

/// The value of `allow` in a 405 answer (RFC 9110, section 10.2.1).
pub const METHODS: &str = "GET, POST";

/// Checks a request head. `authorities` are the names under which this gateway is addressed.
pub fn check(head: &Parts, authorities: &Authorities) -> Result<(), StrictError> {
    method(head)?;
    sizes(&head.headers)?;
    names(&head.headers)?;
    hop_by_hop(head)?;
    framing(&head.headers)?;
    target::check(&head.uri)?;
    authority::check(head, authorities)?;
    values(&head.headers)
}

/// The request headers that go to a site: what the site needs in order to read the body and choose the form of its
/// answer, and nothing else.
///
/// Not among them, and why: `authorization`, `cookie` (the gateway's credentials are its own), `user-agent`,
/// `x-stainless-*`, `accept-language` (they describe the caller's machine or person and would cross the border
/// unrecorded), `openai-organization`, `openai-project` (accounts at another provider), `openai-beta` (turns on
/// protocol features that were not read), `accept-encoding` (what passes is what is counted), `traceparent` and `tracestate`
/// (the gateway continues the trace itself), `forwarded`, `x-forwarded-*` and every `haetae-*` (only the gateway says those).
#[must_use]
pub fn upstream_headers(head: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(UPSTREAM_CAPACITY);
    if let Some(media) = one(head, &header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, media.clone());
    }
    let forms = one(head, &header::ACCEPT).and_then(|value| accepted(value.to_str().ok()?));
    if let Some(forms) = forms {
        headers.insert(header::ACCEPT, forms);
    }
    headers
}

fn one<'h>(head: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = head.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    (value.len() <= VALUE_BYTES_MAX && value.to_str().is_ok()).then_some(value)
}

/// Those of the caller's forms that a site may be asked for, in the caller's order and our spelling: whatever else stands there
/// would cross the border unrecorded.
fn accepted(value: &str) -> Option<HeaderValue> {
    let mut forms: Vec<&'static str> = Vec::new();
    for range in value.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if parts.any(is_unwanted) {
            continue;
        }
        let known = FORMS.into_iter().find(|form| form.eq_ignore_ascii_case(name));
        forms.extend(known.filter(|form| !forms.contains(form)));
    }
    if let [form] = *forms {
        return Some(HeaderValue::from_static(form));
    }
    (!forms.is_empty()).then(|| HeaderValue::from_str(&forms.join(", ")).ok()).flatten()
}

/// A weight of 0: not this form.
fn is_unwanted(parameter: &str) -> bool {
    let weight =
        parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

fn method(head: &Parts) -> Result<(), StrictError> {
    match head.method {
        Method::GET | Method::POST => Ok(()),
        // Few paths know it; for the others nothing is looked up.
        Method::HEAD if workload::methods(head.uri.path()).contains(&"HEAD") => Ok(()),
        _ => Err(StrictError {
            status: StatusCode::METHOD_NOT_ALLOWED,
            reason: Reason::MethodRefused,
            rule: "method_refused",
            message: "only GET and POST are served here",
        }),
    }
}

/// The same limits as on the wire, for HTTP/2, whose heads arrive compressed.
fn sizes(headers: &HeaderMap) -> Result<(), StrictError> {
    let too_large = |rule, message| StrictError {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        reason: Reason::HeaderInvalid,
        rule,
        message,
    };
    if headers.len() > FIELDS_MAX {
        return Err(too_large("headers_too_many", "send at most 100 headers"));
    }
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if headers.iter().map(bytes).sum::<usize>() > HEAD_BYTES_MAX {
        return Err(too_large("headers_too_large", "send at most 32 KiB of headers"));
    }
    Ok(())
}

/// An underscore twin (`haetae_datasets`) is another name here and the same name to many a server behind (CGI, WSGI).
fn names(headers: &HeaderMap) -> Result<(), StrictError> {
    for name in headers.keys() {
        let name = name.as_str();
        if name.bytes().any(|byte| byte == b'_') {
            return Err(header_invalid("header_underscore", "header names may not contain `_`"));
        }
        if name.starts_with("haetae-") && !DECLARATIONS.contains(&name) {
            return Err(header_invalid(
                "header_unknown_declaration",
                "only haetae-datasets, haetae-purpose, haetae-output, haetae-no-data and haetae-site may be sent",
            ));
        }
    }
    Ok(())
}

fn hop_by_hop(head: &Parts) -> Result<(), StrictError> {
    let headers = &head.headers;
    let upgrade = || StrictError {
        status: StatusCode::BAD_REQUEST,
        reason: Reason::UpgradeRefused,
        rule: "upgrade_refused",
        message: "connections are not upgraded here: no WebSocket, no h2c",
    };
    if headers.contains_key(header::UPGRADE) || headers.contains_key("http2-settings") {
        return Err(upgrade());
    }
    if head.version == Version::HTTP_2 && HTTP_1_ONLY.iter().any(|name| headers.contains_key(name))
    {
        return Err(framing_error(
            "connection_header_on_h2",
            "connection headers do not exist on HTTP/2 (RFC 9113, section 8.2.2)",
        ));
    }
    for token in headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
    {
        if token.eq_ignore_ascii_case(b"upgrade") {
            return Err(upgrade());
        }
        if !CONNECTION_OPTIONS.iter().any(|option| token.eq_ignore_ascii_case(option)) {
            return Err(header_invalid(
                "connection_nominates",
                "`connection` may only be close, keep-alive or te: it may not remove other headers",
            ));
        }
    }
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(StrictError {
                status: StatusCode::EXPECTATION_FAILED,
                reason: Reason::HeaderInvalid,
                rule: "expectation_unknown",
                message: "`expect` may only be 100-continue",
            })
        }
        _ => Ok(()),
    }
}

fn framing(headers: &HeaderMap) -> Result<(), StrictError> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let encoding = encodings.next();
    if encodings.next().is_some()
        || encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(framing_error(
            "transfer_encoding_refused",
            "`transfer-encoding` may only be `chunked`, once",
        ));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(framing_error("content_length_repeated", "send `content-length` once"));
    }
    match length.map(HeaderValue::as_bytes) {
        Some(_) if encoding.is_some() => Err(framing_error(
            "content_length_with_encoding",
            "send `content-length` or `transfer-encoding`, not both",
        )),
        Some(digits)
            if digits.is_empty()
                || digits.len() > LENGTH_DIGITS_MAX
                || !digits.iter().all(u8::is_ascii_digit) =>
        {
            Err(framing_error("content_length_invalid", "`content-length` is a decimal number"))
        }
        _ => Ok(()),
    }
}

/// Headers that mean something to us are there once and in plain ASCII: two readers must not see two values.
fn values(headers: &HeaderMap) -> Result<(), StrictError> {
    for name in SINGLETONS.iter().chain(&DECLARATIONS) {
        let mut values = headers.get_all(*name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(header_invalid("header_repeated", repeated(name)));
        }
        if value.to_str().is_err() {
            return Err(header_invalid("header_not_ascii", "this header may only hold ASCII"));
        }
    }
    for value in DECLARATIONS.iter().filter_map(|name| headers.get(*name)) {
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            return Err(header_invalid(
                "declaration_length",
                "a haetae- header holds 1 to 4,096 bytes",
            ));
        }
        if !value.as_bytes().iter().all(|byte| is_identifier(*byte)) {
            return Err(header_invalid(
                "declaration_characters",
                "a haetae- header may hold A-Z a-z 0-9 . - / : @ + = and lists with commas; `_` too",
            ));
        }
    }
    Ok(())
}

const fn repeated(name: &str) -> &'static str {
    match name.as_bytes() {
        b"authorization" => "send `authorization` once",
        b"content-type" => "send `content-type` once",
        b"content-encoding" => "send `content-encoding` once",
        b"expect" => "send `expect` once",
        _ => "a header that is read here is there more than once",
    }
}

/// What dataset ids, DPV terms and site ids are written in, and the comma and space between them.
const fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'-' | b'_' | b'/' | b':' | b'@' | b'+' | b'=' | b',' | b' ')
}

const fn header_invalid(rule: &'static str, message: &'static str) -> StrictError {
    StrictError { status: StatusCode::BAD_REQUEST, reason: Reason::HeaderInvalid, rule, message }
}

const fn framing_error(rule: &'static str, message: &'static str) -> StrictError {
    StrictError { status: StatusCode::BAD_REQUEST, reason: Reason::Framing, rule, message }
}

/// True if no item is there twice.
fn unique<'a>(mut items: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = BTreeSet::new();
    items.all(|item| seen.insert(item))
}

/// What a client may declare about its data (`workload` reads them).
const DECLARATIONS: [&str; 5] =
    ["haetae-datasets", "haetae-purpose", "haetae-output", "haetae-no-data", "haetae-site"];

/// Read by the gateway, so they may not have two values. (`accept` may: as a list it is legal, and it is dropped then.)
const SINGLETONS: [&str; 6] =
    ["authorization", "content-type", "content-encoding", "expect", "traceparent", "x-request-id"];

const HTTP_1_ONLY: [HeaderName; 3] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];

const CONNECTION_OPTIONS: [&[u8]; 3] = [b"close", b"keep-alive", b"te"];

/// Of the answers that sites give.
const FORMS: [&str; 6] = [
    "application/json",
    "text/event-stream",
    "*/*",
    "application/*",
    "text/plain",
    "application/octet-stream",
];
/// `accept`, `content-type` and the gateway's own (host, content-length, traceparent, receipt, leaf, authorization).
const UPSTREAM_CAPACITY: usize = 8;

const FIELDS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 32 * 1_024;
/// 64 dataset ids of 63 bytes.
const VALUE_BYTES_MAX: usize = 4_096;
/// 10^18 - 1 bytes: any sum stays within 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;

#[cfg(test)]
mod tests;
