//! Recording: what is confirmed is in the log, proven, in order, and judged under the facts in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use haetae::audit::{Ended, How, Proof, RecordError, Recorded, Stranger, Target, verify};
use haetae::clock::Clock;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use verdict::decision::Outcome;

use super::lab::{Lab, carried, draft, eventually, leaves};
use crate::support::fresh_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_proven_and_names_nobody() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let permit = lab.allow().await;
    let allow = lab.proven(permit.proof());
    let deny = lab.proven(&lab.deny().await.unwrap());
    assert_eq!(allow["outcome"], "ALLOW");
    assert_eq!(allow["site"], "kr-seo-1");
    assert_eq!(allow["request"]["authority"], "kr-seo-1.example:8443");
    assert_eq!((&deny["reason"], &deny["rule"]), (&"DENIED_BY_RULE".into(), &"R1".into()));
    assert_eq!(deny.get("site"), None);
    let bytes = verdict::canonical(&allow).unwrap();
    assert!(bytes.len() <= 1_200, "a realistic leaf has {} bytes", bytes.len());
    assert!(!String::from_utf8(bytes).unwrap().contains("min-jun"));
    // The value behind the digest is beside the log, sealed, and its salt makes the digest again.
    let shown = lab.shown(&allow, "actor").await;
    let (digest, hidden) = &shown.values[0];
    assert_eq!(hidden.value, "min-jun.kim@kr-retailer.example");
    let made = Sha256::new().chain_update(hidden.salt).chain_update(&hidden.value).finalize();
    assert_eq!(*made, *digest);
    assert_eq!(allow["actor"], tlog::Hash::from_slice(digest).unwrap().to_string());
    assert_eq!(allow["actor"], deny["actor"]);
    drop(permit);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_leaf_is_canonical_and_follows_the_rules() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    let permit = lab.allow().await;
    let id = Arc::clone(&permit.proof().id);
    lab.audit.started(&id, "spiffe://kr-op.example/site/kr-seo-1");
    let end = |how| Ended {
        id: Arc::clone(&id),
        how,
        status: Some(200),
        bytes_out: 12_345,
        bytes_back: 678,
        duration_ms: 9,
        why: None,
        withdrawn: None,
    };
    lab.audit.ended(end(How::Forwarded));
    lab.audit.ended(end(How::Partial)); // a second end is nothing
    lab.audit.policy_changed([7; 32], None);
    lab.audit.alarm(
        "engine_disagreement",
        "casbin \"and\" the matcher differ\n".to_owned(),
        Some(id),
    );
    let pool = lab.stop().await;
    let kinds: Vec<String> =
        leaves(&pool).await.iter().map(|leaf| leaf["kind"].as_str().unwrap().to_owned()).collect();
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    let expected = [
        ("lane_open", 2),
        ("lane_close", 2),
        ("decision", 1),
        ("started", 1),
        ("ended", 1),
        ("policy_change", 1),
        ("alarm", 1),
    ];
    assert_eq!(expected.map(|(kind, _)| (kind, count(kind))), expected);
    let report = verify(&pool).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.records, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_each_recorded_once() {
    let lab = Arc::new(Lab::start(&fresh_database().await.pool, 2).await);
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        tasks.spawn(deny_often(Arc::clone(&lab), 50));
    }
    let places: BTreeSet<_> = tasks.join_all().await.concat().into_iter().collect();
    assert_eq!(places.len(), 10_000);
    let lab = Arc::into_inner(lab).unwrap();
    lab.projected().await;
    let pool = lab.stop().await;
    let report = verify(&pool).await.unwrap();
    assert_eq!(report.findings, []);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from row_decision").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 10_000);
    // Rows were made while records came: none twice.
    let alarms =
        r#"select count(*) from log_batch where position('"kind":"alarm"'::bytea in leaves) > 0"#;
    assert_eq!(sqlx::query_scalar::<_, i64>(alarms).fetch_one(&pool).await.unwrap(), 0);
}

async fn deny_often(lab: Arc<Lab>, count: usize) -> Vec<(u64, u64)> {
    let mut places = Vec::new();
    for _ in 0..count {
        places.push(place(&lab.deny().await.unwrap()));
    }
    places
}

