//! What people released is used once or not at all, whichever process is killed while it uses it: never twice.
//!
//! `HAETAE_RELEASE_KILLS` says how many rounds (3 without it); the first is killed between reservation and record.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::gate::holds::{HOLD, order};
use crate::support::pair::Pair;
use crate::support::stage::{CHAT, Caller, ORDERS, SEOUL, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_used_once_or_not_at_all_when_its_user_is_killed() {
    let mut pair = Pair::start().await;
    let pool = pair.stage.pool().await;
    order(&pool, HOLD).await;
    let mut of_the_killed = 0;
    for round in 0..rounds() {
        let body = chat().to_string();
        let hold = released(&pair, &body).await;
        if round == 0 {
            killed_before_its_record(&mut pair, &pool, &body).await;
        } else {
            killed_while_both_ask(&mut pair, &body, round).await;
        }
        settled(&pool).await;
        let used = allowed(&pool, &body).await;
        assert!(used <= 1, "round {round}: used {used} times");
        of_the_killed += used;
        pair.restart_second().await;
        swept(&pool).await;
        // The same request again, at both: what is left of it passes once.
        let asker = || pair.stage.person("kr-retailer", "kim", &["user"]);
        let passed = [ask(&asker(), &body).await, ask(&pair.second(asker()), &body).await];
        let passed = passed.iter().filter(|status| **status == 200).count();
        assert_eq!(used + passed, 1, "round {round}: {used} before the kill, {passed} after it");
        assert_eq!(allowed(&pool, &body).await, 1, "round {round}: one record that allows");
        let confirmed = "select count(*) from reservation_item join reservation using (decision)
            where kind = 'release' and key = $1 and state = 'confirmed'";
        let confirmed = sqlx::query_scalar::<_, i64>(confirmed).bind(&hold);
        assert_eq!(confirmed.fetch_one(&pool).await.unwrap(), 1, "round {round}");
        let arrived = pair.stage.sites().arrivals(body.as_bytes()).await.len();
        assert!(arrived <= 1, "round {round}: the site saw it {arrived} times");
    }
    println!(
        "{} kills while a release was used: {of_the_killed} were used then, the others once afterwards",
        rounds()
    );
    pair.stop().await;
    let verified =
        pair.stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

/// Asks, is held, and two people release it; gives the hold.
async fn released(pair: &Pair, body: &str) -> String {
    let asker = pair.stage.person("kr-retailer", "kim", &["user"]);
    let answer = asker.post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
    assert_eq!(answer.code(), "held_for_review", "{}", answer.text());
    let hold = answer.header("haetae-hold").unwrap().to_owned();
    for by in ["lee", "park"] {
        let release = ["hold", "--config", "haetae.toml", "--by", by, "release", &hold];
        let words = [&release[..], &["--reason", "it is in order"]].concat();
        pair.stage.world.program.run(&words).await.unwrap();
    }
    hold
}

/// The second process has reserved the release and cannot record yet: it is killed there. Nobody gets an answer; what it had
/// sent to Postgres may still be committed, and then it is used, and on record.
async fn killed_before_its_record(pair: &mut Pair, pool: &PgPool, body: &str) {
    let caller = pair.second(pair.stage.person("kr-retailer", "kim", &["user"]));
    let mut held = pool.begin().await.unwrap();
    sqlx::query("select 1 from fact_head for update").execute(&mut *held).await.unwrap();
    let mut asking = JoinSet::new();
    let asked = body.to_owned();
    asking.spawn(async move { ask(&caller, &asked).await });
    let reserved = "select count(*) from reservation_item join reservation using (decision)
        where kind = 'release' and state = 'reserved'";
    eventually("it is reserved", async || {
        sqlx::query_scalar::<_, i64>(reserved).fetch_one(pool).await.unwrap() == 1
    })
    .await;
    pair.kill_second();
    held.rollback().await.unwrap();
    assert_eq!(asking.join_all().await, [0], "nobody got an answer");
}

/// Both are asked the same at once (in odd rounds the second alone), and the second is killed a moment later.
async fn killed_while_both_ask(pair: &mut Pair, body: &str, round: u32) {
    let mut asking = JoinSet::new();
    for number in 0..8 {
        let caller = pair.stage.person("kr-retailer", "kim", &["user"]);
        let first = number % 4 == 0 && round.is_multiple_of(2);
        let caller = if first { caller } else { pair.second(caller) };
        let body = body.to_owned();
        asking.spawn(async move { ask(&caller, &body).await });
    }
    pair.kill_second_after(Duration::from_micros(1_500 * u64::from(round % 16))).await;
    let statuses = asking.join_all().await;
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!(passed <= 1, "round {round}: {statuses:?}");
}

/// Nothing that the dead process sent is still under way in Postgres.
async fn settled(pool: &PgPool) {
    eventually("Postgres has seen the end of it", async || {
        let open = "select count(*) from pg_stat_activity
            where application_name like 'haetae-lane%' and state = 'active'";
        sqlx::query_scalar::<_, i64>(open).fetch_one(pool).await.unwrap() == 0
    })
    .await;
}

/// As if the time after which reservations of the dead are swept had passed.
async fn swept(pool: &PgPool) {
    let age =
        "update reservation set made_at = made_at - interval '1 minute' where state = 'reserved'";
    sqlx::query(age).execute(pool).await.unwrap();
}

/// How many records allow this very body.
async fn allowed(pool: &PgPool, body: &str) -> usize {
    let digest = STANDARD.encode(Sha256::digest(body));
    let all = leaves(pool).await;
    let of_it = |leaf: &&serde_json::Value| {
        leaf["kind"] == "decision"
            && leaf["body"] == *digest
            && leaf["outcome"].as_str().unwrap().starts_with("ALLOW")
    };
    all.iter().filter(of_it).count()
}

/// The status, 0 where there was no answer. 503 is no answer yet.
async fn ask(caller: &Caller, body: &str) -> u16 {
    for _ in 0..ASKS_MAX {
        let Ok(answer) = caller.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await else {
            return 0;
        };
        match answer.status().as_u16() {
            503 => tokio::time::sleep(Duration::from_millis(50)).await,
            status => return status,
        }
    }
    503
}

fn rounds() -> u32 {
    std::env::var("HAETAE_RELEASE_KILLS")
        .map_or(USUAL, |given| given.parse().expect("HAETAE_RELEASE_KILLS is a number"))
}

const USUAL: u32 = 3;
/// Ten seconds: longer than any swap or restart takes.
const ASKS_MAX: usize = 200;
