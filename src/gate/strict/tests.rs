//! One case for each rule of the first layer, by rule name and status; and no spoofable header goes upstream.

use hyper::http::{Request, Uri};

use super::*;

type Headers<'a> = &'a [(&'a str, &'a [u8])];

fn authorities() -> Authorities {
    Authorities::new(["gw.example.kr", "127.0.0.1:8443", "[::1]"]).unwrap()
}

fn head(method: &str, target: &str, headers: Headers<'_>) -> Parts {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    builder.body(()).unwrap().into_parts().0
}

fn rule(head: &Parts) -> (u16, &'static str) {
    check(head, &authorities())
        .map_or_else(|error| (error.status.as_u16(), error.rule), |()| (200, ""))
}

/// A good request and some more headers.
fn with(more: Headers<'_>) -> (u16, &'static str) {
    let mut headers: Vec<(&str, &[u8])> = vec![("host", b"gw.example.kr")];
    headers.extend_from_slice(more);
    rule(&head("POST", "/v1/chat/completions", &headers))
}

fn at(target: &str) -> (u16, &'static str) {
    rule(&head("GET", target, &[("host", b"gw.example.kr")]))
}

fn to(hosts: &[&str]) -> (u16, &'static str) {
    let hosts: Vec<(&str, &[u8])> = hosts.iter().map(|host| ("host", host.as_bytes())).collect();
    rule(&head("GET", "/v1/models", &hosts))
}

#[test]
fn what_a_real_client_sends_passes() {
    let sdk: [(&str, &[u8]); 10] = [
        ("authorization", b"Bearer x.y.z"),
        ("content-type", b"application/json"),
        ("content-length", b"12"),
        ("accept", b"application/json"),
        ("accept-encoding", b"gzip, deflate"),
        ("connection", b"keep-alive"),
        ("user-agent", b"OpenAI/Python 1.99.0"),
        ("x-stainless-lang", b"python"),
        ("haetae-datasets", b"kr-med/ct-2026@1, orders@3"),
        ("expect", b"100-continue"),
    ];
    assert_eq!(with(&sdk), (200, ""));
    assert_eq!(with(&[("transfer-encoding", b"Chunked")]), (200, ""));
    for target in ["/", "/v1/models", "/v1/models/ft:gpt-4o:org::id", "/v1/models?limit=2&after=a"]
    {
        assert_eq!(at(target), (200, ""), "{target}");
    }
}

#[test]
fn the_host_is_one_and_ours() {
    assert_eq!(to(&[]), (400, "host_missing"));
    assert_eq!(to(&["gw.example.kr", "gw.example.kr"]), (400, "host_repeated"));
    for host in [
        "a@gw.example.kr",
        "gw.example.kr/#",
        "gw.example.kr/",
        "gw.example.kr:",
        "gw.example.kr:0",
        "gw.example.kr:+443",
        "gw.example.kr:70000",
        "gw%2eexample.kr",
        "gw.example.kr gw",
        "",
        ":443",
        "[::1",
        "[::g]",
        "[::1]443",
        "gw_example.kr",
        ".gw.example.kr",
    ] {
        assert_eq!(to(&[host]), (400, "host_invalid"), "{host}");
    }
    for host in
        ["evil.example", "gw.example.kr.", "127.0.0.1", "127.0.0.1:8444", "[::2]", "localhost"]
    {
        assert_eq!(to(&[host]), (421, "authority_not_ours"), "{host}");
    }
    for host in ["gw.example.kr", "GW.example.KR:8443", "127.0.0.1:8443", "[::1]:9"] {
        assert_eq!(to(&[host]), (200, ""), "{host}");
    }
}

#[test]
fn the_target_and_the_host_agree() {
    let both = |target: &str, host: &str| rule(&head("GET", target, &[("host", host.as_bytes())]));
    assert_eq!(both("https://gw.example.kr/v1/models", "gw.example.kr"), (200, ""));
    let conflict = (400, "host_conflicts_with_target");
    assert_eq!(both("https://evil.example/v1/models", "gw.example.kr"), conflict);
    assert_eq!(both("https://gw.example.kr:1/v1/models", "gw.example.kr"), conflict);
    assert_eq!(both("https://a@gw.example.kr/v1/models", "a@gw.example.kr"), (400, "host_invalid"));
    assert_eq!(both("ftp://gw.example.kr/v1/models", "gw.example.kr"), (400, "target_scheme"));
    assert_eq!(rule(&head("GET", "https://gw.example.kr/v1/models", &[])), (400, "host_missing"));
    let mut h2 = head("GET", "https://gw.example.kr/v1/models", &[]);
    h2.version = Version::HTTP_2;
    assert_eq!(rule(&h2), (200, ""));
    h2.headers.insert("host", HeaderValue::from_static("evil.example"));
    assert_eq!(rule(&h2), conflict);
}

