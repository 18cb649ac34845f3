//! Rows of lanes: two writers, a lane rolled back beside another, an answer that is lost, a clock that goes back.

use std::sync::Arc;
use std::time::Duration;

use haetae::audit::{Audit, Config, Key, verify};
use haetae::clock::Clock;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tlog::{Frontier, Hash};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::row;
use super::written::found;
use crate::audit::lab::{Lab, ORIGIN, eventually, leaves};
use crate::support::{Fresh, fresh_database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_on_one_lane() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    // A second process that is told to take the same lane.
    let config = Config { origin: ORIGIN.to_owned(), lanes: 1, ..Config::default() };
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let (pool, clock) = (lab.pool.clone(), Clock::system());
    let second =
        Audit::start_with_key(&config, &lab.key, pool, clock, &tracker, stop.clone()).unwrap();
    let cause = || second.health().lanes[0].cause.clone();
    eventually("the second stands back", async || {
        cause().is_some_and(|cause| cause.contains("another replica"))
    })
    .await;
    let told = cause().unwrap();
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    // And one that asks nobody: it claims, and the first finds its epoch taken at its next commit.
    sqlx::query("update log_head set epoch = epoch + 1").execute(&lab.pool).await.unwrap();
    lab.deny().await.unwrap();
    lab.projected().await;
    let pool = lab.stop().await;
    let report = verify(&pool).await.unwrap();
    assert_eq!(report.findings, []);
    let said = [
        ("the second gateway's /readyz", format!("lane 0 is not held: {told}")),
        ("the log", epochs(&leaves(&pool).await)),
        ("log verify", "whole".to_owned()),
    ];
    row("two_writers_on_one_lane", &said);
}

