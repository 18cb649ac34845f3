//! Continuing authority: an answer that is under way is cut when an order, a ground or a date takes its authority away, says
//! why in its last event and in its record, and is left alone by everything else, its own use of things included.

use haetae::registry::Sort;
use haetae::registry::orders::store::{Brought, add};
use haetae::registry::store::{put_ground, suspend_ground};
use haetae::registry::tree::{parse_one, read_one};
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;
use verdict::stamp::Stamp;

use crate::support::stage::{
    CHAT, Caller, ORDERS, SEOUL, Stage, VIRGINIA, chat, eventually, leaves,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_is_cut_when_its_authority_is_taken_away_and_only_then() {
    let stage = Stage::with(Some(TOKEN_MS)).await;
    let pool = stage.pool().await;
    let ground = read_one(Sort::Ground, &stage.world.sources.ground).unwrap();
    put_ground(&pool, &ground, "a test").await.unwrap();
    let http2 = stage.caller("kr-retailer");
    let http1 = stage.over_http1(stage.caller("kr-retailer"));
    let bank = stage.caller("de-bank");
    allowed_in_virginia(&http2).await;

    let mut seoul = Stream::begin(&http1, &[ORDERS, SEOUL]).await;
    let mut virginia = Stream::begin(&http2, &[ORDERS, VIRGINIA]).await;
    let mut frankfurt = Stream::begin(&bank, &[TICKETS, FRANKFURT]).await;

    // What does not concern them cuts none of them, though each is judged again.
    let version = order(&pool, "kr-hospital", "2026-01-01").await;
    eventually("all are judged again", async || judged_again(&stage).await >= 3).await;
    for stream in [&mut seoul, &mut virginia, &mut frankfurt] {
        stream.goes_on().await;
    }

    let version_without_ground =
        suspend_ground(&pool, "kr-retailer.va-2026", "a test").await.unwrap().version;
    assert_eq!(version_without_ground, version + 1);
    let cut = virginia.until_cut().await;
    cut.is_recorded(&stage, &pool, "DENY", version_without_ground).await;
    seoul.goes_on().await;

    let version = order(&pool, "kr-retailer", "2026-01-01").await;
    let cut = seoul.until_cut().await;
    let refusal = cut.is_recorded(&stage, &pool, "DENY", version).await;
    assert_eq!(refusal["reason"], "ORDER_IN_FORCE");
    assert_eq!(cuts(&stage).await, 2);

    // A date that is reached while nothing changes.
    let version = order(&pool, "de-bank", &in_seconds(&stage, 2)).await;
    let cut = frankfurt.until_cut().await;
    cut.is_recorded(&stage, &pool, "DENY", version).await;
    let verified = stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_answer_used_up_itself_does_not_cut_it() {
    let stage = Stage::with(Some(TOKEN_MS)).await;
    let pool = stage.pool().await;
    let text = std::fs::read_to_string(&stage.world.sources.ground).unwrap();
    let once = format!("{text}\n[details]\nsingle_use = true\n");
    let once = parse_one(Sort::Ground, "once.toml", &once).unwrap();
    put_ground(&pool, &once, "a test").await.unwrap();
    let caller = stage.caller("kr-retailer");
    let mut stream = None;
    eventually("the ground is seen", async || {
        stream = Stream::try_begin(&caller, &[ORDERS, VIRGINIA]).await;
        stream.is_some()
    })
    .await;
    let mut stream = stream.unwrap();
    order(&pool, "kr-hospital", "2026-01-01").await;
    eventually("it is judged again", async || judged_again(&stage).await >= 1).await;
    let second = caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await;
    assert_eq!(second.status, 403, "it has served: {}", second.text());
    stream.goes_on().await;
    assert_eq!(cuts(&stage).await, 0);
    assert!(stream.rest().await.ends_with("data: [DONE]\n\n"));
}

/// Whoever moves the facts without end, as one organisation could by its access entries, keeps no other's answer running: it
/// cannot be recorded that it is refused, and it is cut all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_never_rest_keep_no_refused_answer_running() {
    let stage = Stage::with(Some(TOKEN_MS)).await;
    let pool = stage.pool().await;
    let stream = Stream::begin(&stage.caller("kr-retailer"), &[ORDERS, SEOUL]).await;
    let decision = stream.decision.clone();
    let mut moving = JoinSet::new();
    moving.spawn(move_facts(pool.clone()));
    order(&pool, "kr-retailer", "2026-01-01").await;
    let cut = stream.until_cut().await;
    assert_eq!(cut.decision, decision);
    assert_eq!(cuts(&stage).await, 1);
    moving.shutdown().await;
    let end = ended(&pool, &decision).await;
    assert_eq!((&end["why"], &end["cut_by"]), (&"no_longer_allowed".into(), &Value::Null));
    assert_eq!(end["reason"], "ORDER_IN_FORCE", "{end}");
}

/// A fact of another room every other moment, told to nobody.
async fn move_facts(pool: PgPool) {
    loop {
        sqlx::query("update fact_head set version = version + 1").execute(&pool).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// How an answer ended, once it is on record.
async fn ended(pool: &PgPool, decision: &str) -> Value {
    let mut end = Value::Null;
    eventually("the end is on record", async || {
        let all = leaves(pool).await;
        let found =
            all.into_iter().find(|leaf| leaf["kind"] == "ended" && leaf["decision"] == *decision);
        end = found.unwrap_or_default();
        !end.is_null()
    })
    .await;
    end
}

/// A stream of which pieces still come.
struct Stream {
    response: reqwest::Response,
    decision: String,
    text: String,
}

/// How a stream ended before its time.
struct Cut {
    decision: String,
    error: Value,
}

impl Stream {
    async fn begin(caller: &Caller, headers: &[(&str, &str)]) -> Self {
        Self::try_begin(caller, headers).await.expect("it is allowed")
    }

    async fn try_begin(caller: &Caller, headers: &[(&str, &str)]) -> Option<Self> {
        let mut body = chat();
        body["stream"] = true.into();
        let body = body.to_string();
        let response = caller.try_post(CHAT, headers, body.as_bytes()).await.unwrap();
        if response.status() != 200 {
            assert_eq!(response.status(), 403);
            return None;
        }
        let decision = response.headers()["haetae-decision"].to_str().unwrap().to_owned();
        let mut stream = Self { response, decision, text: String::new() };
        stream.goes_on().await;
        Some(stream)
    }

    /// Another piece comes, and it is not the last.
    async fn goes_on(&mut self) {
        let piece = self.response.chunk().await.unwrap().expect("another piece");
        self.text.push_str(std::str::from_utf8(&piece).unwrap());
        assert!(!self.text.contains("[DONE]"), "the stream was too short for this test");
        assert!(!self.text.contains("\"error\""), "{}", self.text);
    }

    async fn rest(mut self) -> String {
        while let Some(piece) = self.response.chunk().await.unwrap() {
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        self.text
    }

    /// It ends with an event that says why.
    async fn until_cut(self) -> Cut {
        let decision = self.decision.clone();
        let text = self.rest().await;
        let last = text.trim_end().rsplit("\n\n").next().unwrap().strip_prefix("data: ").unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert!(!text.contains("[DONE]"), "{text}");
        assert_eq!(last["error"]["code"], "no_longer_allowed", "{text}");
        assert_eq!(last["error"]["decision"], *decision, "{text}");
        Cut { decision, error: last["error"].clone() }
    }
}

impl Cut {
    /// The end of the answer names the judgement that took its authority away, which is a record of its own.
    async fn is_recorded(
        &self,
        stage: &Stage,
        pool: &PgPool,
        outcome: &str,
        version: i64,
    ) -> Value {
        let end = ended(pool, &self.decision).await;
        assert_eq!((&end["how"], &end["why"]), (&"partial".into(), &"no_longer_allowed".into()));
        let by = end["cut_by"].as_str().expect("it names the refusal");
        let refusal: Value = serde_json::from_slice(&stage.leaf(by).await).unwrap();
        assert_eq!((&refusal["kind"], &refusal["outcome"]), (&"decision".into(), &outcome.into()));
        assert_eq!(refusal["judges_again"], *self.decision);
        assert_eq!(refusal["fact_version"], version);
        for key in ["fact_version", "reason", "rule"] {
            assert_eq!(end[key], refusal[key], "{key}: {end}");
        }
        let message = self.error["message"].as_str().unwrap();
        assert!(message.contains(by), "{message}");
        assert!(message.contains(refusal["rule"].as_str().unwrap_or(by)), "{message}");
        refusal
    }
}

async fn allowed_in_virginia(caller: &Caller) {
    eventually("the ground is seen", async || {
        let answer = caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await;
        answer.status == 200
    })
    .await;
}

/// An authority suspends everything of an organisation; gives the version.
async fn order(pool: &PgPool, org: &str, from: &str) -> i64 {
    let text = format!(
        r#"id = "pipc-{org}"
authority = "PIPC"
legal_basis = "PIPA Art. 28-9"
kind = "suspend"
effective_from = "{from}"
until = "never"
entered_by = ["kim", "lee"]
match = {{ org = "{org}" }}
"#
    );
    let order = parse_one(Sort::Order, "order.toml", &text).unwrap();
    let brought = Brought { note: None, who: "a test", now: 0 };
    add(pool, &order, brought).await.unwrap().0.version
}

fn in_seconds(stage: &Stage, seconds: i64) -> String {
    Stamp::at(stage.world.clock.unix_s() + seconds).unwrap().as_str().to_owned()
}

async fn judged_again(stage: &Stage) -> u64 {
    count(stage, "haetae_answers_judged_again_total").await
}

async fn cuts(stage: &Stage) -> u64 {
    count(stage, "haetae_answers_cut_total{reason=\"no_longer_allowed\"}").await
}

async fn count(stage: &Stage, name: &str) -> u64 {
    let metrics = stage.console("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

const TICKETS: (&str, &str) = ("haetae-datasets", "de-bank/tickets@3");
const FRANKFURT: (&str, &str) = ("haetae-site", "eu-fra-1");
/// Some 17 events make a stream of ten seconds.
const TOKEN_MS: u64 = 600;
