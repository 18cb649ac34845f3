//! Postgres away, frozen or killed, and the gateway gone: what was confirmed is there, nothing hangs, and service comes
//! back by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use haetae::audit::{Config, RecordError, verify};
use haetae::postgres::Stop;

use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::lab::{Lab, eventually};
use crate::support::{Fresh, durable_cluster, fresh_database};

/// A refusal that comes in time and says that nothing was recorded.
async fn unavailable(lab: &Lab) {
    let began = Instant::now();
    let refused = lab.deny().await.unwrap_err();
    assert!(matches!(refused, RecordError::Unavailable | RecordError::Timeout), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_records_survive_a_kill_of_postgres_and_service_returns() {
    let (mut cluster, fresh) = durable_cluster().await;
    let lab = Lab::start_with(&fresh.pool, Config::default()).await;
    eventually("it is ready", async || lab.audit.health().ready).await;
    let mut confirmed = Vec::new();
    for round in 0..3 {
        confirmed.push(lab.deny().await.unwrap().id);
        match round {
            0 => cluster.kill9().unwrap(),
            1 => cluster.stop(Stop::Fast).await.unwrap(),
            _ => cluster.freeze().unwrap(),
        }
        // A backend may commit for a moment until it notices that its server was killed: what it confirms counts.
        let noticed = Instant::now() + Duration::from_secs(5);
        while let Ok(proof) = lab.deny().await {
            assert!(round == 0 && Instant::now() < noticed, "confirmed without a server");
            confirmed.push(proof.id);
        }
        unavailable(&lab).await;
        unavailable(&lab).await;
        if round == 2 {
            cluster.thaw();
        } else {
            cluster.restart().await.unwrap();
        }
        assert!(lab.audit.ready(Duration::from_secs(10)).await, "{:?}", lab.audit.health());
        eventually("it records again", async || lab.deny().await.is_ok()).await;
    }
    lab.projected().await;
    let pool = lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    let kept: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from row_decision").fetch_all(&pool).await.unwrap();
    for id in confirmed {
        assert!(kept.contains(&id.parse().unwrap()), "{id} was confirmed and is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_at_commit_is_looked_up() {
    let (cluster, fresh) = durable_cluster().await;
    let lab = Arc::new(Lab::start(&fresh.pool, 1).await);
    // Sessions are cut at random instants under load: whatever was confirmed is there once, whatever is there is whole.
    let mut writers = JoinSet::new();
    for _ in 0..16 {
        writers.spawn(write(Arc::clone(&lab), 100));
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'haetae-lane'";
        sqlx::query(cut).execute(&fresh.pool).await.unwrap();
    }
    let confirmed = writers.join_all().await.concat();
    let lab = Arc::into_inner(lab).unwrap();
    lab.projected().await;
    let pool = lab.stop().await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    let kept: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from row_decision").fetch_all(&pool).await.unwrap();
    let kept: std::collections::HashSet<_> = kept.into_iter().collect();
    assert!(confirmed.iter().all(|id| kept.contains(&id.parse().unwrap())));
    assert!(confirmed.len() >= 100, "only {} were confirmed", confirmed.len());
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_looked_up_also_when_another_process_takes_the_lane() {
    let lab = Arc::new(Lab::start(&fresh_database().await.pool, 1).await);
    // A commit that waits for a change of facts loses its connection.
    let mut change = lab.pool.begin().await.unwrap();
    sqlx::query("update fact_head set version = 1").execute(&mut *change).await.unwrap();
    let asked = TaskTracker::new().spawn({
        let lab = Arc::clone(&lab);
        async move { lab.deny().await }
    });
    eventually("the commit waits", async || {
        let waits = "select exists (select from pg_stat_activity where datname = current_database()
                     and application_name = 'haetae-lane' and wait_event_type = 'Lock')";
        sqlx::query_scalar(waits).fetch_one(&lab.pool).await.unwrap()
    })
    .await;
    let mut other = lab.pool.acquire().await.unwrap();
    for step in [
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'haetae-lane'",
        "select pg_advisory_lock(x'48540001'::integer, 0)",
        "update log_head set epoch = epoch + 1",
    ] {
        sqlx::query(step).execute(&mut *other).await.unwrap();
    }
    eventually("what was not written waits for another lane", async || {
        lab.audit.health().waiting_decisions == 1
    })
    .await;
    assert_eq!(lab.audit.health().lanes[0].cause.as_deref(), Some("another replica holds it"));
    change.rollback().await.unwrap();
    other.close().await.unwrap();
    asked.await.unwrap().unwrap();
    let lab = Arc::into_inner(lab).unwrap();
    assert_eq!(verify(&lab.stop().await).await.unwrap().findings, []);
}

/// Ids of what was confirmed.
async fn write(lab: Arc<Lab>, count: usize) -> Vec<Arc<str>> {
    let mut confirmed = Vec::new();
    for _ in 0..count {
        confirmed.extend(lab.deny().await.ok().map(|proof| proof.id));
    }
    confirmed
}

#[test]
fn allows_of_a_process_that_is_gone_are_closed() {
    let (fresh, key, id) = orphaned();
    let ours = tokio::runtime::Runtime::new().unwrap();
    ours.block_on(async {
        let lab = Lab::start_at(&fresh.pool, 1, haetae::clock::Clock::system(), key).await;
        let open = lab.allow().await; // of a living process: stays open
        eventually("the orphan is closed", async || {
            let closed = "select decision::text || ' ' || how from row_ended";
            let closed: Vec<String> =
                sqlx::query_scalar(closed).fetch_all(&fresh.pool).await.unwrap();
            closed == [format!("{id} unknown_crash")]
        })
        .await;
        let still: Vec<bool> = sqlx::query_scalar("select settled from log_epoch order by epoch")
            .fetch_all(&fresh.pool)
            .await
            .unwrap();
        assert_eq!(still.last(), Some(&false));
        drop(open);
        assert_eq!(verify(&lab.stop().await).await.unwrap().findings, []);
    });
}

/// The database refuses the rows of one lane: those of the other are made, and the log says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_without_rows_keeps_no_other_waiting() {
    let fresh = fresh_database().await;
    let refuse = "alter table row_decision add constraint refused check (lane <> 1)";
    sqlx::query(refuse).execute(&fresh.pool).await.unwrap();
    let lab = Arc::new(Lab::start(&fresh.pool, 2).await);
    // Which lane takes what comes is for chance.
    eventually("both lanes have some", async || {
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            tasks.spawn(write(Arc::clone(&lab), 20));
        }
        assert_eq!(tasks.join_all().await.concat().len(), 400);
        let leaves = lab.leaves().await;
        [0, 1].iter().all(|lane| decisions(&leaves, *lane) > 0)
    })
    .await;
    let lab = Arc::into_inner(lab).unwrap();
    let there = decisions(&lab.leaves().await, 0);
    let rows = "select count(*) from row_decision";
    eventually("the rows of the one are there", async || {
        let rows: i64 = sqlx::query_scalar(rows).fetch_one(&fresh.pool).await.unwrap();
        usize::try_from(rows).unwrap() == there
    })
    .await;
    eventually("the log says it of the other", async || {
        let is_it = |leaf: &serde_json::Value| {
            let about = leaf["about"].as_str().unwrap_or_default();
            leaf["what"] == "not_projected" && about.contains("lane 1") && about.contains("23514")
        };
        lab.leaves().await.iter().any(is_it)
    })
    .await;
    let allow = "alter table row_decision drop constraint refused";
    sqlx::query(allow).execute(&fresh.pool).await.unwrap();
    lab.projected().await;
    assert_eq!(verify(&lab.stop().await).await.unwrap().findings, []);
}

fn decisions(leaves: &[serde_json::Value], lane: u64) -> usize {
    leaves.iter().filter(|leaf| leaf["kind"] == "decision" && leaf["lane"] == lane).count()
}

/// Another process begins to close while ours has an end on its way: ours is not written, that of who closes now is.
#[test]
fn an_end_is_written_by_who_closes_then_or_not_at_all() {
    let (fresh, key, id) = orphaned();
    let ours = tokio::runtime::Runtime::new().unwrap();
    let pool = &fresh.pool;
    ours.block_on(async {
        let lab = Lab::start_at(pool, 1, haetae::clock::Clock::system(), key).await;
        let mut holds = pool.begin().await.unwrap();
        let hold = "select version from fact_head where id = 1 for update";
        sqlx::query(hold).execute(&mut *holds).await.unwrap();
        let waits = "select exists (select from pg_stat_activity where datname = current_database()
                     and application_name = 'haetae-lane' and wait_event_type = 'Lock')";
        eventually("the orphan's end is on its way", async || {
            sqlx::query_scalar::<_, bool>(waits).fetch_one(pool).await.unwrap()
        })
        .await;
        sqlx::query("update log_closer set term = 4711").execute(pool).await.unwrap();
        holds.commit().await.unwrap();
        // Ends ride with the next decision, or go alone soon afterwards.
        for _ in 0..20 {
            lab.deny().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ends(&lab).await, Vec::<String>::new());

        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                    where datname = current_database() and application_name = 'haetae-projection'";
        let killed: i64 = sqlx::query_scalar(kill).fetch_one(pool).await.unwrap();
        assert_eq!(killed, 1);
        eventually("the orphan is closed", async || ends(&lab).await == [id.clone()]).await;
        lab.stop().await;
    });
}

/// Until it is marked as gone a process may have written ends itself: those are projected before its ALLOWs are looked through.
#[test]
fn who_is_marked_as_gone_has_what_it_wrote_projected_first() {
    let (fresh, key, id) = orphaned();
    let ours = tokio::runtime::Runtime::new().unwrap();
    ours.block_on(async {
        let pool = &sqlx::PgPool::connect_with(fresh.options.clone()).await.unwrap();
        // With the mark there is something to be projected, which cannot be.
        let refuse = "create function behind() returns trigger language plpgsql security definer as $$ begin
                          update projection_cursor set next_index = 0;
                          alter table row_decision add constraint refused check (false) not valid;
                          return null;
                      end $$;
                      create trigger behind after update of abandoned on log_epoch
                      for each row when (new.abandoned and not old.abandoned) execute function behind()";
        sqlx::raw_sql(refuse).execute(pool).await.unwrap();
        let lab = Lab::start_at(pool, 1, haetae::clock::Clock::system(), key).await;
        eventually("what is there cannot be projected", async || {
            lab.leaves().await.iter().any(|leaf| leaf["what"] == "not_projected")
        })
        .await;
        lab.deny().await.unwrap();
        assert_eq!(ends(&lab).await, Vec::<String>::new());
        let allow = "alter table row_decision drop constraint refused";
        sqlx::query(allow).execute(pool).await.unwrap();
        eventually("the orphan is closed", async || ends(&lab).await == [id.clone()]).await;
        lab.stop().await;
    });
}

/// An ALLOW of a process that died: its tasks stop where they are and its connections break.
fn orphaned() -> (Fresh, Arc<haetae::audit::Key>, String) {
    let ours = tokio::runtime::Runtime::new().unwrap();
    let gone = tokio::runtime::Runtime::new().unwrap();
    let fresh = ours.block_on(fresh_database());
    let key = Arc::new(haetae::audit::Key::generate().unwrap());
    let options = fresh.options.clone();
    let id = gone.block_on(async {
        let pool = sqlx::PgPool::connect_with(options).await.unwrap();
        let clock = haetae::clock::Clock::system();
        let lab = Lab::start_at(&pool, 1, clock, Arc::clone(&key)).await;
        let id = lab.allow().await.proof().id.to_string();
        std::mem::forget(lab);
        id
    });
    gone.shutdown_background();
    (fresh, key, id)
}

/// Of which decisions the log has an end.
async fn ends(lab: &Lab) -> Vec<String> {
    let ended = |leaf: &serde_json::Value| {
        (leaf["kind"] == "ended").then(|| leaf["decision"].as_str().unwrap().to_owned())
    };
    lab.leaves().await.iter().filter_map(ended).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_fsync_is_not_ready_and_says_so() {
    // The tests' shared cluster runs with both off.
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let expected = [
        "the database runs with `fsync = off`: what it confirms can be lost; set it to on",
        "the database runs with `full_page_writes = off`: a torn page can destroy records; set it to on",
    ];
    eventually("the causes are named", async || lab.audit.health().causes == expected).await;
    assert!(!lab.audit.health().ready);
    lab.stop().await;
}
