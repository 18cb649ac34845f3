//! Rows that are gone lie in the rewritten files still while something may see them: then nothing is said to be done, and what it
//! is that sees them is named.

use haetae::audit::{Step, vacuum};
use haetae::postgres::{Cluster, Options, Stop, migrate};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::audit::erased::files_with;
use crate::audit::psql::Psql;
use crate::support::scratch;

/// Steps that were not done, by their statements.
fn faults(steps: &[Step]) -> Vec<&str> {
    steps.iter().filter(|step| step.fault.is_some()).map(|step| &*step.statement).collect()
}

/// A sealed value, as bytes that are nowhere else.
async fn kept(pool: &PgPool) -> Vec<u8> {
    let insert = "insert into audit_private (digest, kind, org, lane, index, key, sealed)
                  select sha256(uuid_send($1)), 'actor', 'kr-retailer', 0, 1, $1, sha512(uuid_send($1)) returning sealed";
    sqlx::query_scalar(insert).bind(Uuid::now_v7()).fetch_one(pool).await.unwrap()
}

/// Statements of a session that stays open.
async fn opened(pool: &PgPool, statements: &[&str]) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    let mut session = pool.acquire().await.unwrap();
    for statement in statements {
        let statement = AssertSqlSafe((*statement).to_owned());
        sqlx::raw_sql(statement).execute(&mut *session).await.unwrap();
    }
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_keeps_erased_rows_is_named_and_nothing_is_said_to_be_done() {
    let dir = scratch("vacuumed");
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = vec![setting("wal_recycle", "off"), setting("max_prepared_transactions", "2")];
    let options = Options { ephemeral: true, settings, ..Options::durable(&dir) };
    let cluster = Cluster::start(options).await.unwrap();
    cluster.create_database("other", None).await.unwrap();
    let open = async |name: &str| {
        let options = cluster.connect_options().database(name);
        PgPoolOptions::new().connect_with(options).await.unwrap()
    };
    let (pool, other) = (open("haetae").await, open("other").await);
    migrate(&pool).await.unwrap();
    let number = "begin; select pg_current_xact_id()";
    let prepared = [number, "prepare transaction 'left behind'"];
    let snapshot = "begin isolation level repeatable read; select count(*) from registry_entry";
    // The table itself is not to be had: it is not waited for, with the lanes waiting behind, until that reader goes.
    let reader = "begin; select count(*) from audit_private";
    for (database, statements, who, end) in [
        (&pool, &[number][..], "the session ", "rollback"),
        (&pool, &[snapshot], "the session ", "rollback"),
        (&pool, &[reader, "declare c cursor for select 1"], "the session ", "rollback"),
        // The rewriting itself sees no further than the oldest transaction of the cluster lets it.
        (&other, &[number], "the session ", "rollback"),
        (
            &other,
            &prepared,
            "the prepared transaction left behind",
            "rollback prepared 'left behind'",
        ),
    ] {
        let sealed = kept(&pool).await;
        let mut session = opened(database, statements).await;
        sqlx::query("delete from audit_private").execute(&pool).await.unwrap();
        let (steps, seers) = vacuum(&pool).await.unwrap();
        let what = format!("{statements:?}: {seers:?} {steps:?}");
        assert!(seers.len() == 1 && seers[0].starts_with(who), "{what}");
        assert!(faults(&steps).contains(&"vacuum (full, analyze) audit_private"), "{what}");
        assert_ne!(files_with(&dir, &sealed), Vec::<String>::new(), "it is there still: {what}");

        sqlx::raw_sql(end).execute(&mut *session).await.unwrap();
        let (steps, seers) = vacuum(&pool).await.unwrap();
        assert_eq!((faults(&steps), seers), (vec![], vec![]), "{steps:?}");
        assert_eq!(files_with(&dir, &sealed), Vec::<String>::new(), "{statements:?}");
    }

    // Another database's snapshot is nobody's who could see these rows.
    let sealed = kept(&pool).await;
    let _reader = opened(&other, &["begin isolation level repeatable read; select 1"]).await;
    sqlx::query("delete from audit_private").execute(&pool).await.unwrap();
    let (steps, seers) = vacuum(&pool).await.unwrap();
    assert_eq!((faults(&steps), seers), (vec![], vec![]), "{steps:?}");
    assert_eq!(files_with(&dir, &sealed), Vec::<String>::new());

    // Who does not own the tables is only warned by Postgres.
    let stranger = Psql::member(&pool, "stranger", "haetae_privacy").await.pool().await;
    let (steps, _) = vacuum(&stranger).await.unwrap();
    let tables = steps.iter().filter(|step| step.statement.starts_with("vacuum"));
    assert!(
        tables.clone().count() == 8 && tables.clone().all(|step| step.fault.is_some()),
        "{steps:?}"
    );
}

/// What a rewriting had written when its server died is no table's, and stays through every rewriting after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_a_killed_server_left_is_named_and_nothing_is_said_to_be_done() {
    let dir = scratch("left");
    let options = Options { ephemeral: true, ..Options::durable(&dir) };
    let mut cluster = Cluster::start(options).await.unwrap();
    let open = async |cluster: &Cluster| {
        PgPoolOptions::new().connect_with(cluster.connect_options()).await.unwrap()
    };
    let pool = open(&cluster).await;
    migrate(&pool).await.unwrap();
    let sealed = kept(&pool).await;
    let rewriting = ["begin; cluster audit_private using audit_private_pkey; checkpoint"];
    let mut under_way = opened(&pool, &rewriting).await;
    let its = sqlx::query_scalar::<_, i32>("select pg_backend_pid()");
    let its = its.fetch_one(&mut *under_way).await.unwrap();
    kill_process(Pid::from_raw(its).unwrap(), Signal::KILL).unwrap();
    cluster.restart().await.unwrap();

    let pool = open(&cluster).await;
    sqlx::query("delete from audit_private").execute(&pool).await.unwrap();
    let (steps, seers) = vacuum(&pool).await.unwrap();
    assert_eq!((faults(&steps), seers), (vec!["no file without a table"], vec![]), "{steps:?}");
    let tables = || files_with(&dir, &sealed).into_iter().filter(|file| file.contains("/base/"));
    let left: Vec<String> = tables().collect();
    let said = steps.last().and_then(|step| step.fault.as_deref()).unwrap();
    let named: Vec<&str> = said.rsplit(": ").next().unwrap().split(", ").collect();
    let is_named = |file: &String| named.iter().any(|name| file.ends_with(name));
    assert!(left.len() == 1 && left.iter().all(is_named), "{left:?} {said}");

    cluster.stop(Stop::Fast).await.unwrap();
    for file in named {
        std::fs::remove_file(dir.join("data").join(file)).unwrap();
    }
    cluster.restart().await.unwrap();
    let (steps, _) = vacuum(&open(&cluster).await).await.unwrap();
    assert_eq!((faults(&steps), tables().count()), (vec![], 0), "{steps:?}");
}