#[test]
fn the_path_has_one_spelling() {
    let cases = [
        ("/v1/%63hat", "path_characters"),
        ("/v1/%2e%2e/x", "path_characters"),
        ("/v1/a%00", "path_characters"),
        ("/v1;a=b/x", "path_characters"),
        ("/v1/a\u{e9}", "path_characters"),
        ("/v1/{id}", "path_characters"),
        ("/v1/a'b", "path_characters"),
        ("//v1/models", "path_empty_segment"),
        ("/v1//models", "path_empty_segment"),
        ("/v1/../models", "path_dot_segment"),
        ("/v1/./models", "path_dot_segment"),
        ("/..", "path_dot_segment"),
        ("/v1/models?a=%41", "query_characters"),
        ("/v1/models?a=b;c=d", "query_characters"),
        ("/v1/models?a=1&a=2", "query_key_repeated"),
        ("*", "path_not_absolute"),
    ];
    for (target, name) in cases {
        assert_eq!(at(target), (400, name), "{target}");
    }
    assert_eq!(at(&format!("/{}", "a".repeat(1_024))), (400, "path_too_long"));
    assert_eq!(target::check(&Uri::from_static("/v1/a")), Ok(()));
    // the http crate lets no backslash or NUL into a path; were it to, the grammar has no place for them
    assert!("/v1\\models".parse::<Uri>().map_or(true, |uri| target::check(&uri).is_err()));
}

#[test]
fn only_get_and_post() {
    for method in ["CONNECT", "TRACE", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "PRI", "get"] {
        let target = if method == "CONNECT" { "gw.example.kr:443" } else { "/v1/models" };
        let head = head(method, target, &[("host", b"gw.example.kr")]);
        assert_eq!(rule(&head), (405, "method_refused"), "{method}");
    }
    let of_a_record =
        |method| rule(&head(method, "/v1/decisions/a/leaf", &[("host", b"gw.example.kr")]));
    assert_eq!(of_a_record("HEAD"), (200, ""), "a file may be looked at by its head");
    assert_eq!(of_a_record("PUT"), (405, "method_refused"));
}

