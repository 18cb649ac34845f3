//! The gateway's role appends and does nothing else; the reader's role reads, but no names.

use sqlx::{AssertSqlSafe, PgPool};

use super::lab::Lab;
use crate::support::fresh_database;

/// The SQLSTATE of a statement under a role; `None` when it is allowed. Nothing is kept.
async fn refused(pool: &PgPool, role: &'static str, statement: &'static str) -> Option<String> {
    let mut transaction = pool.begin().await.unwrap();
    let set = AssertSqlSafe(format!("set local role {role}"));
    sqlx::query(set).execute(&mut *transaction).await.unwrap();
    let done = sqlx::query(statement).execute(&mut *transaction).await;
    done.err().map(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
}

const INSUFFICIENT_PRIVILEGE: Option<&str> = Some("42501");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_cannot_change_or_remove_what_it_wrote() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    lab.projected().await;
    let forbidden = [
        "update log_batch set leaves = ''",
        "update log_batch set marks = marks",
        "delete from log_batch",
        "truncate log_batch",
        "update log_tile set hashes = hashes",
        "delete from log_text",
        "update log_text set bytes = ''",
        "delete from log_checkpoint",
        "update log_checkpoint set note = ''",
        "delete from audit_private",
        "update audit_private set value = ''",
        "select value from audit_private",
        "select sealed from audit_private",
        "select wrapped from audit_key",
        "update audit_key set wrapped = wrapped",
        "delete from audit_key",
        "select * from erasure",
        "update fact_head set erasures = 0",
        "update row_decision set outcome = 'DENY'",
        "delete from row_ended",
        "update log_head set origin = 'other'",
        "delete from log_head",
        "update fact_head set version = version - 1",
        "update log_epoch set instance = 0",
        "update log_outbox set body = '{}'",
        "delete from log_outbox",
        "drop table log_batch",
        "alter table log_batch disable trigger all",
    ];
    for statement in forbidden {
        let code = refused(&lab.pool, "haetae_gateway", statement).await;
        assert_eq!(code.as_deref(), INSUFFICIENT_PRIVILEGE, "{statement}");
    }
    let wanted = [
        "update log_head set size = size where lane = 0",
        "update projection_cursor set next_index = next_index",
        "select version from fact_head for share",
    ];
    for statement in wanted {
        assert_eq!(refused(&lab.pool, "haetae_gateway", statement).await, None, "{statement}");
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_reads_no_names_and_writes_nothing() {
    let pool = fresh_database().await.pool;
    for statement in [
        "select * from audit_private",
        "select * from audit_key",
        "select * from erasure",
        "insert into projection_cursor (lane, next_index) values (0, 0)",
        "update log_head set size = 0",
    ] {
        let code = refused(&pool, "haetae_reader", statement).await;
        assert_eq!(code.as_deref(), INSUFFICIENT_PRIVILEGE, "{statement}");
    }
    for statement in
        ["select * from log_batch", "select * from row_decision", "select * from log_head"]
    {
        assert_eq!(refused(&pool, "haetae_reader", statement).await, None, "{statement}");
    }
}
