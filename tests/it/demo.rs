//! The whole story, told by the program itself: every line as expected, the log whole, exit code 0, nothing left running.
//! And the demo's stand-ins are what they claim: an issuer whose right tokens verify and whose wrong ones do not, and sites
//! that let in only the gateway, answer in the OpenAI protocol, and remember what came.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use base64::Engine as _;
use haetae::clock::Clock;
use haetae::demo::client::Client;
use haetae::demo::fleet::GATEWAY;
use haetae::demo::issuer::{Bearer, Issuer, Mint};
use haetae::demo::pki::{By, Identity, Pki};
use haetae::demo::site::{self, Report};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::scratch;

#[test]
fn the_story_goes_as_expected_from_the_first_line_to_the_verified_log() {
    let dir = scratch("demo");
    let story = Command::new(env!("CARGO_BIN_EXE_haetae"))
        .args(["demo", "--once", "--ports", "0,0,0", "--dir"])
        .arg(&dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&story.stdout), String::from_utf8_lossy(&story.stderr));
    assert!(story.status.success(), "{told}\n{errors}");
    let lines = told.lines().filter(|line| line.ends_with(" ok")).count();
    assert_eq!(lines, 16, "{told}");
    assert!(told.contains("\n  whole: "), "{told}");
    // What the sites say they have seen is what was allowed, and what their guards let in.
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let seen = told.lines().filter_map(|line| line.trim().split_once(" request"));
    let seen: u64 = seen.filter_map(|(count, _)| number(count.rsplit(' ').next())).sum();
    let held = told.split("haetae log reconcile").skip(1);
    let hours = held.flat_map(str::lines).filter(|line| line.contains(":00:00Z "));
    let columns = hours.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let sums = columns.fold([0, 0], |[allowed, let_in], row| {
        [allowed + number(Some(&row[1])).unwrap(), let_in + number(Some(&row[2])).unwrap()]
    });
    assert_eq!(([seen, seen], seen > 0), (sums, true), "{told}");
    assert!(told.ends_with("Everything went as expected, and the log is whole.\n"), "{told}");
    let left = std::fs::read_to_string(dir.join("gateway.log")).unwrap();
    assert!(left.trim_end().ends_with("stopped"), "{left}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn right_tokens_verify_against_the_published_keys_and_wrong_ones_do_not() {
    let issuer = Issuer::create("https://issuer.example", "haetae").unwrap();
    let keys: JwkSet = serde_json::from_value(issuer.jwks().unwrap()).unwrap();
    let bearer = Bearer { org: "kr-retailer", subject: "svc-1", roles: &["user"] };
    let now = Clock::system().unix_s();
    let verify = |mint| {
        let token = issuer.mint(mint, bearer, now).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&["haetae"]);
        jsonwebtoken::decode::<Value>(&token, &key, &validation)
            .map(|token| token.claims["org"].clone())
            .map_err(|error| error.to_string())
    };
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        assert_eq!(verify(Mint::Right(algorithm)), Ok(json!("kr-retailer")), "{algorithm:?}");
    }
    assert_eq!(verify(Mint::Forged), Err("InvalidSignature".to_owned()));
    assert_eq!(verify(Mint::Expired), Err("ExpiredSignature".to_owned()));
    assert_eq!(verify(Mint::WrongAudience), Err("InvalidAudience".to_owned()));
}

#[tokio::test]
async fn a_site_answers_the_gateway_and_remembers_what_came() {
    let site = RunningSite::start().await;
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "two words" }] });
    let headers =
        [("haetae-decision", "id-1"), ("haetae-receipt", ":AA==:"), ("haetae-leaf", ":AA==:")];
    let reply =
        site.gateway.post(&site.url("/v1/chat/completions"), &headers, &body).await.unwrap();
    assert_eq!(reply.status, 200);
    let text = reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(text.starts_with("This answer was computed at kr-seo-1 in Seoul."), "{text}");
    assert_eq!(reply.json()["usage"]["prompt_tokens"], 2);

    let report = site.report().await;
    assert_eq!(report.seen.len(), 1);
    assert_eq!(report.seen[0].decision, "id-1");
    assert_eq!(report.seen[0].body_digest, sha256(&serde_json::to_vec(&body).unwrap()));
    assert!(report.seen[0].receipt);
    assert_eq!(report.unexpected, Vec::<String>::new());
}

