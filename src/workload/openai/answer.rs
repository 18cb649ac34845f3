//! Refusals as the OpenAI SDKs show them: `{"error": {"message", "type", "param", "code"}}`.

use bytes::Bytes;
use serde::Serialize;

use crate::workload::{Native, Refusal};

/// Renders a refusal. The SDKs send 408, 409, 429 and 5xx again by themselves; `x-should-retry` says whether they should.
#[must_use]
pub fn refuse(refusal: &Refusal<'_>) -> Native {
    let headers = match refusal.status {
        429 | 503 => vec![("retry-after", RETRY_AFTER_S), ("x-should-retry", "true")],
        401 => vec![("www-authenticate", "Bearer"), ("x-should-retry", "false")],
        _ => vec![("x-should-retry", "false")],
    };
    Native {
        status: refusal.status,
        content_type: "application/json",
        headers,
        body: body(refusal, None).into(),
    }
}

/// The last event of a cut stream. The SDKs raise an error at a `data` line that holds `error`, with whatever is in it.
#[must_use]
pub fn stream_error(refusal: &Refusal<'_>, decision: &str) -> Bytes {
    let mut event = b"data: ".to_vec();
    event.extend(body(refusal, Some(decision)));
    event.extend(b"\n\n");
    event.into()
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Shape<'a>,
}

#[derive(Serialize)]
struct Shape<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'a str,
    /// Other answers have it in a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a str>,
}

fn body(refusal: &Refusal<'_>, decision: Option<&str>) -> Vec<u8> {
    let error = Shape {
        message: refusal.message,
        r#type: kind(refusal.status),
        param: refusal.param,
        code: refusal.code,
        decision,
    };
    // Only strings: this cannot fail, and an empty body still carries the status.
    serde_json::to_vec(&Envelope { error }).unwrap_or_default()
}

const fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// Seconds. An audit queue that is full empties within a commit; a standby takes over within two seconds.
const RETRY_AFTER_S: &str = "1";
