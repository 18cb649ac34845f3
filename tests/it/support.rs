//! What the tests share: one Postgres for the whole run and a fresh, migrated database for each test that asks; and in
//! [`stage`] a whole gateway with its sites, in [`mod@pair`] two of them.

pub mod pair;
pub mod python;
pub mod served;
pub mod stage;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use haetae::postgres::{Cluster, Options, migrate};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::OnceCell;

/// A migrated database of its own.
pub struct Fresh {
    pub pool: PgPool,
    /// How to reach the same database, for a part that makes its own pool.
    pub options: PgConnectOptions,
    pub name: String,
}

/// A new database with all migrations, cloned from a template of the run's one cluster (fsync off).
pub async fn fresh_database() -> Fresh {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cluster = shared_cluster().await;
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    cluster.create_database(&name, Some(TEMPLATE)).await.unwrap();
    open(cluster, name).await
}

/// A new database with the migrations below this number.
pub async fn database_before(migration: i64) -> Fresh {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cluster = shared_cluster().await;
    let name = format!("m{}", COUNT.fetch_add(1, Ordering::Relaxed));
    cluster.create_database(&name, None).await.unwrap();
    let fresh = open(cluster, name).await;
    let all = sqlx::migrate!("./migrations");
    let before = all.iter().filter(|one| one.version < migration).cloned().collect();
    sqlx::migrate::Migrator::with_migrations(before).run(&fresh.pool).await.unwrap();
    fresh
}

/// A copy of a database of the run's cluster as it is now, as a backup would be. Whoever is connected to it is cut off.
pub async fn backup(of: &Fresh) -> Fresh {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cluster = shared_cluster().await;
    let name = format!("b{}", COUNT.fetch_add(1, Ordering::Relaxed));
    of.pool.close().await;
    cluster.create_database(&name, Some(&of.name)).await.unwrap();
    open(cluster, name).await
}

/// The same database again, after its connections were closed.
pub async fn reopen(fresh: Fresh) -> Fresh {
    open(shared_cluster().await, fresh.name).await
}

/// A cluster for this test alone, with fsync on and a migrated database `haetae`: for what must survive a crash.
pub async fn durable_cluster() -> (Cluster, Fresh) {
    let options = Options { ephemeral: true, ..Options::durable(scratch("durable")) };
    let cluster = Cluster::start(options).await.unwrap();
    let fresh = open(&cluster, "haetae".to_owned()).await;
    migrate(&fresh.pool).await.unwrap();
    (cluster, fresh)
}

/// A path of our own that does not exist yet, where the user that Postgres runs as can go. Not removed by itself.
pub fn scratch(what: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(format!("/tmp/haetae-it-{}-{what}-{number}", std::process::id()));
    assert!(!path.exists(), "{} is left from another run: remove it", path.display());
    path
}

async fn shared_cluster() -> &'static Cluster {
    // Never dropped: the cluster's watcher stops it and removes its directory when this process ends.
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let options =
                Options { fsync: false, ephemeral: true, ..Options::durable(scratch("shared")) };
            let cluster = Cluster::start(options).await.unwrap();
            cluster.create_database(TEMPLATE, None).await.unwrap();
            let template = open(&cluster, TEMPLATE.to_owned()).await;
            migrate(&template.pool).await.unwrap();
            template.pool.close().await; // nobody may be connected to a database that is copied
            cluster
        })
        .await
}

async fn open(cluster: &Cluster, name: String) -> Fresh {
    let options = cluster.connect_options().database(&name);
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options.clone()).await.unwrap();
    Fresh { pool, options, name }
}

const TEMPLATE: &str = "template_migrated";