fn place(proof: &Proof) -> (u64, u64) {
    let (leaf, _) = carried(proof);
    let leaf: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
    (leaf["lane"].as_u64().unwrap(), leaf["index"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_committed_on_replaced_facts() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    sqlx::query("update fact_head set version = 1").execute(&lab.pool).await.unwrap();
    assert_eq!(lab.deny().await.unwrap_err(), RecordError::FactsMoved { now: 1 });
    let recorded = lab.audit.record(draft(Outcome::Deny, 1)).await.unwrap();
    assert!(matches!(recorded, Recorded::Refusal(_)));
    // A change under way: the commit waits for it and then sees it.
    let mut change = lab.pool.begin().await.unwrap();
    sqlx::query("update fact_head set version = 2").execute(&mut *change).await.unwrap();
    let (refused, ()) = tokio::join!(lab.audit.record(draft(Outcome::Deny, 1)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        change.commit().await.unwrap();
    });
    assert_eq!(refused.unwrap_err(), RecordError::FactsMoved { now: 2 });
    // The lane says under which version its records stand.
    lab.audit.record(draft(Outcome::Deny, 2)).await.unwrap();
    let leaves = lab.leaves().await;
    let changes: Vec<_> = leaves.iter().filter(|leaf| leaf["kind"] == "fact_change").collect();
    let named: Vec<_> = changes.iter().map(|leaf| (&leaf["previous"], &leaf["version"])).collect();
    assert_eq!(named, [(&0.into(), &1.into()), (&1.into(), &2.into())]);
    let decisions: Vec<_> = leaves.iter().filter(|leaf| leaf["kind"] == "decision").collect();
    let versions: Vec<_> =
        decisions.iter().map(|leaf| leaf["fact_version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [0, 1, 2]);
    assert_eq!(verify(&lab.stop().await).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_outlived_its_facts_is_judged_again() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let mut late = draft(Outcome::Deny, 0);
    late.valid_until = Some(1_763_900_001);
    assert_eq!(lab.audit.record(late).await.unwrap_err(), RecordError::FactsMoved { now: 0 });
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_writer_writes_nothing_more_under_its_epoch() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let raise = "update log_head set epoch = epoch + 1 returning epoch";
    let stolen: i64 = sqlx::query_scalar(raise).fetch_one(&lab.pool).await.unwrap();
    lab.deny().await.unwrap(); // fenced, claimed again, written under a new epoch
    let epochs: Vec<i64> = sqlx::query_scalar("select epoch from log_batch order by first_index")
        .fetch_all(&lab.pool)
        .await
        .unwrap();
    assert_eq!(epochs, [1, 1, stolen + 1, stolen + 1]);
    assert_eq!(verify(&lab.stop().await).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_does_not_steal_a_held_lane() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let config = haetae::audit::Config {
        origin: super::lab::ORIGIN.to_owned(),
        lanes: 1,
        ..haetae::audit::Config::default()
    };
    let (tracker, stop) =
        (tokio_util::task::TaskTracker::new(), tokio_util::sync::CancellationToken::new());
    let second = haetae::audit::Audit::start_with_key(
        &config,
        &lab.key,
        lab.pool.clone(),
        Clock::system(),
        &tracker,
        stop.clone(),
    )
    .unwrap();
    eventually("the second process says who holds the lane", async || {
        second.health().lanes[0].cause.as_deref() == Some("another replica holds it")
    })
    .await;
    assert_eq!(second.record(draft(Outcome::Deny, 0)).await.unwrap_err(), RecordError::Unavailable);
    lab.deny().await.unwrap();
    // It takes over when the first one closes.
    let pool = lab.stop().await;
    assert!(second.ready(Duration::from_secs(10)).await);
    second.record(draft(Outcome::Deny, 0)).await.unwrap();
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_no_lane_does_not_close_what_others_left_open() {
    let pool = fresh_database().await.pool;
    let mut other = pool.acquire().await.unwrap();
    let hold = "select pg_advisory_lock(x'48540001'::integer, 0)";
    sqlx::query(hold).execute(&mut *other).await.unwrap();
    let config = haetae::audit::Config { lanes: 1, ..haetae::audit::Config::default() };
    let (tracker, stop) =
        (tokio_util::task::TaskTracker::new(), tokio_util::sync::CancellationToken::new());
    let key = haetae::audit::Key::generate().unwrap();
    let clock = Clock::system();
    let audit = haetae::audit::Audit::start_with_key(
        &config,
        &key,
        pool.clone(),
        clock,
        &tracker,
        stop.clone(),
    )
    .unwrap();
    eventually("it has no lane", async || {
        audit.health().lanes[0].cause.as_deref() == Some("another replica holds it")
    })
    .await;
    // It tries twice a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let free = "select pg_try_advisory_lock(x'48540003'::integer, 0)";
    assert!(sqlx::query_scalar::<_, bool>(free).fetch_one(&mut *other).await.unwrap());
    other.close().await.unwrap();
    assert!(audit.ready(Duration::from_secs(10)).await);
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_that_nobody_waits_for_is_ended_as_not_forwarded() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    // The commit waits for a change of facts that is then given up; meanwhile the client goes away.
    let mut change = lab.pool.begin().await.unwrap();
    sqlx::query("update fact_head set version = 1").execute(&mut *change).await.unwrap();
    let gone = lab.audit.record(draft(Outcome::Allow, 0));
    assert!(tokio::time::timeout(Duration::from_millis(300), gone).await.is_err());
    change.rollback().await.unwrap();
    eventually("the orphan is ended", async || {
        lab.leaves().await.iter().any(|leaf| leaf["kind"] == "ended")
    })
    .await;
    let leaves = lab.leaves().await;
    let of = |kind: &str| leaves.iter().find(|leaf| leaf["kind"] == kind).unwrap();
    assert_eq!(of("ended")["decision"], of("decision")["id"]);
    assert_eq!(of("ended")["how"], "not_forwarded");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_an_hour_back_at_a_restart_is_said_after_the_lane_is_opened() {
    let (pool, key) =
        (fresh_database().await.pool, Arc::new(haetae::audit::Key::generate().unwrap()));
    for now in [1_763_900_000_000_000_000, 1_763_896_400_000_000_000] {
        let lab = Lab::start_at(&pool, 1, Clock::fixed(now), Arc::clone(&key)).await;
        lab.deny().await.unwrap();
        lab.projected().await;
        lab.stop().await;
    }
    let leaves = super::lab::leaves(&pool).await;
    let second: Vec<_> = leaves.iter().filter(|leaf| leaf["epoch"] == 2).collect();
    let kinds: Vec<_> = second.iter().map(|leaf| leaf["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["lane_open", "clock", "decision", "lane_close"]);
    assert_eq!(second[1]["seen"], "2025-11-23T11:13:20.000000000Z");
    assert_eq!(verify(&pool).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_back_is_clamped_and_said() {
    let clock = Clock::fixed(1_763_900_000_000_000_000);
    let key = Arc::new(haetae::audit::Key::generate().unwrap());
    let lab = Lab::start_at(&fresh_database().await.pool, 1, clock.clone(), key).await;
    lab.deny().await.unwrap();
    clock.set(1_763_899_990_000_000_000);
    lab.deny().await.unwrap();
    lab.deny().await.unwrap();
    let leaves = lab.leaves().await;
    let clocks: Vec<_> = leaves.iter().filter(|leaf| leaf["kind"] == "clock").collect();
    assert_eq!(clocks.len(), 1);
    assert_eq!(clocks[0]["seen"], "2025-11-23T12:13:10.000000000Z");
    assert_eq!(clocks[0]["behind_ns"], 10_000_000_001_u64);
    let last = leaves.last().unwrap();
    assert_eq!(last["at"], "2025-11-23T12:13:20.000000004Z");
    assert_eq!(verify(&lab.stop().await).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_counted_by_the_minute() {
    let clock = Clock::fixed(1_763_900_000_000_000_000);
    let key = Arc::new(haetae::audit::Key::generate().unwrap());
    let lab = Lab::start_at(&fresh_database().await.pool, 1, clock.clone(), key).await;
    let stranger =
        |reason| Stranger { issuer: None, reason, network: "198.51.100.0/24".to_owned() };
    for _ in 0..3 {
        lab.audit.stranger(stranger("token_expired"));
    }
    lab.audit.stranger(stranger("framing"));
    clock.set(1_763_900_060_000_000_000);
    eventually("the minute is written", async || {
        lab.leaves().await.iter().any(|leaf| leaf["kind"] == "unauthenticated")
    })
    .await;
    let leaves = lab.leaves().await;
    let minute = leaves.iter().find(|leaf| leaf["kind"] == "unauthenticated").unwrap();
    let rows = serde_json::json!([
        {"count": 1, "network": "198.51.100.0/24", "reason": "framing"},
        {"count": 3, "network": "198.51.100.0/24", "reason": "token_expired"},
    ]);
    assert_eq!(minute["rows"], rows);
    assert_eq!(minute["minute"], 1_763_900_040 / 60 * 60);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_cannot_be_a_leaf_is_refused() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let mut large = draft(Outcome::Deny, 0);
    large.service = "x".repeat(3_000).into();
    assert_eq!(lab.audit.record(large).await.unwrap_err(), RecordError::TooLarge);
    let mut crooked = draft(Outcome::Deny, 0);
    crooked.body_digest = "ab".to_owned();
    assert!(matches!(lab.audit.record(crooked).await.unwrap_err(), RecordError::Malformed(_)));
    let mut with_site = draft(Outcome::Deny, 0);
    with_site.site = Some(Target { path: "/", ..draft(Outcome::Allow, 0).site.unwrap() });
    assert!(matches!(lab.audit.record(with_site).await.unwrap_err(), RecordError::Malformed(_)));
    let mut many = draft(Outcome::Deny, 0);
    many.datasets = (0..100).map(|n| format!("kr-med/set-{n:04}").into()).collect();
    let Recorded::Refusal(proof) = lab.audit.record(many).await.unwrap() else {
        panic!("a permit")
    };
    let leaf = lab.proven(&proof);
    assert_eq!(leaf["datasets"].as_array().unwrap().len(), 20);
    assert_eq!(leaf["datasets_more"], 80);
    lab.stop().await;
}
