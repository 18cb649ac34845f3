//! The rows of processes that are stopped (SIGSTOP) and continued, or killed: another ends what they left open, whether it has
//! room for their lanes or not.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use super::row;
use crate::support::pair::Pair;
use crate::support::stage::{CHAT, Caller, ORDERS, SEOUL, VIRGINIA, chat, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_a_writer_and_let_it_go_on() {
    // Three lanes: the first process holds two, the second one, and has room for one more.
    let mut pair = Pair::of("lanes = 3\nlanes_held_max = 2\n", "", Some(1_000)).await;
    let pool = pair.stage.pool().await;
    let (first, second) = (pair.caller(0, "kr-retailer"), pair.caller(1, "kr-retailer"));
    let (id, answer) = under_way(&first).await;
    let stopped = Stopped::stop(pid(&pair));
    closed_as_crash(&pool, &id).await;
    // One lane was the first's until now; at least one of its two is the second's.
    patiently("the second holds one of its lanes", async || {
        let moved = "select exists (select from log_epoch where epoch > 1)";
        sqlx::query_scalar(moved).fetch_one(&pool).await.unwrap()
    })
    .await;
    let plain = chat().to_string();
    // A refusal: it needs a record and no site, whose guard trusts the demo's two lanes and not this third one.
    assert_eq!(second.post(CHAT, &[ORDERS, VIRGINIA], plain.as_bytes()).await.status, 403);

    goes_on(stopped, answer, &pool, &first).await;
    pair.stop().await;
    row_of_a_stop("stop_a_writer_and_let_it_go_on", &pool, &id).await;
}

/// One lane each, and room for no other: the second ends what the first left open from its own lane. The first is stopped where it
/// is hardest, within a transaction: its session would wait for the next statement for ever, and with it its locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_a_writer_whose_lane_nobody_has_room_for() {
    let mut pair = Pair::of("lanes_held_max = 1\n", "", Some(1_000)).await;
    let pool = pair.stage.pool().await;
    let (first, second) = (pair.caller(0, "kr-retailer"), pair.caller(1, "kr-retailer"));
    // The first became ready first, and follows the log for both.
    let mut lock = pool.begin().await.unwrap();
    let whole = "lock table row_decision in exclusive mode";
    sqlx::raw_sql(whole).execute(&mut *lock).await.unwrap();
    let (id, answer) = under_way(&first).await;
    let among = |condition: &'static str| {
        let select = "select exists (select from pg_stat_activity where application_name = 'haetae-projection' and";
        let select = AssertSqlSafe(format!("{select} {condition})"));
        sqlx::query_scalar::<_, bool>(select).fetch_one(&pool)
    };
    let waits = async || among("wait_event_type = 'Lock'").await.unwrap();
    patiently("its transaction waits for a lock", waits).await;
    let stopped = Stopped::stop(pid(&pair));
    lock.rollback().await.unwrap();
    let silent = async || among("state = 'idle in transaction'").await.unwrap();
    patiently("its transaction waits for it", silent).await;

    closed_as_crash(&pool, &id).await;
    let (under, given_up, newest) = epoch_of(&pool, &id).await;
    assert!(given_up && newest == under, "nobody claimed the lane, and it is marked");
    let plain = chat().to_string();
    assert_eq!(second.post(CHAT, &[ORDERS, VIRGINIA], plain.as_bytes()).await.status, 403);

    goes_on(stopped, answer, &pool, &first).await;
    assert!(epoch_of(&pool, &id).await.2 > under, "it took its lane anew");
    pair.stop().await;
    row_of_a_stop("stop_a_writer_whose_lane_nobody_has_room_for", &pool, &id).await;
}

