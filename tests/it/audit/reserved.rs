//! What serves once serves once: replicas that race for the last slice take it one after the other, what was given back
//! or swept confirms nothing, and the amounts that are confirmed are those of the recorded ALLOWs.

use std::sync::Arc;

use haetae::audit::{Keeps, RecordError, Recorded};
use haetae::reserve::{Once, Reserve, Reserved, Sought, Uses};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;
use verdict::decision::Outcome;
use verdict::question::Window;
use verdict::rule::Measure;
use verdict::volume::{Counting, Slice};

use super::lab::{Lab, draft};
use crate::support::fresh_database;

const REGIME: &str = "US.28CFR202";
const AT_S: i64 = 1_795_000_000;
const EACH: u64 = 10;
const LIMIT: u64 = 100;

fn sought(once: &[Once]) -> Sought {
    let counting = Counting {
        regime: REGIME.into(),
        window: Window::Rolling365d,
        since: AT_S - 365 * 86_400 + 1,
        measures: vec![Measure::Subjects],
    };
    Sought { entity: "us-lab".into(), countings: vec![counting], once: once.to_vec() }
}

fn uses(once: &[Once]) -> Uses {
    let slice = Slice {
        component: 0,
        regime: REGIME.into(),
        from: Some("US".into()),
        categories: vec!["pd:Genetic".into()],
        places: vec!["CN".into()],
        subjects: Some(EACH),
        sensitive: Some(EACH),
    };
    Uses { entity: "us-lab".into(), at_s: AT_S, slices: vec![slice], once: once.to_vec() }
}

/// The reservations of one more replica of the same database.
async fn replica(pool: &PgPool, tracker: &TaskTracker, stop: &CancellationToken) -> Arc<Reserve> {
    let options = (*pool.connect_options()).clone();
    let own = PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap();
    Arc::new(Reserve::start(own, tracker, stop.clone()))
}

/// As the gate does it: look, decide, take, record. `None` when the limit is reached.
async fn ask(lab: &Lab, reserve: &Reserve, once: &[Once]) -> Option<Uuid> {
    let desk = reserve.open(&sought(once)).await.unwrap();
    let before: u64 = desk.counters().iter().map(|counter| counter.amount_before).sum();
    if before + EACH > LIMIT || once.iter().any(|one| !desk.is_free(one)) {
        return None;
    }
    let reserved = desk.take(lab.audit.new_id().unwrap(), &uses(once)).await.unwrap();
    record(lab, &reserved).await.unwrap();
    Some(reserved.id())
}

async fn record(lab: &Lab, reserved: &Reserved) -> Result<(), RecordError> {
    let keeps = Keeps { reserved: Some(reserved.id()), held: None };
    match lab.audit.record(haetae::audit::Draft { keeps, ..draft(Outcome::Allow, 0) }).await? {
        Recorded::Permit(permit) => {
            assert_eq!(*permit.proof().id, reserved.id().to_string(), "the id chosen before");
            Ok(())
        }
        Recorded::Refusal(_) => panic!("an ALLOW gave no permit"),
    }
}

async fn states(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query_as("select state, count(*) from reservation group by state order by state")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Waits until nothing is reserved any more: what is dropped is released by a task.
async fn settled(pool: &PgPool) -> Vec<(String, i64)> {
    loop {
        let now = states(pool).await;
        if now.iter().all(|(state, _)| state != "reserved") {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Forty ask at once at two replicas, and the limit has room for ten.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_never_take_the_last_slice_twice() {
    let fresh = fresh_database().await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let lab = Arc::new(Lab::start(&fresh.pool, 2).await);
    let replicas =
        [replica(&fresh.pool, &tracker, &stop).await, replica(&fresh.pool, &tracker, &stop).await];
    let mut asking = JoinSet::new();
    for number in 0..40 {
        let (lab, reserve) = (Arc::clone(&lab), Arc::clone(&replicas[number % 2]));
        asking.spawn(async move { ask(&lab, &reserve, &[]).await });
    }
    let mut passed: Vec<Uuid> = asking.join_all().await.into_iter().flatten().collect();
    assert_eq!(passed.len() as u64, LIMIT / EACH);
    assert_eq!(settled(&fresh.pool).await, [("confirmed".to_owned(), 10)]);
    let confirmed: Vec<Uuid> =
        sqlx::query_scalar("select decision from reservation order by decision")
            .fetch_all(&fresh.pool)
            .await
            .unwrap();
    passed.sort_unstable();
    assert_eq!(confirmed, passed, "confirmed are the recorded ALLOWs and no others");
    stop.cancel();
    Arc::into_inner(lab).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ground_that_serves_once_serves_once() {
    let fresh = fresh_database().await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let lab = Arc::new(Lab::start(&fresh.pool, 1).await);
    let reserve = replica(&fresh.pool, &tracker, &stop).await;
    let once = [Once::Ground("us-lab.once".into())];
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let (lab, reserve, once) = (Arc::clone(&lab), Arc::clone(&reserve), once.clone());
        asking.spawn(async move { ask(&lab, &reserve, &once).await });
    }
    assert_eq!(asking.join_all().await.into_iter().flatten().count(), 1);
    stop.cancel();
    Arc::into_inner(lab).unwrap().stop().await;
}

/// Somebody else swept it meanwhile: that decision falls, and what is written beside it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_reservation_was_swept_is_not_written() {
    let fresh = fresh_database().await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let lab = Lab::start(&fresh.pool, 1).await;
    let reserve = replica(&fresh.pool, &tracker, &stop).await;
    let desk = reserve.open(&sought(&[])).await.unwrap();
    let reserved = desk.take(lab.audit.new_id().unwrap(), &uses(&[])).await.unwrap();
    sqlx::query("update reservation set state = 'swept'").execute(&fresh.pool).await.unwrap();
    let (fallen, beside) = tokio::join!(record(&lab, &reserved), lab.deny());
    assert_eq!(fallen, Err(RecordError::Unreserved));
    assert!(beside.is_ok());
    drop(reserved);
    assert_eq!(states(&fresh.pool).await, [("swept".to_owned(), 1)]);
    assert_eq!(reserve.open(&sought(&[])).await.unwrap().counters().len(), 0, "nothing is taken");
    stop.cancel();
    lab.stop().await;
}

/// A refusal after the reservation, or a caller that went away: dropping it gives it back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_needed_is_given_back() {
    let fresh = fresh_database().await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let reserve = replica(&fresh.pool, &tracker, &stop).await;
    let desk = reserve.open(&sought(&[])).await.unwrap();
    drop(desk.take(Uuid::from_u128(7), &uses(&[])).await.unwrap());
    assert_eq!(settled(&fresh.pool).await, [("released".to_owned(), 1)]);
    stop.cancel();
}