#[tokio::test]
async fn a_site_streams_tokens_with_usage_and_an_end() {
    let site = RunningSite::start().await;
    let mut body = json!({ "model": "m", "messages": [], "stream": true });
    body["stream_options"] = json!({ "include_usage": true });
    let headers = [("haetae-decision", "id-2")];
    let reply =
        site.gateway.post(&site.url("/v1/chat/completions"), &headers, &body).await.unwrap();
    let text = reply.text();
    let events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    let chunk = |event: &str| -> Value {
        serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()
    };
    let chunks: Vec<Value> = events[..events.len() - 1].iter().map(|event| chunk(event)).collect();
    let words = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str());
    assert!(words.collect::<String>().starts_with("This answer was computed at kr-seo-1"));
    assert_eq!(chunks[chunks.len() - 1]["usage"]["completion_tokens"], 13);
    assert!(reply.pieces > 5, "{} pieces", reply.pieces);

    let typed = site
        .gateway
        .post(&site.url("/v1/responses"), &headers, &json!({ "input": "a", "stream": true }))
        .await
        .unwrap();
    assert!(typed.text().starts_with("event: response.created\ndata: {"));
    assert!(typed.text().contains("event: response.completed\n"));
    assert_eq!(site.report().await.streams_whole, 2);
}

#[tokio::test]
async fn embeddings_come_as_numbers_and_as_the_sdks_ask_for_them() {
    let site = RunningSite::start().await;
    let ask = async |format: &str| {
        let body = json!({ "model": "m", "input": ["a", "b"], "encoding_format": format });
        let headers = [("haetae-decision", "id-3")];
        site.gateway.post(&site.url("/v1/embeddings"), &headers, &body).await.unwrap().json()
    };
    let numbers = ask("float").await;
    let packed = ask("base64").await;
    let first: Vec<f32> = serde_json::from_value(numbers["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(first.len(), 8);
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed["data"][0]["embedding"].as_str().unwrap())
        .unwrap();
    let unpacked: Vec<f32> =
        bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(unpacked, first);
    assert_ne!(numbers["data"][0]["embedding"], numbers["data"][1]["embedding"]);
}

#[tokio::test]
async fn what_a_site_did_not_expect_it_says() {
    let site = RunningSite::start().await;
    let no_decision = site.gateway.post(&site.url("/v1/completions"), &[], &json!({})).await;
    assert_eq!(no_decision.unwrap().status, 403);
    assert_eq!(site.gateway.get(&site.url("/v1/files")).await.unwrap().status, 404);
    let other = site.pki.client(By::Root, "other", "spiffe://haetae.example/other").unwrap();
    let other = Client::new(&site.pki.ca(By::Sites), Some(&other)).unwrap();
    assert_eq!(other.get(&site.url("/v1/models")).await.unwrap().status, 403);
    let expected = [
        "POST /v1/completions without a decision",
        "GET /v1/files",
        "GET /v1/models from another caller",
    ];
    let report = site.report().await;
    assert_eq!(report.unexpected, expected);
    assert_eq!(report.seen, Vec::new());

    // without a certificate of the right authority there is no conversation at all
    let client = site.pki.client(By::Clients, "client", GATEWAY).unwrap();
    for identity in [None, Some(&client)] {
        let stranger = Client::new(&site.pki.ca(By::Sites), identity).unwrap();
        assert!(stranger.get(&site.url("/health")).await.is_err());
    }
}

struct RunningSite {
    address: SocketAddr,
    pki: Pki,
    gateway: Client,
    observer: Client,
    _files: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

impl RunningSite {
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let pki = Pki::create(files.path(), Clock::system().unix_s()).unwrap();
        let observer = "spiffe://haetae.example/observer";
        let Identity { certificate, key } = pki
            .server(By::Sites, "kr-seo-1", Some("spiffe://haetae.example/site/kr-seo-1"))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let args = site::Args {
            name: "kr-seo-1".to_owned(),
            place: "Seoul".to_owned(),
            models: vec!["m".to_owned()],
            listen: address,
            certificate,
            key,
            client_ca: pki.ca(By::Root),
            gateway: GATEWAY.to_owned(),
            observer: observer.to_owned(),
            token_ms: 1,
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let serving = site::serve(listener, args, Clock::system(), tracker.clone(), stop.clone());
        tracker.spawn(async { serving.await.unwrap() });
        let client = |name, id| {
            let identity = pki.client(By::Root, name, id).unwrap();
            Client::new(&pki.ca(By::Sites), Some(&identity)).unwrap()
        };
        let (gateway, observer) = (client("gateway", GATEWAY), client("observer", observer));
        Self { address, pki, gateway, observer, _files: files, _stop: stop.drop_guard() }
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.address.port())
    }

    async fn report(&self) -> Report {
        let reply = self.observer.get(&self.url("/demo/seen")).await.unwrap();
        serde_json::from_slice(&reply.body).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
