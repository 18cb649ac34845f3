//! Postgres stands still: nothing is decided, nothing is forwarded, the answer is 503 in time and never a refusal; when it
//! goes on, so does the same gateway, and every ALLOW that became durable unseen is ended as not forwarded.

use std::time::{Duration, Instant};

use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, VIRGINIA, chat, eventually, leaves};

#[tokio::test]
async fn a_frozen_postgres_means_503_in_time_and_recovery_without_a_restart() {
    let stage = Stage::start().await;
    let (pool, sites) = (stage.pool().await, stage.sites());
    let caller = stage.caller("kr-retailer");
    let warm = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    assert_eq!(warm.status, 200, "{}", warm.text());
    let (before, pid) = (sites.arrived().await, stage.world.gateway.pid());

    stage.world.cluster.freeze().unwrap();
    for headers in [[ORDERS, SEOUL], [ORDERS, VIRGINIA], [ORDERS, SEOUL]] {
        let began = Instant::now();
        let answer = caller.post(CHAT, &headers, chat().to_string().as_bytes()).await;
        let took = began.elapsed();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            ["audit_unavailable", "overloaded"].contains(&answer.code().as_str()),
            "{}",
            answer.text()
        );
        assert_eq!(
            (answer.header("retry-after"), answer.header("x-should-retry")),
            (Some("1"), Some("true"))
        );
        assert_eq!(answer.header("haetae-decision"), None);
        assert!(took < ANSWER_MAX, "{took:?}");
    }
    let unread = caller.send("POST", "/v1/files", &[]).await;
    assert_eq!(unread.status, 503, "a refusal without a record: {}", unread.text());
    assert_eq!(sites.arrived().await, before);
    eventually("readiness says so", async || stage.console("/readyz").await.status == 503).await;

    stage.world.cluster.thaw();
    let back = Instant::now();
    eventually("the gateway serves again", async || {
        caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await.status == 200
    })
    .await;
    assert!(back.elapsed() < RECOVERY_MAX, "{:?}", back.elapsed());
    assert_eq!(stage.world.gateway.pid(), pid);
    eventually("readiness says so", async || stage.console("/readyz").await.status == 200).await;

    eventually("every ALLOW has its one end", async || {
        let all = leaves(&pool).await;
        let of = |kind: &'static str| all.iter().filter(move |leaf| leaf["kind"] == kind);
        let allows = of("decision").filter(|leaf| leaf["site"].is_string());
        let ends: Vec<&str> = of("ended").map(|leaf| leaf["decision"].as_str().unwrap()).collect();
        allows
            .map(|leaf| leaf["id"].as_str().unwrap())
            .all(|id| ends.iter().filter(|ended| **ended == id).count() == 1)
    })
    .await;
    let forwarded = leaves(&pool).await;
    let forwarded = forwarded.iter().filter(|leaf| leaf["how"] == "forwarded").count();
    assert_eq!(forwarded, sites.arrived().await.0, "every forwarded request arrived, and no other");
    let verified = stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

/// Promised are 2 s; the rest is for a machine that does other things.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// The same.
const RECOVERY_MAX: Duration = Duration::from_secs(6);
