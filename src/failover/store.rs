//! One question to one server, and what its sessions are told.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// Whether it accepts writes: it is no standby.
pub(super) async fn writes(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let select = "select not pg_is_in_recovery()";
    let mut connection = options.clone().application_name("haetae-failover").connect().await?;
    let writes = sqlx::query_scalar(select).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(writes)
}

/// Postgres ends the session when its transaction hears nothing for some seconds, and gives back what it locked.
pub(super) async fn bound(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = format!("set idle_in_transaction_session_timeout = '{IDLE_S_MAX}s'");
    sqlx::raw_sql(AssertSqlSafe(set)).execute(connection).await.map(drop)
}

/// As long as a lane may be silent. Between two statements of a transaction of ours there are milliseconds.
const IDLE_S_MAX: u32 = 5;
