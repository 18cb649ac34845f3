//! What a rule holds waits for people: two reviewers, neither of them the one who asked, let the same request pass once, on
//! whichever of two gateways; another body, another fact or another time is held as before, and a refusal stays one.

use haetae::clock::Clock;
use haetae::registry::Sort;
use haetae::registry::orders::store::{Brought, add};
use haetae::registry::tree::parse_one;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::support::pair::Pair;
use crate::support::stage::{Answer, CHAT, Caller, ORDERS, SEOUL, Stage, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reviewers_let_the_same_request_pass_once_and_two_gateways_pass_it_once() {
    let mut pair = Pair::start().await;
    let pool = pair.stage.pool().await;
    order(&pool, HOLD).await;
    let stage = &pair.stage;
    let asker = stage.person("kr-retailer", "kim", &["user", "reviewer"]);
    let [lee, park] = ["lee", "park"].map(|name| stage.person("kr-retailer", name, &["reviewer"]));

    // held, and the same question again is the same hold
    let body = chat().to_string();
    let first = ask(&asker, &body).await;
    assert_eq!((first.status, first.code().as_str()), (403, "held_for_review"), "{}", first.text());
    let hold = first.header("haetae-hold").unwrap().to_owned();
    assert_eq!(first.header("haetae-decision"), Some(&*hold));
    let message = first.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("GET /v1/holds/{hold}")), "{message}");
    assert_eq!(ask(&asker, &body).await.header("haetae-hold"), Some(&*hold));
    let shown = show(&lee, &hold).await;
    assert_eq!((&shown["state"], &shown["persons"]), (&json!("open"), &json!(2)));
    let listed = lee.send("GET", "/v1/holds?state=open", &[]).await.json();
    assert_eq!(listed["holds"].as_array().unwrap().len(), 1, "{listed}");
    matches(stage, &lee.send("GET", "/v1/openapi.json", &[]).await.json(), "Hold", &shown);

    // another organisation's reviewer sees and may do nothing
    let other = stage.person("de-bank", "lee", &["reviewer"]);
    assert_eq!(other.send("GET", &format!("/v1/holds/{hold}"), &[]).await.status, 404);
    assert_eq!(other.send("GET", "/v1/holds", &[]).await.json(), json!({ "holds": [] }));
    assert_eq!(vote(&other, &hold, "release", RIGHT).await.status, 404);

    // who may vote, and how
    for (who, what, said, status, code) in [
        (&asker, "release", RIGHT, 409, "same_person"),
        (&lee, "release", r#"{"reason":"  "}"#, 400, "body_invalid"),
        (&lee, "release", r#"{"reason":"yes","hours":169}"#, 400, "body_invalid"),
        (&lee, "release", r#"{"reason":"yes","until":"never"}"#, 400, "body_invalid"),
        (&lee, "refuse", r#"{"reason":"no","hours":1}"#, 400, "body_invalid"),
        (&lee, "release", RIGHT, 200, ""),
        (&lee, "release", RIGHT, 409, "same_person"),
    ] {
        let answer = vote(who, &hold, what, said).await;
        assert_eq!(answer.status, status, "{what} {said}: {}", answer.text());
        assert!(status == 200 || answer.code() == code, "{what} {said}: {}", answer.text());
    }
    assert_eq!(ask(&asker, &body).await.status, 403, "one of two is not enough");
    let released =
        vote(&park, &hold, "release", r#"{"reason":"seen with counsel","hours":1}"#).await;
    assert_eq!((released.status, &released.json()["state"]), (200, &json!("released")));
    assert_eq!(vote(&park, &hold, "refuse", RIGHT).await.code(), "not_open");

    // another body is another request; who let it pass does not use it
    assert_eq!(ask(&asker, &chat().to_string()).await.status, 403);
    let reviewer = stage.person("kr-retailer", "park", &["user", "reviewer"]);
    assert_eq!(ask(&reviewer, &body).await.code(), "held_for_review");

    // both gateways race for it: one passes, once
    let statuses = race(&pair, &body).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(show(&lee, &hold).await["state"], "used");
    let again = ask(&asker, &body).await;
    assert_eq!((again.status, again.code().as_str()), (403, "held_for_review"));
    assert_ne!(again.header("haetae-hold"), Some(&*hold), "a new question");
    eventually("the site has seen it once", async || {
        stage.sites().arrivals(body.as_bytes()).await.len() == 1
    })
    .await;
    recorded(&pool, &hold).await;
    pair.stop().await;
    let verified =
        pair.stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_ends_with_its_facts_and_its_time_and_lifts_no_refusal() {
    let stage = Stage::start().await;
    let pool = stage.pool().await;
    order(&pool, HOLD).await;
    let asker = stage.person("kr-retailer", "kim", &["user"]);

    // by the command line, as an operator does it
    let cli = async |words: &[&str]| {
        let all = [&["hold", "--config", "haetae.toml"], words].concat();
        stage.world.program.run(&all).await
    };
    let release = async |hold: &str| {
        for by in ["lee", "park"] {
            let said = cli(&["--by", by, "release", hold, "--reason", "it is in order"]).await;
            said.unwrap_or_else(|error| panic!("{error:#}"));
        }
    };
    let body = chat().to_string();
    let hold = held(&asker, &body).await;
    let said = cli(&["--by", "kim", "release", &hold, "--reason", "mine"]).await.unwrap_err();
    assert!(said.to_string().contains("somebody else must"), "{said:#}");
    release(&hold).await;
    let listed = cli(&["list", "--state", "released"]).await.unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains(&hold));
    assert_eq!(ask(&asker, &body).await.status, 200);

    // what another replica has reserved is not free; when that replica is dead it is, after its time
    let body = chat().to_string();
    let hold = held(&asker, &body).await;
    release(&hold).await;
    let dead = uuid::Uuid::from_u128(7);
    let reserve = "with made as (insert into reservation (decision) values ($1) returning decision)
        insert into reservation_item (decision, n, kind, key) select decision, 0, 'release', $2 from made";
    // the item refers to a row of the same statement: the reference is looked at when it ends
    sqlx::query(reserve).bind(dead).bind(&hold).execute(&pool).await.unwrap();
    assert_eq!(ask(&asker, &body).await.status, 403, "another is about to use it");
    let age = "update reservation set made_at = made_at - interval '1 minute' where decision = $1";
    sqlx::query(age).bind(dead).execute(&pool).await.unwrap();
    assert_eq!(ask(&asker, &body).await.status, 200, "it died and never used it");

    // one person's no ends a hold
    let body = chat().to_string();
    let hold = held(&asker, &body).await;
    cli(&["--by", "lee", "refuse", &hold, "--reason", "not this"]).await.unwrap();
    let late = cli(&["--by", "park", "release", &hold, "--reason", "but why"]).await.unwrap_err();
    assert!(late.to_string().contains("refused already"), "{late:#}");
    assert_eq!(ask(&asker, &body).await.status, 403);

    // its time is over
    let body = chat().to_string();
    let hold = held(&asker, &body).await;
    release(&hold).await;
    let over = "update hold_resolution set from_s = from_s - 60, until_s = from_s - 30 where hold = $1::uuid";
    sqlx::query(over).bind(&hold).execute(&pool).await.unwrap();
    assert_eq!(ask(&asker, &body).await.status, 403, "its time is over");

    // facts that matter changed: the release is for others
    let body = chat().to_string();
    release(&held(&asker, &body).await).await;
    order(&pool, &HOLD.replace("test-hold", "test-hold-too")).await;
    assert_eq!(ask(&asker, &body).await.code(), "held_for_review", "other facts");

    // an order that forbids is not lifted by it
    let body = chat().to_string();
    release(&held(&asker, &body).await).await;
    order(&pool, &HOLD.replace("\"hold\"", "\"prohibit\"").replace("test-hold", "test-stop")).await;
    let refused = ask(&asker, &body).await;
    assert_eq!((refused.status, refused.header("haetae-hold")), (403, None));
    assert_ne!(refused.code(), "held_for_review");
}

/// Twelve of the same, six at each gateway.
async fn race(pair: &Pair, body: &str) -> Vec<u16> {
    let mut asking = JoinSet::new();
    for number in 0..12 {
        let caller = pair.stage.person("kr-retailer", "kim", &["user"]);
        let caller = if number % 2 == 0 { caller } else { pair.second(caller) };
        let body = body.to_owned();
        asking.spawn(async move { ask(&caller, &body).await.status });
    }
    let statuses = asking.join_all().await;
    assert!(statuses.iter().all(|status| [200, 403, 503].contains(status)), "{statuses:?}");
    statuses
}

/// Each vote and the resolution are in the log, with nobody's name.
async fn recorded(pool: &PgPool, hold: &str) {
    let mut of_hold: Vec<Value> = Vec::new();
    eventually("votes and resolution are recorded", async || {
        of_hold = leaves(pool).await.into_iter().filter(|leaf| leaf["hold"] == hold).collect();
        of_hold.len() == 3
    })
    .await;
    of_hold.sort_by_key(|leaf| (leaf["kind"].to_string(), leaf["at"].to_string()));
    let kinds: Vec<_> = of_hold.iter().map(|leaf| leaf["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hold_resolved", "hold_vote", "hold_vote"]);
    assert_eq!(
        (&of_hold[0]["result"], &of_hold[0]["org"]),
        (&json!("released"), &json!("kr-retailer"))
    );
    for leaf in &of_hold {
        assert_eq!(leaf["people"].as_array().unwrap().len(), 1);
        let text = leaf.to_string();
        assert!(
            !["lee", "park", "kim", "counsel"].iter().any(|word| text.contains(word)),
            "{text}"
        );
    }
    let named: i64 = sqlx::query_scalar("select count(*) from log_outbox where people <> '{}'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(named, 0, "names are taken out when the record is written");
}

/// Every key that the schema requires is there and no other, with the right kind of value.
fn matches(_stage: &Stage, document: &Value, name: &str, value: &Value) {
    let schema = &document["components"]["schemas"][name];
    let object = value.as_object().unwrap();
    for key in schema["required"].as_array().unwrap() {
        assert!(object.contains_key(key.as_str().unwrap()), "{name}: {key}");
    }
    for (key, value) in object {
        let kind = schema["properties"][key]["type"].as_str();
        let right = match kind {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("array") => value.is_array(),
            _ => false,
        };
        assert!(right, "{name}.{key} is no {kind:?}: {value}");
    }
}

async fn ask(caller: &Caller, body: &str) -> Answer {
    caller.post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await
}

/// Asks, and gives the hold that it is told of.
async fn held(caller: &Caller, body: &str) -> String {
    let answer = ask(caller, body).await;
    assert_eq!(answer.code(), "held_for_review", "{}", answer.text());
    answer.header("haetae-hold").unwrap().to_owned()
}

async fn vote(caller: &Caller, hold: &str, choice: &str, said: &str) -> Answer {
    caller.post(&format!("/v1/holds/{hold}/{choice}"), &[], said.as_bytes()).await
}

async fn show(caller: &Caller, hold: &str) -> Value {
    let answer = caller.send("GET", &format!("/v1/holds/{hold}"), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

pub async fn order(pool: &PgPool, text: &str) {
    let entry = parse_one(Sort::Order, "order.toml", text).unwrap();
    let brought = Brought { note: None, who: "a test", now: Clock::system().unix_s() };
    add(pool, &entry, brought).await.unwrap();
}

const RIGHT: &str = r#"{"reason":"it is in order"}"#;
/// Whatever the retailer's data do in Korea waits for people.
pub const HOLD: &str = r#"
id = "test-hold"
authority = "PIPC"
legal_basis = "a test"
kind = "hold"
effective_from = "2026-01-01T00:00:00+09:00"
until = "never"
received_at = "2026-01-01"
entered_by = ["registrar one", "registrar two"]

[match]
org = "kr-retailer"
regimes = ["KR.PIPA"]
to = ["*"]
"#;
