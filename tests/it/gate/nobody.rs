//! What can be read in two ways on the wire, or comes from nobody known: refused before anything is decided, forwarded
//! never (the sites' own count), and counted in the log by reason and network, not record by record.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::stage::{CHAT, Caller, Stage, chat, leaves};

#[tokio::test]
async fn what_is_odd_or_from_nobody_reaches_no_site_and_is_counted_by_reason() {
    let mut stage = Stage::start().await;
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |code: String| *refused.entry(code).or_default() += 1;
    let (sites, caller) = (stage.sites(), stage.caller("kr-retailer"));
    let post = Post::new(&stage, &caller);

    assert!(
        stage.exchange(post.plain().as_bytes()).await.starts_with("HTTP/1.1 200 "),
        "the plain form passes"
    );
    let mut wrong = Vec::new();
    for (what, bytes, status, code) in http1(&post) {
        let answer = stage.exchange(&bytes).await;
        if said(&answer) != (status.to_string(), code.to_owned()) {
            wrong.push(format!(
                "{what}: expected {status} {code}, got {:?}: {answer}",
                said(&answer)
            ));
        }
        count(code.to_owned());
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(sites.arrived().await, (1, vec![]), "over HTTP/1");

    let (mut sender, _driver) = Post::h2(&stage).await;
    let plain = sender.send_request(post.over_h2(|request| request)).await.unwrap();
    assert_eq!(plain.status(), 200);
    for (what, request, status, code) in http2(&post) {
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), &*code_of(answer).await), (status, code), "{what}");
        count(code.to_owned());
    }
    assert_eq!(sites.arrived().await, (2, vec![]), "over HTTP/2");

    let nobody = stage.with_authorization(None);
    for _ in 0..STRANGERS {
        assert_eq!(nobody.post(CHAT, &[], chat().to_string().as_bytes()).await.status, 401);
        count("credential_missing".to_owned());
    }
    assert_eq!(sites.arrived().await, (2, vec![]));

    stage.world.gateway.terminate();
    assert!(stage.world.gateway.ended().await.unwrap().success());
    let pool = stage.pool().await;
    let all = leaves(&pool).await;
    assert_eq!(counted(&all), refused);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from row_decision").fetch_one(&pool).await.unwrap();
    let decisions = all.iter().filter(|leaf| leaf["kind"] == "decision").count();
    assert_eq!((rows, decisions), (2, 2), "only the two plain ones were decided upon");
}

/// Reason to count, over all leaves; every row names the network and no address.
fn counted(leaves: &[Value]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for leaf in leaves.iter().filter(|leaf| leaf["kind"] == "unauthenticated") {
        assert_eq!((leaf.get("more"), leaf["minute"].as_i64().unwrap() % 60), (None, 0));
        for row in leaf["rows"].as_array().unwrap() {
            assert_eq!(row["network"], "127.0.0.0/24");
            *counts.entry(row["reason"].as_str().unwrap().to_owned()).or_default() +=
                row["count"].as_u64().unwrap();
        }
    }
    counts
}

/// Status and code of an answer.
fn said(answer: &str) -> (String, String) {
    let status = answer.split(' ').nth(1).unwrap_or("none").to_owned();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let code = json.pointer("/error/code").and_then(Value::as_str);
    (status, code.or_else(|| body.split(':').next()).unwrap_or_default().to_owned())
}

async fn code_of(answer: hyper::Response<hyper::body::Incoming>) -> String {
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    json.pointer("/error/code").and_then(Value::as_str).unwrap_or("none").to_owned()
}

/// A request that would be allowed, to be made odd in one place.
struct Post {
    authority: String,
    authorization: String,
    body: String,
}

impl Post {
    fn new(stage: &Stage, caller: &Caller) -> Self {
        let authority = format!("localhost:{}", stage.world.data.port());
        let (authorization, body) = (caller.authorization().to_owned(), chat().to_string());
        Self { authority, authorization, body }
    }

