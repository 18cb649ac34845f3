//! The console's reads. Every list is keyset-paged by (time, lane, index), newest first.

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::api::{Cursor, Filter};

/// One decision in a list.
#[derive(Debug, Serialize, FromRow)]
pub struct Row {
    pub id: Uuid,
    pub at_ns: i64,
    pub lane: i32,
    pub index: i64,
    pub org: String,
    pub service: String,
    pub operation: String,
    pub outcome: String,
    pub reason: String,
    pub rule: Option<String>,
    pub site: Option<String>,
}

/// One lane: its head, its newest checkpoint, and how far the rows have followed.
#[derive(Debug, Serialize, FromRow)]
#[expect(clippy::struct_field_names, reason = "the names of the JSON")]
pub struct Lane {
    pub lane: i32,
    pub origin: String,
    pub epoch: i64,
    pub size: i64,
    pub projected: i64,
    pub checkpoint: Option<String>,
}

/// How a forwarded request ended.
#[derive(Debug, Serialize, FromRow)]
struct End {
    at_ns: i64,
    how: String,
    status: Option<i32>,
    bytes_out: i64,
    bytes_back: i64,
    duration_ms: i64,
    why: Option<String>,
}

pub async fn decisions(
    pool: &PgPool,
    filter: &Filter,
    before: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let before = before.unwrap_or(Cursor { at_ns: i64::MAX, lane: i32::MAX, index: i64::MAX });
    sqlx::query_as(
        "SELECT id, at_ns, lane, index, org, service, operation, outcome, reason, rule, site
         FROM row_decision
         WHERE (at_ns, lane, index) < ($1, $2, $3)
           AND ($4::text IS NULL OR org = $4) AND ($5::text IS NULL OR outcome = $5)
           AND ($6::text IS NULL OR site = $6) AND ($7::text IS NULL OR reason = $7)
         ORDER BY at_ns DESC, lane DESC, index DESC LIMIT $8",
    )
    .bind(before.at_ns)
    .bind(before.lane)
    .bind(before.index)
    .bind(filter.org.as_deref())
    .bind(filter.outcome.as_deref())
    .bind(filter.site.as_deref())
    .bind(filter.reason.as_deref())
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// One decision from end to end: its row, the facts and the judgement it rests on, its start and its end.
pub async fn decision(pool: &PgPool, id: Uuid) -> Result<Option<Value>, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, at_ns, lane, index, org, service, operation, outcome, reason, rule, site
         FROM row_decision WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (facts, detail): (Option<Vec<u8>>, Option<Vec<u8>>) = sqlx::query_as(
        "SELECT (SELECT bytes FROM log_text WHERE digest = d.facts),
                (SELECT bytes FROM log_text WHERE digest = d.detail)
         FROM row_decision d WHERE id = $1",
    )
    .bind(id)
    .fetch_one(pool)
    .await?;
    let started: Option<(i64, String)> =
        sqlx::query_as("SELECT at_ns, identity FROM row_started WHERE decision = $1")
            .bind(id)
            .fetch_optional(pool)
            .await?;
    let ended: Option<End> = sqlx::query_as(
        "SELECT at_ns, how, status, bytes_out, bytes_back, duration_ms, why
         FROM row_ended WHERE decision = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    Ok(Some(json!({
        "decision": row,
        "facts": facts.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()),
        "detail": detail.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()),
        "started": started.map(|(at_ns, identity)| json!({ "at_ns": at_ns, "identity": identity })),
        "ended": ended,
    })))
}

pub async fn lanes(pool: &PgPool) -> Result<Vec<Lane>, sqlx::Error> {
    sqlx::query_as(
        "SELECT h.lane, h.origin, h.epoch, h.size, coalesce(c.next_index, 0) AS projected,
                (SELECT note FROM log_checkpoint k WHERE k.lane = h.lane ORDER BY size DESC LIMIT 1)
                AS checkpoint
         FROM log_head h LEFT JOIN projection_cursor c USING (lane) ORDER BY h.lane",
    )
    .fetch_all(pool)
    .await
}
