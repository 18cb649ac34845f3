//! The gateway says when the log's tables are not as the migrations made them.

use sqlx::{AssertSqlSafe, PgPool};

use super::lab::{Lab, eventually, leaves};
use crate::support::fresh_database;

const MADE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/tables/made.txt"));
const LINES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/tables/lines.sql"));

/// When a migration changes them, `HAETAE_BLESS=1` writes the file anew.
#[tokio::test]
async fn what_the_migrations_make_is_what_the_gateway_expects() {
    let fresh = fresh_database().await;
    let newest: i64 = sqlx::query_scalar("select max(version) from _sqlx_migrations")
        .fetch_one(&fresh.pool)
        .await
        .unwrap();
    let lines: Vec<String> = sqlx::query_scalar(LINES).fetch_all(&fresh.pool).await.unwrap();
    let made = format!("migration {newest}\n{}\n", lines.join("\n"));
    if std::env::var_os("HAETAE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/tables/made.txt");
        std::fs::write(path, &made).unwrap();
    }
    assert_eq!(made, MADE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_a_rule_or_a_table_without_a_log_of_its_own_is_an_alarm_and_turns_readiness_off()
{
    for (change, said) in [
        (
            "create function eat() returns trigger language plpgsql as $$ begin return null; end $$;
             create constraint trigger zz after insert on log_batch deferrable initially deferred
                 for each row execute function eat()",
            "there is `trigger log_batch.zz eat",
        ),
        ("create rule zz as on delete to log_head do instead nothing", "there is `rule log_head.zz"),
        ("alter table log_tile set unlogged", "there is `table log_tile ru`"),
        (
            "alter table log_text rename to log_text_;
             create view log_text as table log_text_",
            "there is `table log_text v",
        ),
    ] {
        let fresh = fresh_database().await;
        let lab = Lab::start(&fresh.pool, 1).await;
        let says = || lab.audit.health().causes.iter().any(|cause| cause.contains("haetae migrate"));
        assert!(!says());
        sqlx::raw_sql(AssertSqlSafe(change)).execute(&fresh.pool).await.unwrap();
        eventually("it is an alarm", async || alarms(&fresh.pool).await.contains(said)).await;
        assert!(says() && !lab.audit.health().ready, "{:?}", lab.audit.health());
        lab.stop().await;
    }
}

/// Who may write that row may as well have written it himself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_version_that_is_said_to_have_made_them_is_an_alarm_and_leaves_it_ready() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    let later =
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'x', true, '', 0)";
    sqlx::query(later).execute(&fresh.pool).await.unwrap();
    let said = "the database says that it has migration 9999";
    eventually("it is an alarm", async || alarms(&fresh.pool).await.contains(said)).await;
    let causes = lab.audit.health().causes;
    assert!(causes.iter().all(|cause| !cause.contains("migrat")), "{causes:?}");
    lab.stop().await;
}

/// What was said of the tables.
async fn alarms(pool: &PgPool) -> String {
    let all = leaves(pool).await;
    let of_tables = all.iter().filter(|leaf| leaf["what"] == "tables_changed");
    of_tables.map(|leaf| leaf["about"].to_string()).collect()
}
