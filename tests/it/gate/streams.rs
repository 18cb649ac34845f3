//! Streams: they arrive piece by piece with the site's own bytes, end at the site when the client leaves, never outlive
//! their authority, and are let to their end when the gateway is asked to stop.

use haetae::demo::issuer::{Bearer, Mint};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpStream;

use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat, eventually, leaves};

#[tokio::test]
async fn a_stream_is_passed_on_as_it_comes_and_ends_when_either_side_or_the_authority_does() {
    let mut stage = Stage::with(Some(TOKEN_MS)).await;
    let pool = stage.pool().await;
    pieces_come_one_by_one_with_the_bytes_of_the_site(&stage, &pool).await;
    a_client_that_leaves_takes_the_sites_work_with_it(&stage, &pool).await;
    a_stream_ends_with_the_token_it_was_given_for(&stage, &pool).await;
    a_stop_lets_a_stream_finish_and_nobody_new_in(&mut stage, &pool).await;
}

async fn pieces_come_one_by_one_with_the_bytes_of_the_site(stage: &Stage, pool: &PgPool) {
    let body = streamed();
    let caller = stage.caller("kr-retailer");
    let mut response = caller.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let decision = response.headers()["haetae-decision"].to_str().unwrap().to_owned();
    let mut text = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let (whole, cut) = streams(stage).await;
    assert_eq!((whole, cut), (0, 0), "the first piece is here and the site is not yet done");
    let mut pieces = 1;
    while let Some(piece) = response.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&piece).unwrap());
        pieces += 1;
    }
    assert!(pieces >= 10, "{pieces} pieces");
    assert_eq!(without_time(&text), without_time(&from_the_site(stage, &body).await));
    let back = i64::try_from(text.len()).unwrap();
    assert_eq!(ended(pool, &decision).await, ("forwarded".to_owned(), None, back));
}

async fn a_client_that_leaves_takes_the_sites_work_with_it(stage: &Stage, pool: &PgPool) {
    let (_, cut) = streams(stage).await;
    let caller = stage.caller("kr-retailer");
    let mut response =
        caller.try_post(CHAT, &[ORDERS, SEOUL], streamed().as_bytes()).await.unwrap();
    let decision = response.headers()["haetae-decision"].to_str().unwrap().to_owned();
    assert!(response.chunk().await.unwrap().is_some());
    drop((response, caller));
    eventually("the site sees the close", async || streams(stage).await.1 == cut + 1).await;
    let (how, why, back) = ended(pool, &decision).await;
    assert_eq!((how.as_str(), why.as_deref()), ("partial", Some("client_gone")));
    assert!(back > 0);
}

async fn a_stream_ends_with_the_token_it_was_given_for(stage: &Stage, pool: &PgPool) {
    let (_, cut) = streams(stage).await;
    let bearer = Bearer { org: "kr-retailer", subject: "svc-brief", roles: &["user"] };
    let issued = stage.world.clock.unix_s() - 3_600 - LEEWAY_S + LEFT_S;
    let mint = Mint::Right(jsonwebtoken::Algorithm::EdDSA);
    let token = stage.world.issuer.mint(mint, bearer, issued).unwrap();
    let caller = stage.with_authorization(Some(format!("Bearer {token}")));
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], streamed().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let last = text.trim_end().rsplit("\n\n").next().unwrap().strip_prefix("data: ").unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["code"], "authority_ended", "{text}");
    assert!(!text.contains("[DONE]"), "{text}");
    eventually("the site sees the close", async || streams(stage).await.1 == cut + 1).await;
    let (how, why, _) = ended(pool, answer.header("haetae-decision").unwrap()).await;
    assert_eq!((how.as_str(), why.as_deref()), ("partial", Some("authority_ended")));
}

async fn a_stop_lets_a_stream_finish_and_nobody_new_in(stage: &mut Stage, pool: &PgPool) {
    let (before, _) = streams(stage).await;
    let caller = stage.caller("kr-retailer");
    let mut response =
        caller.try_post(CHAT, &[ORDERS, SEOUL], streamed().as_bytes()).await.unwrap();
    let decision = response.headers()["haetae-decision"].to_str().unwrap().to_owned();
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    stage.world.gateway.terminate();
    eventually("new connections are refused", async || {
        TcpStream::connect(stage.world.data).await.is_err()
    })
    .await;
    while let Some(piece) = response.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    assert!(text.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&text));
    assert!(stage.world.gateway.ended().await.unwrap().success());
    assert_eq!(streams(stage).await.0, before + 1);

    let all = leaves(pool).await;
    let end =
        all.iter().find(|leaf| leaf["kind"] == "ended" && leaf["decision"] == *decision).unwrap();
    assert_eq!(end["how"], "forwarded");
    let mut last = std::collections::BTreeMap::new();
    for leaf in &all {
        last.insert(leaf["lane"].as_u64(), leaf["kind"].as_str());
    }
    assert_eq!(
        last.values().collect::<Vec<_>>(),
        [&Some("lane_close"); 2],
        "both lanes are closed"
    );
    let verified = stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

fn streamed() -> String {
    let mut body = chat();
    body["stream"] = true.into();
    body["stream_options"] = serde_json::json!({ "include_usage": true });
    body.to_string()
}

/// The same question put to the service as the site's guard puts it.
async fn from_the_site(stage: &Stage, body: &str) -> String {
    let (_, address) = stage.world.fleet.services().find(|(id, _)| *id == "kr-seo-1").unwrap();
    let url = format!("https://localhost:{}{CHAT}", address.port());
    let request = stage.to_sites("guard").post(url).header("haetae-decision", "direct");
    request.body(body.to_owned()).send().await.unwrap().text().await.unwrap()
}

/// Each second has its own.
fn without_time(text: &str) -> String {
    let mut parts = text.split("\"created\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |sum, part| sum + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Streams that Seoul has sent whole, and that were cut.
async fn streams(stage: &Stage) -> (u64, u64) {
    let reports = stage.sites().reports().await;
    let (_, report) = reports.iter().find(|(site, _)| site == "kr-seo-1").unwrap();
    (report.streams_whole, report.streams_cut)
}

/// How a decision ended, why, and with how many bytes back.
async fn ended(pool: &PgPool, decision: &str) -> (String, Option<String>, i64) {
    let id: uuid::Uuid = decision.parse().unwrap();
    let select = "select how, why, bytes_back from row_ended where decision = $1";
    let mut ends = Vec::new();
    eventually("the end is on record", async || {
        ends = sqlx::query_as(select).bind(id).fetch_all(pool).await.unwrap();
        !ends.is_empty()
    })
    .await;
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends.remove(0)
}

/// Some 17 events make a stream of almost seven seconds.
const TOKEN_MS: u64 = 400;
/// The demo's tokens hold for an hour; the gateway's default leeway is half a minute.
const LEEWAY_S: i64 = 30;
/// Runs out within such a stream.
const LEFT_S: i64 = 4;
