//! Acts in, acts out. Marking one as written belongs to the statement that writes it (`commit`).

use std::sync::Arc;

use serde_json::{Map, Value};
use sqlx::{PgConnection, postgres::PgConnectOptions, types::Json};
use uuid::Uuid;

use super::{Act, ActKind};
use crate::audit::store::{Identity, TASK_LOCKS};

pub(super) async fn insert(connection: &mut PgConnection, act: &Act) -> Result<(), sqlx::Error> {
    let insert = "insert into log_outbox (event, kind, people, body) values ($1, $2, $3, $4)";
    let told = sqlx::query(insert)
        .bind(act.event)
        .bind(act.kind.name())
        .bind(act.people.iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(Json(&act.body))
        .execute(connection)
        .await?
        .rows_affected();
    // A trigger, or a rule, that drops the row would leave an act without its record.
    if told == 1 { Ok(()) } else { Err(sqlx::Error::Protocol(NOT_TOLD.to_owned())) }
}

pub(super) async fn connect(
    options: PgConnectOptions,
    identity: &Identity,
) -> Result<PgConnection, sqlx::Error> {
    let options = options.application_name("haetae-outbox");
    crate::audit::store::connect(&options, identity).await
}

pub(super) async fn lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let lock = sqlx::query_scalar("select pg_try_advisory_lock($1, 1)").bind(TASK_LOCKS);
    lock.fetch_one(connection).await
}

type Row = (Uuid, String, Vec<String>, Json<Map<String, Value>>);

/// The oldest acts that are not written, and those that this version cannot write, with the cause.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<(Vec<Act>, Vec<(Uuid, String)>), sqlx::Error> {
    let select = "select event, kind, people, body from log_outbox
                  where not written order by n limit $1";
    let rows: Vec<Row> = sqlx::query_as(select).bind(limit).fetch_all(connection).await?;
    let (mut acts, mut unreadable) = (Vec::new(), Vec::new());
    for (event, kind, people, Json(body)) in rows {
        let people = people.into_iter().map(Arc::from).collect();
        let Some(kind) = ActKind::of(&kind) else {
            unreadable.push((event, format!("`{kind}` is not a kind that this version knows")));
            continue;
        };
        acts.push(Act { event, kind, people, body });
    }
    Ok((acts, unreadable))
}

const NOT_TOLD: &str =
    "`log_outbox` did not keep the row of this act: without its record it is not done";
