//! Entries that were altered in the database by hand: nobody judges on them, nobody changes anything on top of them, and it is said
//! what to do. What was judged on before stays.

use haetae::clock::Clock;
use haetae::registry::orders::OrderError;
use haetae::registry::orders::store::add;
use haetae::registry::store::{self, Applied};
use haetae::registry::tree::{self, Entry};
use haetae::registry::{Health, Registry, RegistryError, Sort};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watching::until;
use super::{BY_LEE, example, example_files};
use crate::support::{Fresh, fresh_database};

#[tokio::test]
async fn a_gateway_that_serves_keeps_what_it_had() {
    let fresh = registered().await;
    let registry = follow(&fresh).await;
    let mut altered = registry.altered();
    run(&fresh.pool, &[PLANT, RAISE]).await;
    until(|| registry.health().altered).await;
    let Health { version, without_facts, .. } = registry.health();
    assert_eq!((version, without_facts), (1, false));
    assert!(!registry.health().ready(), "at once, not when it is old");
    let cause = registry.health().cause();
    assert!(cause.contains("version 1 left") && cause.contains("haetae registry apply"), "{cause}");
    assert!(cause.contains("; facts are those of version 1, seen "), "{cause}");
    assert!(altered.borrow_and_update().as_ref().is_some_and(|about| cause.starts_with(&**about)));
    let name = registry.current().organisation("kr-retailer").unwrap().name.clone();
    assert_eq!(name.as_deref(), Some("Hanbit Retail"));
    run(&fresh.pool, &[PUT_BACK]).await;
    until(|| registry.health().ready()).await;
    assert_eq!((registry.current().version(), altered.borrow_and_update().clone()), (2, None));
}

#[tokio::test]
async fn one_that_starts_has_no_facts_until_they_are_put_back() {
    let fresh = registered().await;
    run(&fresh.pool, &[PLANT]).await;
    let registry = follow(&fresh).await;
    let current = registry.current();
    assert_eq!((current.version(), current.is_without_facts()), (1, true));
    assert_eq!((current.sites().count(), current.organisations().count()), (0, 0));
    let health = registry.health();
    assert!(!health.ready() && health.altered && health.without_facts, "{health:?}");
    assert!(registry.health().cause().ends_with("; everything is refused until then"));
    // What it refuses is recorded under the version that is in force.
    run(&fresh.pool, &[RAISE]).await;
    until(|| registry.current().version() == 2).await;
    assert!(registry.current().is_without_facts() && registry.health().altered);
    // The version does not move when they are put back.
    run(&fresh.pool, &[PUT_BACK]).await;
    until(|| registry.health().ready()).await;
    assert_eq!(registry.current().sites().count(), 3);
}

/// Each of these changes what the digest is over.
#[tokio::test]
async fn whatever_is_altered_is_seen() {
    for statement in [
        PLANT,
        "update registry_entry set version_until = 1, version_from = 0 where sort = 'site' and id = 'us-va-1'",
        "update registry_entry set id = 'kr-seo-2' where sort = 'site' and id = 'kr-seo-1'",
        "insert into registry_entry (sort, id, version_from, how, document) values ('list', 'x', 1, 'apply', '{}')",
        "update registry_version set digest = sha256('')",
        "delete from registry_entry",
    ] {
        let fresh = registered().await;
        store::check(&fresh.pool).await.unwrap();
        sqlx::query(ZERO).execute(&fresh.pool).await.unwrap();
        run(&fresh.pool, &[statement]).await;
        let seen = store::snapshot(&fresh.pool, 0).await.unwrap_err();
        assert!(matches!(seen, RegistryError::Altered { version: 1 }), "{statement}: {seen}");
        assert!(store::check(&fresh.pool).await.is_err(), "{statement}");
    }
    let empty = fresh_database().await.pool;
    store::check(&empty).await.unwrap();
    run(&empty, &[RAISE]).await;
    store::check(&empty).await.unwrap();
}

#[tokio::test]
async fn nothing_is_changed_on_top_of_it() {
    let fresh = registered().await;
    run(&fresh.pool, &[PLANT]).await;
    let pool = &fresh.pool;
    let (ground, order) = (one(Sort::Ground, "ground"), one(Sort::Order, "order"));
    let refused = [
        store::put_ground(pool, &ground, "lee").await,
        store::suspend_ground(pool, "kr-retailer.fra-2026", "lee").await,
        add(pool, &order, BY_LEE).await.map(|(applied, _)| applied).map_err(|cause| match cause {
            OrderError::Registry(cause) => cause,
            other => panic!("{other}"),
        }),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(RegistryError::Altered { version: 1 })), "{refused:?}");
    }
    assert_eq!(store::head(pool).await.unwrap(), 1);
    // A directory says what each entry is, so it takes the place of what nobody knows.
    let applied = store::apply(pool, &example(), "kim").await.unwrap();
    assert_eq!(applied.changed, [(Sort::Organisation, "kr-retailer".to_owned())]);
    store::check(pool).await.unwrap();
}

/// What was entered by itself is in no directory, and might be what was altered.
#[tokio::test]
async fn a_directory_vouches_for_nothing_but_its_own() {
    let fresh = registered().await;
    let pool = &fresh.pool;
    store::put_ground(pool, &one(Sort::Ground, "ground"), "lee").await.unwrap();
    let file = "grounds/added.toml";
    let mut files = example_files();
    files.insert(file.to_owned(), text("ground"));
    let whole = tree::parse(&files).unwrap();
    run(pool, &["update registry_version set digest = sha256('') where version = 2"]).await;
    let refused = store::apply(pool, &example(), "kim").await;
    assert!(matches!(refused, Err(RegistryError::Altered { version: 2 })), "{refused:?}");
    store::apply(pool, &whole, "kim").await.unwrap();
    store::check(pool).await.unwrap();

    // Nothing but the digest is wrong: it is written anew, with a version.
    run(pool, &["update registry_version set digest = sha256('') where version = 3"]).await;
    let applied = store::apply(pool, &whole, "kim").await.unwrap();
    assert_eq!(applied, Applied { version: 4, ..Applied::default() });
    store::check(pool).await.unwrap();
    assert_eq!(store::apply(pool, &whole, "kim").await.unwrap().version, 4, "once is enough");
}

async fn registered() -> Fresh {
    let fresh = fresh_database().await;
    store::apply(&fresh.pool, &example(), "kim").await.unwrap();
    fresh
}

async fn follow(fresh: &Fresh) -> Registry {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    Registry::start(fresh.pool.clone(), Clock::system(), &tracker, stop).await.unwrap()
}

/// As superuser: statements that all change something.
async fn run(pool: &PgPool, statements: &[&'static str]) {
    for statement in statements {
        let done = sqlx::query(*statement).execute(pool).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }
}

fn text(example: &str) -> String {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    std::fs::read_to_string(deploy.join(format!("{example}-example.toml"))).unwrap()
}

fn one(sort: Sort, example: &str) -> Entry {
    tree::parse_one(sort, "one.toml", &text(example)).unwrap()
}

const PLANT: &str =
    "update registry_entry set document = jsonb_set(document, '{name}', '\"planted\"')
                     where sort = 'organisation' and id = 'kr-retailer'";
const PUT_BACK: &str =
    "update registry_entry set document = jsonb_set(document, '{name}', '\"Hanbit Retail\"')
                        where sort = 'organisation' and id = 'kr-retailer'";
const RAISE: &str = "update fact_head set version = version + 1";
/// A version that an end may name.
const ZERO: &str = "insert into registry_version (version, applied_by, how, digest) values (0, 'kim', 'apply', sha256(''))";
