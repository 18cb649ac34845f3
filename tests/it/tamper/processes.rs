//! The row of a process that is stopped (SIGSTOP) and continued: another takes its lane and ends what it left open.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::row;
use crate::support::pair::Pair;
use crate::support::stage::{CHAT, ORDERS, SEOUL, VIRGINIA, chat, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_a_writer_and_let_it_go_on() {
    // Three lanes: the first process holds two, the second one, and has room for one more.
    let mut pair = Pair::of("lanes = 3\nlanes_held_max = 2\n", "", Some(1_000)).await;
    let pool = pair.stage.pool().await;
    let (first, second) = (pair.caller(0, "kr-retailer"), pair.caller(1, "kr-retailer"));
    // An answer is under way that outlasts the stop.
    let mut body = chat();
    body["stream"] = true.into();
    let body = body.to_string();
    let mut answer = first.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await.unwrap();
    while answer.status() == 502 {
        // Recorded in the third lane, which the site's guard does not trust.
        answer = first.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await.unwrap();
    }
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["haetae-decision"].to_str().unwrap().to_owned();
    let pid = Pid::from_raw(i32::try_from(pair.stage.world.gateway.pid()).unwrap()).unwrap();
    let stopped = Stopped::stop(pid);

    patiently("another ends what was left open", async || {
        let ended = "select how from row_ended where decision = $1::uuid";
        let how: Vec<String> = sqlx::query_scalar(ended).bind(&id).fetch_all(&pool).await.unwrap();
        how == ["unknown_crash"]
    })
    .await;
    // One lane was the first's until now; at least one of its two is the second's.
    patiently("the second holds one of its lanes", async || {
        let moved = "select exists (select from log_epoch where epoch > 1)";
        sqlx::query_scalar(moved).fetch_one(&pool).await.unwrap()
    })
    .await;
    let plain = chat().to_string();
    // A refusal: it needs a record and no site, whose guard trusts the demo's two lanes and not this third one.
    assert_eq!(second.post(CHAT, &[ORDERS, VIRGINIA], plain.as_bytes()).await.status, 403);

    drop(stopped);
    // Its own end of that answer comes now, and is not written a second time.
    let _whole_or_cut = answer.bytes().await;
    patiently("the first says what became of it, and serves again", async || {
        let said = leaves(&pool).await.iter().any(|leaf| leaf["what"] == "given_up");
        let plain = chat().to_string();
        said && first.post(CHAT, &[ORDERS, VIRGINIA], plain.as_bytes()).await.status == 403
    })
    .await;
    pair.stop().await;
    let all = leaves(&pool).await;
    let ends: Vec<&Value> =
        all.iter().filter(|leaf| leaf["kind"] == "ended" && leaf["decision"] == id).collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    let alarm = all.iter().find(|leaf| leaf["what"] == "given_up").unwrap();
    let report = haetae::audit::verify(&pool).await.unwrap();
    assert_eq!(report.findings, []);
    let ended = format!("ended: how {}, why {}", ends[0]["how"], ends[0]["why"]);
    row(
        "stop_a_writer_and_let_it_go_on",
        &[
            ("the log, by the second gateway", ended.replace('"', "")),
            ("the log, by the first when it goes on", alarm["about"].as_str().unwrap().to_owned()),
            ("log verify", "whole".to_owned()),
        ],
    );
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