    fn plain(&self) -> String {
        self.with(CHAT, &format!("Content-Length: {}\r\n", self.body.len()), &self.body)
    }

    /// The same with another target, with further header lines, and with this after the head.
    fn with(&self, target: &str, lines: &str, body: &str) -> String {
        let Self { authority, authorization, .. } = self;
        format!(
            "POST {target} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/json\r\nHaetae-Datasets: kr-retail/orders@1\r\nHaetae-Site: kr-seo-1\r\n\
             {lines}\r\n{body}"
        )
    }

    /// The plain request with a further header line.
    fn and(&self, line: &str) -> String {
        self.with(CHAT, &format!("Content-Length: {}\r\n{line}\r\n", self.body.len()), &self.body)
    }

    fn at(&self, target: &str) -> String {
        self.with(target, &format!("Content-Length: {}\r\n", self.body.len()), &self.body)
    }

    fn framed(&self, lines: &str, body: &str) -> String {
        self.with(CHAT, lines, body)
    }

    fn edit(&self, from: &str, to: &str) -> String {
        let plain = self.plain();
        assert!(plain.contains(from), "{from}");
        plain.replacen(from, to, 1)
    }

    /// A connection, and the task that drives it.
    async fn h2(stage: &Stage) -> (http2::SendRequest<Full<Bytes>>, JoinSet<hyper::Result<()>>) {
        let io = TokioIo::new(stage.raw("h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        (sender, driver)
    }

    fn over_h2(
        &self,
        edit: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> Request<Full<Bytes>> {
        let request = Request::post(format!("https://{}{CHAT}", self.authority))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .header("haetae-datasets", "kr-retail/orders@1")
            .header("haetae-site", "kr-seo-1");
        edit(request).body(Full::from(self.body.clone())).unwrap()
    }

    fn uri(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority)
    }
}

type Case = (&'static str, Vec<u8>, u16, &'static str);

fn http1(post: &Post) -> Vec<Case> {
    let mut cases = framing(post);
    cases.extend(targets(post));
    cases.extend(heads(post));
    cases
        .into_iter()
        .map(|(what, text, status, code)| (what, text.into_bytes(), status, code))
        .collect()
}

type Text = (&'static str, String, u16, &'static str);

fn framing(post: &Post) -> Vec<Text> {
    let length = post.body.len();
    let chunked = format!("{length:x}\r\n{}\r\n0\r\n\r\n", post.body);
    let both = format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n");
    let two = format!("Content-Length: {length}\r\nContent-Length: {length}\r\n");
    let differ = format!("Content-Length: {length}\r\nContent-Length: 0\r\n");
    let list = format!("Content-Length: {length}, {length}\r\n");
    let plus = format!("Content-Length: +{length}\r\n");
    let (encoding, invalid) = ("framing_transfer_encoding", "framing_length_invalid");
    vec![
        ("length and encoding", post.framed(&both, &chunked), 400, "framing_length_with_encoding"),
        ("two equal lengths", post.framed(&two, &post.body), 400, "framing_length_repeated"),
        ("two lengths", post.framed(&differ, &post.body), 400, "framing_length_repeated"),
        ("a list of lengths", post.framed(&list, &post.body), 400, invalid),
        ("a length with a sign", post.framed(&plus, &post.body), 400, invalid),
        ("a length in hex", post.framed("Content-Length: 0x10\r\n", &post.body), 400, invalid),
        ("no length", post.framed("Content-Length:\r\n", &post.body), 400, invalid),
        (
            "gzip, chunked",
            post.framed("Transfer-Encoding: gzip, chunked\r\n", &chunked),
            400,
            encoding,
        ),
        (
            "chunked twice",
            post.framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &chunked),
            400,
            encoding,
        ),
        ("identity", post.framed("Transfer-Encoding: identity\r\n", &post.body), 400, encoding),
        ("a bare LF", post.edit("\r\nAuthorization", "\nAuthorization"), 400, "framing_bare_lf"),
        ("a bare LF at the end", post.edit("\r\n\r\n", "\r\n\n"), 400, "framing_bare_lf"),
        ("a folded header", post.and("X-Folded: a\r\n b"), 400, "framing_obsolete_fold"),
        ("a space before the colon", post.and("X-Spaced : a"), 400, "framing_field_name"),
        ("a header without a name", post.and(": a"), 400, "framing_field_name"),
        ("NUL in a value", post.and("X-Nul: a\0b"), 400, "framing_control_byte"),
        ("CR in a value", post.and("X-Cr: a\rb"), 400, "framing_control_byte"),
        ("HTTP/0.9", "GET /v1/models\r\n\r\n".to_owned(), 400, "framing_request_line"),
        ("HTTP/1.2", post.edit("HTTP/1.1", "HTTP/1.2"), 400, "framing_version"),
        (
            "HTTP/2 in clear words",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            400,
            "framing_version",
        ),
        ("two spaces", post.edit("POST /", "POST  /"), 400, "framing_request_line"),
        (
            "101 headers",
            post.and(vec!["X-Many: 1"; 101].join("\r\n").as_str()),
            431,
            "head_too_many_fields",
        ),
        ("33 KiB", post.and(&format!("X-Long: {}", "a".repeat(33 * 1_024))), 431, "head_too_large"),
    ]
}

fn targets(post: &Post) -> Vec<Text> {
    let (characters, empty) = ("path_characters", "path_empty_segment");
    let ours = &post.authority;
    vec![
        ("// in front", post.at("//v1/chat/completions"), 400, empty),
        ("// within", post.at("/v1//chat/completions"), 400, empty),
        ("// as an authority", post.at("//us-va-1.example/v1/chat/completions"), 400, empty),
        ("encoded dots", post.at("/v1/%2e%2e/v1/chat/completions"), 400, characters),
        ("an encoded letter", post.at("/v1/%63hat/completions"), 400, characters),
        ("an encoded NUL", post.at("/v1/chat/completions%00"), 400, characters),
        ("an encoded slash", post.at("/v1/chat%2fcompletions"), 400, characters),
        ("dots", post.at("/v1/files/../chat/completions"), 400, "path_dot_segment"),
        ("a dot", post.at("/v1/./chat/completions"), 400, "path_dot_segment"),
        (";", post.at("/v1/chat/completions;x=1"), 400, characters),
        ("a backslash", post.at("/v1\\chat\\completions"), 400, characters),
        ("NUL", post.at("/v1/chat/completions\0"), 400, "framing_target"),
        ("a fragment", post.at("/v1/chat/completions#x"), 400, "framing_target"),
        ("not ASCII", post.at("/v1/chat/completions\u{e9}"), 400, "framing_target"),
        ("an encoded query", post.at("/v1/chat/completions?a=%41"), 400, "query_characters"),
        ("a key twice", post.at("/v1/chat/completions?a=1&a=2"), 400, "query_key_repeated"),
        ("*", post.at("*"), 400, "path_not_absolute"),
        (
            "absolute, another host",
            post.at("https://us-va-1.example/v1/chat/completions"),
            400,
            "host_conflicts_with_target",
        ),
        (
            "absolute, a user",
            post.at(&format!("https://a@{ours}/v1/chat/completions")),
            400,
            "host_conflicts_with_target",
        ),
        (
            "absolute, ftp",
            post.at(&format!("ftp://{ours}/v1/chat/completions")),
            400,
            "target_scheme",
        ),
    ]
}

fn heads(post: &Post) -> Vec<Text> {
    let host = format!("Host: {}\r\n", post.authority);
    let (refused, upgrade) = ("method_refused", "upgrade_refused");
    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA";
    let h2c = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings";
    let method = |method: &str| post.edit("POST ", &format!("{method} "));
    vec![
        ("no Host", post.edit(&host, ""), 400, "host_missing"),
        ("two Hosts", post.edit(&host, &format!("{host}{host}")), 400, "host_repeated"),
        ("a user in Host", post.edit("Host: ", "Host: a@"), 400, "host_invalid"),
        ("a path in Host", post.edit(&host, "Host: localhost/#\r\n"), 400, "host_invalid"),
        ("another Host", post.edit(&host, "Host: us-va-1.example\r\n"), 421, "authority_not_ours"),
        ("another port", post.edit(&host, "Host: localhost:1\r\n"), 421, "authority_not_ours"),
        ("two Authorizations", post.and("Authorization: Bearer x"), 400, "header_repeated"),
        ("two Content-Types", post.and("Content-Type: application/json"), 400, "header_repeated"),
        (
            "two declarations",
            post.and("Haetae-Datasets: kr-retail/products@7"),
            400,
            "header_repeated",
        ),
        (
            "an unknown declaration",
            post.and("Haetae-Org: de-bank"),
            400,
            "header_unknown_declaration",
        ),
        (
            "an underscore twin",
            post.and("Haetae_Datasets: kr-retail/products@7"),
            400,
            "header_underscore",
        ),
        ("an odd declaration", post.and("Haetae-Purpose: a;b"), 400, "declaration_characters"),
        ("an empty declaration", post.and("Haetae-Purpose:"), 400, "declaration_length"),
        ("websocket", post.and(socket), 400, upgrade),
        ("h2c", post.and(h2c), 400, upgrade),
        ("h2c settings alone", post.and("HTTP2-Settings: AAMAAABk"), 400, upgrade),
        (
            "connection takes a header away",
            post.and("Connection: authorization"),
            400,
            "connection_nominates",
        ),
        ("an unknown expectation", post.and("Expect: 200-ok"), 417, "expectation_unknown"),
        ("TRACE", method("TRACE"), 405, refused),
        ("PUT", method("PUT"), 405, refused),
        ("PATCH", method("PATCH"), 405, refused),
        ("DELETE", method("DELETE"), 405, refused),
        ("OPTIONS", method("OPTIONS"), 405, refused),
        ("post", method("post"), 405, refused),
        ("a method nobody knows", method("QUERY"), 405, refused),
        (
            "CONNECT",
            format!(
                "CONNECT us-va-1.example:443 HTTP/1.1\r\nHost: us-va-1.example:443\r\nAuthorization: {}\r\n\r\n",
                post.authorization
            ),
            405,
            refused,
        ),
    ]
}

type H2Case = (&'static str, Request<Full<Bytes>>, u16, &'static str);

fn http2(post: &Post) -> Vec<H2Case> {
    let at = |path: &str| post.over_h2(|request| request.uri(post.uri(path)));
    let and = |name: &str, value: &str| post.over_h2(|request| request.header(name, value));
    let method = |method: &str| post.over_h2(|request| request.method(method));
    let other = post.over_h2(|request| request.uri(format!("https://us-va-1.example{CHAT}")));
    let many =
        post.over_h2(|request| (0..101).fold(request, |request, _| request.header("x-many", "1")));
    vec![
        ("//", at("//v1/chat/completions"), 400, "path_empty_segment"),
        ("encoded dots", at("/v1/%2e%2e/v1/chat/completions"), 400, "path_characters"),
        (";", at("/v1/chat/completions;x"), 400, "path_characters"),
        ("another authority", other, 421, "authority_not_ours"),
        ("another Host", and("host", "us-va-1.example"), 400, "host_conflicts_with_target"),
        ("two Authorizations", and("authorization", "Bearer x"), 400, "header_repeated"),
        ("two declarations", and("haetae-site", "us-va-1"), 400, "header_repeated"),
        ("an underscore twin", and("haetae_site", "us-va-1"), 400, "header_underscore"),
        ("a decision of its own", and("haetae-decision", "x"), 400, "header_unknown_declaration"),
        ("TRACE", method("TRACE"), 405, "method_refused"),
        ("PUT", method("PUT"), 405, "method_refused"),
        ("101 headers", many, 431, "headers_too_many"),
    ]
}

const STRANGERS: usize = 7;
