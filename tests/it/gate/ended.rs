//! A credential that ends while the body is on its way is none any more when the body is there: nothing is forwarded, and nothing
//! is changed.

use std::fmt::Write as _;
use std::time::Duration;

use haetae::clock::Clock;
use haetae::demo::issuer::{Bearer, Mint};
use jsonwebtoken::Algorithm;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_ends_during_the_upload_lets_nothing_pass() {
    let stage = Stage::shared().await;
    let body = chat().to_string();
    let vote = r#"{"reason":"it is in order"}"#;
    let hold = "/v1/holds/00000000-0000-7000-8000-000000000000/release";
    for (path, body) in [(CHAT, &*body), (hold, vote)] {
        let in_time = slowly(stage, path, body, 0).await;
        assert!(!in_time.starts_with("HTTP/1.1 401 "), "within the leeway: {in_time}");
        let late = slowly(stage, path, body, WAIT_MS).await;
        assert!(late.starts_with("HTTP/1.1 401 "), "{path}: {late}");
    }
    let seen = stage.sites().arrivals(body.as_bytes()).await;
    assert_eq!(seen.len(), 1, "the one that was in time");
}

/// Sends a head with a token that is over but for its leeway, then waits, then sends the body; gives the answer.
async fn slowly(stage: &Stage, path: &str, body: &str, wait_ms: u64) -> String {
    let bearer = Bearer { org: "kr-retailer", subject: "kim", roles: &["user", "reviewer"] };
    // It was good for an hour, and 27 of the 30 seconds of leeway are gone.
    let minted = Clock::system().unix_s() - 3_600 - 27;
    let token = stage.world.issuer.mint(Mint::Right(Algorithm::EdDSA), bearer, minted).unwrap();
    let mut head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost:{}\r\n", stage.world.data.port());
    let length = body.len().to_string();
    let authorization = format!("Bearer {token}");
    let more = [("authorization", &*authorization), ("content-length", &length)];
    for (name, value) in [ORDERS, SEOUL, ("content-type", "application/json")].iter().chain(&more) {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let mut stream = stage.raw("http/1.1").await;
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

const WAIT_MS: u64 = 4_500;
