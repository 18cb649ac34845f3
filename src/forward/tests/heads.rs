//! What a site gets of the caller's head, and that the body is the permitted one.

use bytes::Bytes;

use super::*;
use crate::{
    audit::{Proof, Target},
    forward::{attempt::is_permitted, headers::to_site},
};

fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    lines.iter().map(pair).collect()
}

#[test]
fn a_site_gets_what_is_on_the_list_and_the_gateways_own_headers() {
    let target = Target {
        site: "s".into(),
        identity: SPIFFE.into(),
        method: "POST",
        authority: "kr-seo-1.example:8443".into(),
        path: "/v1/chat/completions",
        content_type: Some("application/json"),
    };
    let proof = Proof {
        id: "0190".into(),
        leaf: Bytes::from_static(b":bGVhZg==:"),
        receipt: Bytes::from_static(b":cHJvb2Y=:"),
        grade: crate::audit::Grade::Logged,
    };
    let from_caller = head(&[
        ("accept", "text/event-stream"),
        ("traceparent", "00-1-2-01"),
        ("host", "evil.example"),
        ("content-type", "text/plain"),
        ("content-length", "999"),
        ("transfer-encoding", "chunked"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("accept-encoding", "gzip"),
        ("authorization", "Bearer secret"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-slurm-user-name", "root"),
        ("haetae-receipt", "forged"),
        ("haetae-leaf", "forged"),
        ("haetae-decision", "forged"),
        ("haetae-datasets", "a"),
    ]);
    let expected = head(&[
        ("accept", "text/event-stream"),
        ("traceparent", "00-1-2-01"),
        ("host", "kr-seo-1.example:8443"),
        ("content-type", "application/json"),
        ("haetae-receipt", ":cHJvb2Y=:"),
        ("haetae-leaf", ":bGVhZg==:"),
        ("haetae-decision", "0190"),
    ]);
    assert_eq!(to_site(&from_caller, &target, &proof), expected);
}

#[tokio::test]
async fn a_site_sees_the_request_byte_for_byte() {
    let authority = Authority::new();
    let stage = plain(&authority).await;
    let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);
    gateway.whole("s").await.unwrap();
    let expected = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}";
    assert_eq!(stage.requests(), [expected]);
}

#[test]
fn only_the_permitted_bytes_pass() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(is_permitted(b"abc", digest));
    assert!(!is_permitted(b"abd", digest));
    assert!(!is_permitted(b"abc", ""));
    assert!(!is_permitted(b"abc", digest.strip_suffix('d').unwrap()));
}
