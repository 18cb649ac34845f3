//! The few statements that a cluster needs before anybody has a table.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool};

use super::PostgresError;

/// Runs every migration that this database has not seen, under sqlx's own advisory lock.
pub async fn migrate(pool: &PgPool) -> Result<(), PostgresError> {
    // If we stop here, each migration is its own transaction: the next run goes on after the last whole one.
    sqlx::migrate!("./migrations").run(pool).await?;
    Ok(())
}

/// What an administrator is to run where the owner of our tables may not (migration 0054): as long as any login may take advisory
/// locks, by which gateways know of each other.
pub async fn for_an_administrator(pool: &PgPool) -> Result<Option<String>, PostgresError> {
    let anybody = format!(
        "select relowner::regrole::text from pg_class where oid = 'public.log_head'::regclass and exists (
             select from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) as given
             where {TAKES_A_LOCK} and given.grantee = 0 and given.privilege_type = 'EXECUTE')"
    );
    let asked = sqlx::query_scalar(AssertSqlSafe(anybody));
    let owner: Option<String> = asked.fetch_optional(pool).await?;
    Ok(owner.map(|owner| {
        format!(
            "do $$ declare f regprocedure; begin
  for f in select oid::regprocedure from pg_proc where {TAKES_A_LOCK} loop
      execute format('grant execute on function %s to haetae_gateway, haetae_registrar, {owner}', f);
      execute format('revoke execute on function %s from public', f);
  end loop;
end $$;"
        )
    }))
}

/// Of a function of Postgres.
const TAKES_A_LOCK: &str = "pronamespace = 'pg_catalog'::regnamespace and proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'";

/// One connection and one answer: the server is past recovery and lets us in.
pub(super) async fn ask(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::query("SELECT 1").execute(&mut connection).await?;
    connection.close().await
}

/// Creates database `name`, as a copy of `template` when one is given. An existing one is left as it is.
pub(super) async fn create_database(
    maintenance: &PgConnectOptions,
    name: &str,
    template: Option<&str>,
) -> Result<(), sqlx::Error> {
    let mut connection = maintenance.connect().await?;
    let there: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
    if !there {
        let template = template.map_or(String::new(), |t| format!(" TEMPLATE {}", quoted(t)));
        let statement = format!("CREATE DATABASE {}{template}", quoted(name));
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    connection.close().await
}

/// An identifier in double quotes, with those inside doubled (SQL-92, 5.2).
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