/// The same with SIGKILL, and the first is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_a_writer_whose_lane_nobody_has_room_for() {
    let mut pair = Pair::of("lanes_held_max = 1\n", "", Some(1_000)).await;
    let pool = pair.stage.pool().await;
    let (id, answer) = under_way(&pair.caller(0, "kr-retailer")).await;
    pair.stage.world.gateway.kill9().unwrap();
    assert!(answer.bytes().await.is_err(), "its answer is cut");

    closed_as_crash(&pool, &id).await;
    let (under, given_up, newest) = epoch_of(&pool, &id).await;
    assert!(given_up && newest == under, "nobody claimed the lane, and it is marked");
    pair.stage.world.restart_gateway().await.unwrap();
    pair.stop().await;
    assert!(epoch_of(&pool, &id).await.2 > under, "it took its lane anew");
    let ended = the_end(&leaves(&pool).await, &id);
    assert_eq!(haetae::audit::verify(&pool).await.unwrap().findings, []);
    row(
        "kill_a_writer_whose_lane_nobody_has_room_for",
        &[("the log, by the second gateway", ended), ("log verify", "whole".to_owned())],
    );
}

/// An answer that outlasts what is done to its gateway, and its decision.
async fn under_way(caller: &Caller) -> (String, reqwest::Response) {
    let mut body = chat();
    body["stream"] = true.into();
    let body = body.to_string();
    let mut answer = caller.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await.unwrap();
    while answer.status() == 502 {
        // Recorded in a third lane, which the site's guard does not trust.
        answer = caller.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await.unwrap();
    }
    assert_eq!(answer.status(), 200);
    (answer.headers()["haetae-decision"].to_str().unwrap().to_owned(), answer)
}

fn pid(pair: &Pair) -> Pid {
    Pid::from_raw(i32::try_from(pair.stage.world.gateway.pid()).unwrap()).unwrap()
}

async fn closed_as_crash(pool: &PgPool, id: &str) {
    patiently("another ends what was left open", async || {
        let ended = "select how from row_ended where decision = $1::uuid";
        let how: Vec<String> = sqlx::query_scalar(ended).bind(id).fetch_all(pool).await.unwrap();
        how == ["unknown_crash"]
    })
    .await;
}

async fn goes_on(stopped: Stopped, answer: reqwest::Response, pool: &PgPool, first: &Caller) {
    drop(stopped);
    // Its own end of that answer comes now, and is not written a second time.
    let _whole_or_cut = answer.bytes().await;
    patiently("the first says what became of it, and serves again", async || {
        let said = leaves(pool).await.iter().any(|leaf| leaf["what"] == "given_up");
        let plain = chat().to_string();
        said && first.post(CHAT, &[ORDERS, VIRGINIA], plain.as_bytes()).await.status == 403
    })
    .await;
}

/// The epoch that a decision was recorded under, whether its holder was given up, and the newest epoch of that lane.
async fn epoch_of(pool: &PgPool, id: &str) -> (i64, bool, i64) {
    let select = "select e.epoch, e.abandoned, (select max(n.epoch) from log_epoch n where n.lane = d.lane)
                  from row_decision d join log_batch b on b.lane = d.lane and d.index >= b.first_index
                                                      and d.index < b.first_index + b.count
                  join log_epoch e on e.lane = b.lane and e.epoch = b.epoch where d.id = $1::uuid";
    sqlx::query_as(select).bind(id).fetch_one(pool).await.unwrap()
}

/// One end, the word of who was stopped, and a whole log.
async fn row_of_a_stop(name: &str, pool: &PgPool, id: &str) {
    let all = leaves(pool).await;
    let ended = the_end(&all, id);
    let alarm = all.iter().find(|leaf| leaf["what"] == "given_up").unwrap();
    assert_eq!(haetae::audit::verify(pool).await.unwrap().findings, []);
    row(
        name,
        &[
            ("the log, by the second gateway", ended),
            ("the log, by the first when it goes on", alarm["about"].as_str().unwrap().to_owned()),
            ("log verify", "whole".to_owned()),
        ],
    );
}

/// The one end of a decision, in words.
fn the_end(all: &[Value], id: &str) -> String {
    let of = |leaf: &&Value| leaf["kind"] == "ended" && leaf["decision"] == id;
    let ends: Vec<&Value> = all.iter().filter(of).collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    format!("ended: how {}, why {}", ends[0]["how"], ends[0]["why"]).replace('"', "")
}

/// A process that is stopped until this is dropped, so also when the test fails: nobody can wait for the end of a stopped one.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _gone_already = kill_process(self.0, Signal::CONT);
    }
}

/// Waits for what takes about 15 s on a machine with nothing else to do.
async fn patiently(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let within = Duration::from_mins(2);
    tokio::time::timeout(within, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
