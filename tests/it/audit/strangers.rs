//! Whoever may log in, and no more, neither becomes the owner nor keeps a gateway waiting.

use std::borrow::Cow;

use haetae::postgres::{for_an_administrator, migrate};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::psql::Psql;
use crate::support::fresh_database;

/// Without `pg_temp` in its path a function looks there first, and a session's own table stands for ours.
#[tokio::test]
async fn no_function_that_runs_as_its_owner_looks_into_the_session_first() {
    let pool = fresh_database().await.pool;
    let paths = "select p.oid::regprocedure::text,
                        (select setting from unnest(p.proconfig) as setting where setting like 'search_path=%')
                 from pg_proc p where p.prosecdef and p.pronamespace = 'public'::regnamespace";
    let paths: Vec<(String, Option<String>)> =
        sqlx::query_as(paths).fetch_all(&pool).await.unwrap();
    assert!(paths.len() > 10, "{paths:?}");
    for (function, path) in paths {
        let last = path.as_deref().and_then(|path| path.rsplit([',', '=']).next()).map(str::trim);
        assert_eq!(last, Some("pg_temp"), "{function}: {path:?}");
    }
}

/// As the gateway, which is no owner: what it puts into its own session stays there.
#[tokio::test]
async fn a_table_of_the_session_does_not_stand_for_one_of_ours() {
    let pool = fresh_database().await.pool;
    let mut session = pool.acquire().await.unwrap();
    let statements = "set role haetae_gateway;
        create temp table policy_enacted (like public.policy_enacted);
        insert into policy_enacted (version, bundle, how, until_s, falls_back_to, reason, notes, enacted_by, enacted_at_s)
            values (1, 'x', 'break_glass', 0, 'x', 'x', '{}', 'x', 0);
        grant all on policy_enacted to public;";
    sqlx::raw_sql(statements).execute(&mut *session).await.unwrap();
    let fallen: Option<i64> =
        sqlx::query_scalar("select policy_fall_back(1, 1)").fetch_one(&mut *session).await.unwrap();
    assert_eq!(fallen, None, "nothing of ours is in force that could end");
}

#[tokio::test]
async fn a_reader_holds_no_lock_that_gateways_wait_for_and_the_gateway_does() {
    let pool = fresh_database().await.pool;
    let functions = "select proname || case pronargs when 1 then '(1)' else '(1, 1)' end from pg_proc
                     where pronamespace = 'pg_catalog'::regnamespace and proname ~ 'advisory.*lock' and proname !~ 'unlock'";
    let functions: Vec<String> = sqlx::query_scalar(functions).fetch_all(&pool).await.unwrap();
    assert_eq!(functions.len(), 16, "{functions:?}");
    // One session: what it holds keeps it from nothing.
    let mut session = pool.acquire().await.unwrap();
    for role in ["haetae_reader", "haetae_reviewer", "haetae_privacy", "haetae_gateway"] {
        let wanted = (role != "haetae_gateway").then_some("42501");
        for function in &functions {
            let code = refused(&mut session, role, function).await;
            assert_eq!(code.as_deref(), wanted, "{role}: {function}");
        }
    }
}

/// The owner of a database is no superuser: nothing is taken from anybody before an administrator did it, and then by halves from nobody.
#[tokio::test]
async fn who_may_not_say_who_takes_locks_is_told_what_an_administrator_is_to_run() {
    let fresh = fresh_database().await;
    assert_eq!(for_an_administrator(&fresh.pool).await.unwrap(), None, "a superuser migrated");
    let owner = Psql::login(&fresh.pool, "owner").await;
    let database = format!("{}_own", owner.role);
    let create = AssertSqlSafe(format!("create database {database} owner {}", owner.role));
    sqlx::query(create).execute(&fresh.pool).await.unwrap();
    let options = fresh.options.clone().database(&database);
    let server = PgPool::connect_with(options.clone()).await.unwrap();
    let own = PgPool::connect_with(options.username(&owner.role)).await.unwrap();
    migrate(&own).await.unwrap();
    let mut session = server.acquire().await.unwrap();
    let (reader, gateway) = ("haetae_reader", "haetae_gateway");
    let lock = "pg_try_advisory_xact_lock(1)";
    assert_eq!(refused(&mut session, gateway, lock).await, None);
    assert_eq!(refused(&mut session, reader, lock).await, None);

    let statement = for_an_administrator(&own).await.unwrap().unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *session).await.unwrap();
    assert_eq!(for_an_administrator(&own).await.unwrap(), None);
    assert_eq!(refused(&mut session, gateway, lock).await, None);
    assert_eq!(refused(&mut session, reader, lock).await.as_deref(), Some("42501"));
    // sqlx locks while it migrates, and a break-glass ends in a function of the owner.
    migrate(&own).await.unwrap();
    assert_eq!(refused(&mut session, gateway, "policy_fall_back(1, 1)").await, None);
}

/// The SQLSTATE of a call under a role; `None` when it is allowed.
async fn refused(session: &mut PgConnection, role: &str, function: &str) -> Option<String> {
    let mut transaction = session.begin().await.unwrap();
    let set = AssertSqlSafe(format!("set local role {role}"));
    sqlx::query(set).execute(&mut *transaction).await.unwrap();
    let select = AssertSqlSafe(format!("select {function}"));
    let error = sqlx::query(select).execute(&mut *transaction).await.err()?;
    error.as_database_error()?.code().map(Cow::into_owned)
}