/// One lane of two is cut back, with its checkpoints: the heartbeat in the other says how long it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roll_back_one_lane_of_two() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    // Which lane takes one is not ours to say: until the first has something to lose.
    let decided = |leaf: &serde_json::Value| leaf["kind"] == "decision" && leaf["lane"] == 0;
    while !lab.leaves().await.iter().any(decided) {
        let (one, other) = tokio::join!(lab.deny(), lab.deny());
        assert!(one.is_ok() && other.is_ok());
    }
    // By turns in each lane, so that after two each has one over the other.
    eventually("each lane has its heartbeat", async || {
        let all = lab.leaves().await;
        [0, 1]
            .iter()
            .all(|lane| all.iter().any(|leaf| leaf["kind"] == "heartbeat" && leaf["lane"] == *lane))
    })
    .await;
    lab.projected().await;
    let pool = lab.stop().await;
    let all = leaves(&pool).await;
    let other = all.iter().rfind(|leaf| leaf["kind"] == "heartbeat" && leaf["lane"] == 1).unwrap();
    let was = other["heads"][0]["size"].as_i64().unwrap();
    let bundles: Vec<(i64, i32, Vec<u8>)> = sqlx::query_as(
        "select first_index, count, leaves from log_batch where lane = 0 order by first_index",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    // The first record stays: of the rest nothing, and nothing that would say so in this lane.
    let mut frontier = Frontier::new();
    let (_, count, first) = &bundles[0];
    tlog::bundle::leaves(first).for_each(|leaf| frontier.append(Hash::leaf(leaf.unwrap())));
    for statement in [
        "delete from log_checkpoint where lane = 0",
        "delete from log_batch where lane = 0 and first_index > 0",
        "delete from row_decision where lane = 0",
        "delete from log_tile where lane = 0",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    sqlx::query("update projection_cursor set next_index = $1 where lane = 0")
        .bind(i64::from(*count))
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("update log_head set size = $1, frontier = $2, root = $3 where lane = 0")
        .bind(i64::from(*count))
        .bind(frontier.to_bytes())
        .bind(frontier.root().0.as_slice())
        .execute(&pool)
        .await
        .unwrap();
    let report = verify(&pool).await.unwrap();
    let inside: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let words = format!("lane 0 had {was} records when this heartbeat was written, now {count}");
    let said = found(&inside, &words).replace(&format!("had {was}"), "had N");
    row("roll_back_one_lane_of_two", &[("log verify", said)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lose_the_answer_to_a_commit() {
    let fresh = fresh_database().await;
    let (cut, seen) = watch::channel(Cut::Nothing);
    let lab = Lab::start(&through_a_wire(&fresh, seen).await, 1).await;
    let before = leaves(&fresh.pool).await.len();
    for how in [Cut::Answer, Cut::Commit] {
        cut.send(how).unwrap();
        // Whoever waits is told the truth in the end: it is in the log, once.
        let leaf = lab.proven(&lab.deny().await.unwrap());
        let all = leaves(&fresh.pool).await;
        let same = all.iter().filter(|one| one["body"] == leaf["body"] && one["id"] == leaf["id"]);
        assert_eq!(same.count(), 1);
    }
    assert_eq!(*cut.borrow(), Cut::Commit);
    lab.projected().await;
    lab.stop().await;
    let all = leaves(&fresh.pool).await;
    let decisions = all.iter().skip(before).filter(|leaf| leaf["kind"] == "decision").count();
    assert_eq!(decisions, 2, "each was written once");
    let report = verify(&fresh.pool).await.unwrap();
    assert_eq!(report.findings, []);
    let said = [("the log", epochs(&all)), ("log verify", "whole".to_owned())];
    row("lose_the_answer_to_a_commit", &said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_the_clock_back() {
    let clock = Clock::fixed(1_763_900_000_000_000_000);
    let key = Arc::new(Key::generate().unwrap());
    let lab = Lab::start_at(&fresh_database().await.pool, 1, clock.clone(), key).await;
    lab.deny().await.unwrap();
    clock.set(1_763_900_000_000_000_000 - 3_600_000_000_000);
    lab.deny().await.unwrap();
    lab.deny().await.unwrap();
    let all = lab.leaves().await;
    let times: Vec<&str> = all.iter().map(|leaf| leaf["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let clocks: Vec<_> = all.iter().filter(|leaf| leaf["kind"] == "clock").collect();
    assert_eq!(clocks.len(), 1, "said once");
    let said = format!("clock: behind_ns {}, seen {}", clocks[0]["behind_ns"], clocks[0]["seen"]);
    lab.projected().await;
    let report = verify(&lab.stop().await).await.unwrap();
    assert_eq!(report.findings, []);
    row("set_the_clock_back", &[("the log", said.replace('"', ""))]);
}

/// How often the log opens a lane: once for each claim.
fn epochs(all: &[serde_json::Value]) -> String {
    let opens = all.iter().filter(|leaf| leaf["kind"] == "lane_open").count();
    format!("lane_open, {opens} times")
}

/// What the wire does to the next commit of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// Postgres gets it, its answer is lost.
    Answer,
    /// Postgres does not even get it.
    Commit,
}

/// A pool to the same database over TCP, through a wire that can be cut at a commit.
async fn through_a_wire(fresh: &Fresh, cut: watch::Receiver<Cut>) -> sqlx::PgPool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = fresh.options.get_socket().unwrap().join(".s.PGSQL.5432");
    TaskTracker::new().spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&socket).await.unwrap();
            TaskTracker::new().spawn(carry(client, server, cut.clone()));
        }
    });
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(fresh.options.get_username())
        .database(&fresh.name)
        .ssl_mode(PgSslMode::Disable);
    PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap()
}

async fn carry(
    mut client: tokio::net::TcpStream,
    server: UnixStream,
    mut cut: watch::Receiver<Cut>,
) {
    let (mut of_server, mut to_server) = server.into_split();
    let (mut of_client, mut to_client) = client.split();
    let (mut asked, mut told) = (vec![0; 65_536], vec![0; 65_536]);
    cut.mark_unchanged();
    loop {
        tokio::select! {
            read = of_client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let decides = asked[..length].windows(DECISION.len()).any(|part| part == DECISION);
                let how = if decides && cut.has_changed().unwrap_or(false) {
                    *cut.borrow_and_update()
                } else {
                    Cut::Nothing
                };
                if how == Cut::Commit {
                    return;
                }
                to_server.write_all(&asked[..length]).await.unwrap();
                if how == Cut::Answer {
                    // Until the statement is done; then both ends close, and the answer was never passed on.
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    return;
                }
            }
            read = of_server.read(&mut told) => {
                let Ok(length @ 1..) = read else { return };
                if to_client.write_all(&told[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// As it stands in the leaf of a decision.
const DECISION: &[u8] = b"\"kind\":\"decision\"";
