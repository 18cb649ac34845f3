//! A proposed bundle is judged beside the one in force on live traffic: no answer changes, only what differs is kept, and the
//! beginning and the end are in the log.

use std::process::Output;

use haetae::shadow::store;
use sqlx::PgPool;
use uuid::Uuid;

use super::life::{acts_of, ask, said, wrong};
use super::two_bundles;
use crate::support::stage::{CHAT, ORDERS, Stage, VIRGINIA, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_would_be_otherwise_is_kept() {
    let stage = Stage::start().await;
    let [_, shut] = two_bundles(&stage);
    // It stops purchases, and lets auditors of every organisation submit.
    let roles = shut.join("access/roles.csv");
    let sheet = std::fs::read_to_string(&roles).unwrap();
    std::fs::write(&roles, format!("{sheet}p, A11, allow, role:auditor, *, *, submit\n")).unwrap();
    let text =
        said(&stage, &["policy", "propose", shut.to_str().unwrap(), "--purpose", "a test"]).await;
    let digest = text.lines().next().unwrap().strip_prefix("bundle ").unwrap().to_owned();
    let error = wrong(&stage, &["policy", "shadow", "stop", "--reason", "none runs"]).await;
    assert!(error.contains("no bundle is judged beside"), "{error}");

    let begin = ["policy", "shadow", "start", &digest, "--reason", "before approval"];
    let text = said(&stage, &begin).await;
    let trial: Uuid =
        text.lines().next().unwrap().strip_prefix("shadow ").unwrap().parse().unwrap();
    let error = wrong(&stage, &begin).await;
    assert!(error.contains("is judged beside already"), "{error}");
    eventually("it runs", async || runs(&stage).await == "1").await;

    for _ in 0..3 {
        assert_eq!(ask(&stage).await, 200, "no answer changes");
    }
    let caller = stage.caller("kr-retailer");
    let abroad = caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await;
    assert_eq!(abroad.status, 403, "refused by both");
    let auditor = stage.person("de-bank", "lee", &["auditor"]);
    let tickets = [("haetae-datasets", "de-bank/tickets@3"), ("haetae-site", "eu-fra-1")];
    let refused = auditor.post(CHAT, &tickets, chat().to_string().as_bytes()).await;
    assert_eq!(refused.code(), "access_denied", "no answer changes");

    let pool = stage.pool().await;
    eventually("all five are compared and written", async || {
        let counts = store::counts(&pool, trial).await.unwrap();
        (counts.same, counts.differing, counts.dropped + counts.moved + counts.uncounted)
            == (1, 4, 0)
    })
    .await;
    let (code, report) = found(&stage).await;
    assert_eq!(code, Some(1), "{report}");
    let ways: Vec<&str> = report.lines().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(ways, ["DENY -> ALLOW: 1", "ALLOW -> DENY: 3"], "{report}");
    assert!(report.contains("was    - ACCESS_DENIED"), "{report}");
    assert!(report.contains("cell   KR.PIPA compute to KR-11"), "{report}");
    assert!(report.contains("would  Z01 DENIED_BY_RULE"), "{report}");
    let stopped = store::differences(&pool, trial).await.unwrap();
    let records = leaves(&pool).await;
    for id in stopped.iter().flat_map(|(_, group)| &group.examples) {
        let record = records.iter().find(|leaf| leaf["id"] == id.to_string()).unwrap();
        assert_eq!(record["kind"], "decision", "an example is a record that anybody can look at");
    }
    let text = said(&stage, &["policy", "status"]).await;
    assert!(text.contains("shadow: bundle") && text.contains("1 the same, 4 otherwise"), "{text}");
    let ready = stage.console("/readyz").await;
    assert!(
        ready.status == 200 && ready.text().contains("1 the same, 4 otherwise"),
        "{}",
        ready.text()
    );

    said(&stage, &["policy", "shadow", "stop", "--reason", "seen enough"]).await;
    eventually("it runs no more", async || runs(&stage).await == "0").await;
    assert_eq!(ask(&stage).await, 200);
    assert_eq!(found(&stage).await.1.lines().filter(|line| line.contains(" -> ")).count(), 2);
    recorded(&pool, trial, &digest).await;
}

/// The beginning and the end are in the log, with what they were about.
async fn recorded(pool: &PgPool, trial: Uuid, digest: &str) {
    eventually("both acts are in the log", async || {
        acts_of(&leaves(pool).await) == ["propose", "shadow_start", "shadow_stop"]
    })
    .await;
    let all = leaves(pool).await;
    let started = all.iter().find(|leaf| leaf["act"] == "shadow_start").unwrap();
    assert_eq!((&started["kind"], &started["files"]), (&"policy_change".into(), &digest.into()));
    assert_eq!(
        (&started["shadow"], &started["reason"]),
        (&trial.to_string().into(), &"before approval".into())
    );
}

/// What the gateway's metric says.
async fn runs(stage: &Stage) -> String {
    let text = stage.console("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("haetae_shadow_running "));
    line.unwrap_or_default().to_owned()
}

/// The report as a person sees it. Something found is no failure of the command.
async fn found(stage: &Stage) -> (Option<i32>, String) {
    let mut command = stage.world.program.command(&["policy", "shadow", "report"]);
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, .. } = running.await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}
