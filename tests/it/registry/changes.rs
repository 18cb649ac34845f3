//! Changes are whole, versioned and kept; a directory applied twice is applied once; nobody deletes.

use std::collections::BTreeMap;
use std::path::Path;

use haetae::registry::orders::store::add;
use haetae::registry::store::{self, Applied};
use haetae::registry::{RegistryError, Sort, tree};
use serde_json::Value as Json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};

use super::{BY_LEE, example, example_files, example_with, vouch};
use crate::support::fresh_database;

#[tokio::test]
async fn a_tree_applied_twice_changes_nothing_the_second_time() {
    let pool = fresh_database().await.pool;
    assert_eq!(store::head(&pool).await.unwrap(), 0);
    let first = store::apply(&pool, &example(), "kim").await.unwrap();
    assert_eq!(first.version, 1);
    assert_eq!((first.added.len(), first.changed.len(), first.removed.len()), (18, 0, 0));
    let second = store::apply(&pool, &example(), "kim").await.unwrap();
    assert_eq!(second, Applied { version: 1, ..Applied::default() });
    assert!(second.is_nothing());
    // what is read back is the tree
    let read: BTreeMap<(Sort, String), Json> = store::show(&pool, None)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| ((entry.sort, entry.id), entry.document))
        .collect();
    let tree = example();
    let written: BTreeMap<(Sort, String), Json> = tree
        .documents()
        .map(|(sort, id, document)| ((sort, id.to_owned()), document.clone()))
        .collect();
    assert_eq!(read, written);
    assert_eq!(store::snapshot(&pool, 0).await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_change_is_told_and_every_version_is_kept() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    let mut files = example_with("sites/us-va-1.toml", "backups = []", "backups = [\"US\"]");
    files.remove("lists/in-2026.toml");
    let branch = files.remove("organisations/kr-hospital.toml").unwrap();
    let catalogue = files.get_mut("datasets/catalogue.csv").unwrap();
    *catalogue = catalogue.replace("kr-hospital", "kr-clinic");
    files.insert("organisations/kr-clinic.toml".into(), branch.replace("kr-hospital", "kr-clinic"));
    let changed = store::apply(&pool, &tree::parse(&files).unwrap(), "lee").await.unwrap();
    assert_eq!(
        changed,
        Applied {
            version: 2,
            added: vec![(Sort::Organisation, "kr-clinic".into())],
            changed: vec![
                (Sort::Site, "us-va-1".into()),
                (Sort::Dataset, "kr-med/ct-reports@2026".into())
            ],
            removed: vec![
                (Sort::Organisation, "kr-hospital".into()),
                (Sort::List, "in-2026".into())
            ],
        }
    );
    let history = store::history(&pool, "us-va-1").await.unwrap();
    let versions: Vec<_> = history
        .iter()
        .map(|one| (one.from, one.until, one.applied_by.as_str(), &one.document["backups"]))
        .collect();
    let (none, us) = (serde_json::json!([]), serde_json::json!(["US"]));
    assert_eq!(versions, [(1, Some(2), "kim", &none), (2, None, "lee", &us)]);
    let gone = store::history(&pool, "in-2026").await.unwrap();
    assert_eq!(gone.iter().map(|one| (one.from, one.until)).collect::<Vec<_>>(), [(1, Some(2))]);
    // back again: a third version, with the digest of the first
    store::apply(&pool, &example(), "kim").await.unwrap();
    let digests: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT digest FROM registry_version ORDER BY version")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(digests.len(), 3);
    assert_eq!(digests[0], digests[2]);
    assert_ne!(digests[0], digests[1]);
}

#[tokio::test]
async fn a_ground_is_added_and_suspended_and_an_older_directory_undoes_neither() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    let ground = one(Sort::Ground, "ground-example.toml");
    let added = store::put_ground(&pool, &ground, "lee").await.unwrap();
    assert_eq!(added.added, [(Sort::Ground, "kr-retailer.va-2026".to_owned())]);
    assert!(store::put_ground(&pool, &ground, "lee").await.unwrap().is_nothing());
    // the directory does not know of it, and leaves it alone
    assert!(store::apply(&pool, &example(), "kim").await.unwrap().is_nothing());

    let suspended = store::suspend_ground(&pool, "kr-retailer.fra-2026", "lee").await.unwrap();
    assert_eq!(suspended.version, 3);
    let error = store::apply(&pool, &example(), "kim").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "ground `kr-retailer.fra-2026` was changed by `lee` in version 3 and the directory says otherwise: \
         bring the directory up to date first (`haetae registry history kr-retailer.fra-2026`)"
    );
    assert_eq!(store::head(&pool).await.unwrap(), 3);

    // brought up to date, the directory has it again, and may lift it
    let mut files = example_files();
    let grounds = files.get_mut("grounds/grounds.csv").unwrap();
    *grounds = grounds
        .replace("details.disclosure_ref\n", "details.disclosure_ref,suspended\n")
        .replace("#transfer\n", "#transfer,true\n")
        .replace("2025-12-31,\n", "2025-12-31,,\n");
    let taken = store::apply(&pool, &tree::parse(&files).unwrap(), "kim").await.unwrap();
    assert_eq!(taken.changed, [(Sort::Ground, "kr-retailer.fra-2026".to_owned())]);
    let lifted = store::apply(&pool, &example(), "kim").await.unwrap();
    assert_eq!((lifted.version, lifted.changed), (5, taken.changed));
    let history = store::history(&pool, "kr-retailer.fra-2026").await.unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|one| (one.from, one.how.as_str(), one.document.get("suspended").is_some()))
        .collect();
    assert_eq!(
        told,
        [(1, "apply", false), (3, "suspend", true), (4, "apply", true), (5, "apply", false)]
    );
}

