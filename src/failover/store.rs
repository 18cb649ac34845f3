//! One question to one server.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// Whether it accepts writes: it is no standby.
pub(super) async fn writes(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let select = "select not pg_is_in_recovery()";
    let mut connection = options.clone().application_name("haetae-failover").connect().await?;
    let writes = sqlx::query_scalar(select).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(writes)
}
