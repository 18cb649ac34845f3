//! Whoever waits to change the registry takes few of the connections that everybody shares.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use haetae::access::{AccessError, By, Desk, Wish};
use haetae::policy::Bundle;
use haetae::registry::{RegistryError, Sort, store};
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::example;
use crate::support::fresh_database;

/// 20 November 2026, 00:00 UTC.
const AT: i64 = 1_795_132_800;

#[tokio::test]
async fn who_waits_for_the_registrys_lock_leaves_connections_to_others() {
    let fresh = fresh_database().await;
    store::apply(&fresh.pool, &example(), "kim").await.unwrap();
    let options = PgPoolOptions::new().max_connections(4);
    let pool = options.connect_with(fresh.options.clone()).await.unwrap();
    let desk = Arc::new(Desk::new(pool.clone()));
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = Arc::new(Bundle::read(&policies, AT).await.unwrap());
    let held = store::begin(&fresh.pool).await.unwrap();
    let mut wishing = JoinSet::new();
    for number in 0..8 {
        let (desk, bundle) = (Arc::clone(&desk), Arc::clone(&bundle));
        wishing.spawn(async move {
            let wish =
                Wish::Revoke { sort: Sort::RoleGrant, id: format!("kr-retailer/none-{number}") };
            desk.change(desk.bench(&bundle, AT), wish, By::Operator, "kim", false).await
        });
    }
    sleep(Duration::from_millis(500)).await;
    let asked = timeout(Duration::from_secs(1), store::head(&pool)).await;
    assert!(asked.is_ok(), "all connections wait for the lock");
    // Those without a turn give up in time, and were told so; the others find that there is no such entry.
    sleep(Duration::from_secs(2)).await;
    drop(held);
    let ends = wishing.join_all().await;
    let busy = ends.iter().filter(|end| matches!(end, Err(AccessError::Busy))).count();
    let nothing = |end: &&Result<_, _>| {
        matches!(end, Err(AccessError::Registry(RegistryError::NotFound { .. })))
    };
    assert_eq!((busy, ends.iter().filter(nothing).count()), (6, 2), "{ends:?}");
}