#[tokio::test]
async fn an_order_reaches_the_facts_of_those_it_names() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    add(&pool, &one(Sort::Order, "order-example.toml"), BY_LEE).await.unwrap();
    let orders = store::show(&pool, Some(Sort::Order)).await.unwrap();
    assert_eq!(orders.len(), 1);
    assert_eq!(
        orders[0].document["entered_by"],
        serde_json::json!(["registrar one", "registrar two"])
    );
}

#[tokio::test]
async fn a_single_change_that_names_nobody_is_refused_and_leaves_no_version() {
    let pool = fresh_database().await.pool;
    let error = store::put_ground(&pool, &one(Sort::Ground, "ground-example.toml"), "lee").await;
    assert_eq!(error.unwrap_err().to_string(), "organisation `kr-retailer` is not registered");
    let error = store::suspend_ground(&pool, "no-such", "lee").await.unwrap_err();
    assert_eq!(error.to_string(), "ground `no-such` is not registered");
    assert_eq!(store::head(&pool).await.unwrap(), 0);
    let versions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM registry_version").fetch_one(&pool).await.unwrap();
    assert_eq!(versions, 0);
}

#[tokio::test]
async fn writers_come_one_after_the_other() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    let ground = one(Sort::Ground, "ground-example.toml");
    let order = one(Sort::Order, "order-example.toml");
    let (one, two, three) = tokio::join!(
        store::put_ground(&pool, &ground, "lee"),
        add(&pool, &order, BY_LEE),
        store::suspend_ground(&pool, "kr-retailer.va-2025", "lee"),
    );
    let mut versions = [one.unwrap().version, two.unwrap().0.version, three.unwrap().version];
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4]);
    assert_eq!(store::head(&pool).await.unwrap(), 4);
}

#[tokio::test]
async fn the_gateway_reads_and_the_registrar_adds_but_nobody_deletes() {
    let fresh = fresh_database().await;
    let registrar = pool_as(&fresh, "SET ROLE haetae_registrar").await;
    store::apply(&registrar, &example(), "kim").await.unwrap();
    store::suspend_ground(&registrar, "kr-retailer.va-2025", "kim").await.unwrap();
    let gateway = pool_as(&fresh, "SET ROLE haetae_gateway").await;
    assert_eq!(store::snapshot(&gateway, 0).await.unwrap().version(), 2);
    let refused = store::suspend_ground(&gateway, "kr-retailer.fra-2026", "kim").await.unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    for statement in [
        "DELETE FROM registry_entry",
        "TRUNCATE registry_entry",
        "UPDATE registry_entry SET document = '{}'",
        "UPDATE registry_version SET applied_by = 'nobody'",
        "DELETE FROM registry_version",
    ] {
        let refused = registrar.execute(statement).await.unwrap_err();
        assert!(is_forbidden(&refused.into()), "{statement}");
    }
}

#[tokio::test]
async fn a_document_that_is_not_understood_is_named() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    sqlx::query(
        "UPDATE registry_entry SET document = document || '{\"moat\": true}' WHERE id = 'kr-seo-1'",
    )
    .execute(&pool)
    .await
    .unwrap();
    vouch(&pool).await;
    let error = store::snapshot(&pool, 0).await.unwrap_err().to_string();
    assert!(
        error
            .starts_with("site `kr-seo-1` in the database is not understood: unknown field `moat`"),
        "{error}"
    );
}

fn one(sort: Sort, file: &str) -> tree::Entry {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    tree::read_one(sort, &deploy.join(file)).unwrap()
}

async fn pool_as(fresh: &crate::support::Fresh, role: &'static str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(role).await.map(|_| ()) })
        })
        .connect_with(fresh.options.clone())
        .await
        .unwrap()
}

fn is_forbidden(error: &RegistryError) -> bool {
    let RegistryError::Database(error) = error else { return false };
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("42501")
}