#[test]
fn the_framing_is_said_once() {
    let cases: [(Headers<'_>, &str); 8] = [
        (&[("transfer-encoding", b"gzip, chunked")], "transfer_encoding_refused"),
        (
            &[("transfer-encoding", b"chunked"), ("transfer-encoding", b"chunked")],
            "transfer_encoding_refused",
        ),
        (&[("transfer-encoding", b"identity")], "transfer_encoding_refused"),
        (&[("content-length", b"1"), ("content-length", b"1")], "content_length_repeated"),
        (
            &[("content-length", b"1"), ("transfer-encoding", b"chunked")],
            "content_length_with_encoding",
        ),
        (&[("content-length", b"+1")], "content_length_invalid"),
        (&[("content-length", b"1, 1")], "content_length_invalid"),
        (&[("content-length", b"")], "content_length_invalid"),
    ];
    for (headers, name) in cases {
        assert_eq!(with(headers), (400, name), "{headers:?}");
    }
}

#[test]
fn headers_that_are_read_are_there_once_and_plain() {
    for name in SINGLETONS.iter().chain(&DECLARATIONS).filter(|name| **name != "expect") {
        assert_eq!(with(&[(name, b"a"), (name, b"a")]), (400, "header_repeated"), "{name}");
        assert_eq!(with(&[(name, b"\xed\x95\xb4")]), (400, "header_not_ascii"), "{name}");
    }
    assert_eq!(with(&[("haetae-datasets", b"a\xcc")]), (400, "header_not_ascii"));
    assert_eq!(with(&[("haetae-datasets", b"")]), (400, "declaration_length"));
    assert_eq!(with(&[("haetae-site", &[b'a'; 4_097])]), (400, "declaration_length"));
    assert_eq!(with(&[("haetae-site", b"kr\"seo")]), (400, "declaration_characters"));
    assert_eq!(with(&[("haetae-dataset", b"a")]), (400, "header_unknown_declaration"));
}

#[test]
fn the_connection_stays_what_it_is() {
    assert_eq!(
        with(&[("upgrade", b"websocket"), ("connection", b"Upgrade")]),
        (400, "upgrade_refused")
    );
    assert_eq!(with(&[("connection", b"keep-alive, Upgrade")]), (400, "upgrade_refused"));
    assert_eq!(with(&[("http2-settings", b"AAMAAABk")]), (400, "upgrade_refused"));
    assert_eq!(with(&[("connection", b"close, authorization")]), (400, "connection_nominates"));
    assert_eq!(with(&[("connection", b"haetae-datasets")]), (400, "connection_nominates"));
    assert_eq!(with(&[("connection", b"")]), (400, "connection_nominates"));
    assert_eq!(with(&[("expect", b"200-maybe")]), (417, "expectation_unknown"));
    let mut h2 = head("GET", "https://gw.example.kr/", &[("connection", b"close")]);
    h2.version = Version::HTTP_2;
    assert_eq!(rule(&h2), (400, "connection_header_on_h2"));
}

#[test]
fn sizes_hold_on_any_version() {
    let many: Vec<(String, &[u8])> = (0..100).map(|n| (format!("x-{n}"), &b"a"[..])).collect();
    let many: Vec<(&str, &[u8])> =
        many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(with(&many), (431, "headers_too_many"));
    assert_eq!(with(many.get(..99).unwrap()), (200, ""));
    assert_eq!(with(&[("x-a", &vec![b'a'; 32 * 1_024])]), (431, "headers_too_large"));
}

/// Headers by which clients have talked some server into believing them. Refused, or dropped on the way.
const SPOOFABLE: [&str; 64] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-remote-user",
    "remote-user",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-ipcountry",
    "fastly-client-ip",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "x-ssl-client-s-dn",
    "ssl-client-cert",
    "client-cert",
    "client-cert-chain",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-user",
    "x-user-id",
    "x-tenant-id",
    "x-org-id",
    "x-scope-orgid",
    "x-roles",
    "x-slurm-user-name",
    "x-slurm-user-token",
    "proxy-authorization",
    "cookie",
    "via",
    "traceparent",
    "haetae-decision",
    "haetae-bundle",
    "haetae-receipt",
    "haetae-leaf",
    "haetae_datasets",
    "x_forwarded_for",
];

#[test]
fn no_spoofable_header_goes_upstream() {
    for name in SPOOFABLE {
        let head = head(
            "POST",
            "/v1/embeddings",
            &[
                ("host", b"gw.example.kr"),
                (name, b"kr-gov"),
                ("content-type", b"application/json"),
                ("accept", b"*/*"),
            ],
        );
        let up = upstream_headers(&head.headers);
        let names: Vec<&str> = up.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "accept"], "{name}");
        let refused = match name {
            "haetae_datasets" | "x_forwarded_for" => (400, "header_underscore"),
            _ if name.starts_with("haetae-") => (400, "header_unknown_declaration"),
            _ => (200, ""),
        };
        assert_eq!(rule(&head), refused, "{name}");
    }
}

#[test]
fn nothing_of_a_callers_own_words_crosses_in_accept() {
    for (sent, crosses) in [
        ("application/json", Some("application/json")),
        (
            "Application/JSON; q=0.9 , text/event-stream",
            Some("application/json, text/event-stream"),
        ),
        ("application/json;note=patient-4711, x/patient-4711, */*", Some("application/json, */*")),
        ("*/*, */*, */*", Some("*/*")),
        ("text/event-stream;q=0, application/json; Q=0.000, */*;q=0.1", Some("*/*")),
        ("patient/4711", None),
        ("", None),
    ] {
        let head = head("GET", "/", &[("accept", sent.as_bytes())]);
        let up = upstream_headers(&head.headers);
        let seen = up.get("accept").map(|value| value.to_str().unwrap());
        assert_eq!(seen, crosses, "{sent}");
    }
}

#[test]
fn an_ambiguous_value_does_not_go_upstream() {
    let twice = head("GET", "/", &[("accept", b"a"), ("accept", b"b"), ("content-type", b"\xff")]);
    assert_eq!(upstream_headers(&twice.headers), HeaderMap::new());
}
