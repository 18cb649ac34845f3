//! Webhooks, their secrets and deliveries in Postgres. Times are the database's, so that replicas need not agree on one.

use std::time::Duration;

use serde::Serialize;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

use super::notice::Notice;
use super::send::{Delivery, Outcome};
use super::{End, Secret, WebhookError};
use crate::registry::store::tell;

/// A webhook that was claimed for one attempt.
pub struct Due {
    pub webhook: Uuid,
    /// Made by the database at this claim: nobody else has it.
    pub lease: Uuid,
    pub url: String,
    pub secrets: Vec<Secret>,
    /// None when somebody else had it meanwhile.
    pub delivery: Option<Delivery>,
}

/// A webhook as its keeper sees it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Listed {
    #[serde(serialize_with = "plain")]
    pub id: Uuid,
    #[serde(skip)]
    pub org: String,
    pub url: String,
    pub waiting: i64,
    pub delivered: i64,
    pub dead: i64,
}

/// A notice that was given up, or waits after a failure.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Stuck {
    pub id: Uuid,
    pub webhook: Uuid,
    pub key: String,
    pub state: String,
    pub attempts: i32,
    pub status: Option<i32>,
    pub why: Option<String>,
}

/// Which webhook is meant, and who means it.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub webhook: Uuid,
    /// `None`: whoever has it.
    pub org: Option<&'a str>,
    pub by: &'a str,
}

/// Registers a webhook with a new secret.
pub async fn add(
    pool: &PgPool,
    org: &str,
    url: &str,
    secret: &Secret,
    by: &str,
) -> Result<Uuid, WebhookError> {
    add_as(pool, org, url, secret, (by, by)).await
}

/// The same with another name beside the webhook than in the record: who uses the API is kept as a salted digest alone.
pub async fn add_as(
    pool: &PgPool,
    org: &str,
    url: &str,
    secret: &Secret,
    (by, made_by): (&str, &str),
) -> Result<Uuid, WebhookError> {
    let mut transaction = pool.begin().await?;
    let inserted: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO webhook (org, url, made_by) VALUES ($1, $2, $3)
         ON CONFLICT (org, url) WHERE removed_at IS NULL DO NOTHING RETURNING id",
    )
    .bind(org)
    .bind(url)
    .bind(made_by)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(id) = inserted else {
        return Err(WebhookError::Twice { org: org.to_owned(), url: url.to_owned() });
    };
    if count(&mut transaction, org).await? > PRESENT_MAX {
        return Err(WebhookError::Many { org: org.to_owned() });
    }
    sqlx::query("INSERT INTO webhook_secret (webhook, secret) VALUES ($1, $2)")
        .bind(id)
        .bind(secret.bytes())
        .execute(&mut *transaction)
        .await?;
    told(&mut transaction, "webhook_added", org, id, by).await?;
    // If we stop here, then nothing was registered.
    transaction.commit().await?;
    Ok(id)
}

/// Gives a webhook another secret; notices carry signatures by both for so long.
pub async fn rotate(
    pool: &PgPool,
    of: Of<'_>,
    secret: &Secret,
    both_for: Duration,
) -> Result<(), WebhookError> {
    let (id, mut transaction) = (of.webhook, pool.begin().await?);
    let org = present(&mut transaction, of).await?;
    sqlx::query(
        "UPDATE webhook_secret SET valid_until = clock_timestamp() + make_interval(secs => $2)
         WHERE webhook = $1 AND valid_until IS NULL",
    )
    .bind(id)
    .bind(both_for.as_secs_f64())
    .execute(&mut *transaction)
    .await?;
    sqlx::query("INSERT INTO webhook_secret (webhook, secret) VALUES ($1, $2)")
        .bind(id)
        .bind(secret.bytes())
        .execute(&mut *transaction)
        .await?;
    told(&mut transaction, "webhook_rotated", &org, id, of.by).await?;
    transaction.commit().await?;
    Ok(())
}

/// Nothing is sent to it any more; what waits is never sent.
pub async fn remove(pool: &PgPool, of: Of<'_>) -> Result<(), WebhookError> {
    let mut transaction = pool.begin().await?;
    let org = present(&mut transaction, of).await?;
    let update = "UPDATE webhook SET removed_at = clock_timestamp() WHERE id = $1";
    sqlx::query(update).bind(of.webhook).execute(&mut *transaction).await?;
    told(&mut transaction, "webhook_removed", &org, of.webhook, of.by).await?;
    transaction.commit().await?;
    Ok(())
}

/// A dead letter is tried again from now on, or a waiting one at once.
pub async fn retry(pool: &PgPool, notice: Uuid) -> Result<bool, WebhookError> {
    let done = sqlx::query(
        "UPDATE webhook_delivery SET state = 'waiting', next_at = clock_timestamp()
         WHERE id = $1 AND state <> 'delivered'",
    )
    .bind(notice)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn list(pool: &PgPool, org: Option<&str>) -> Result<Vec<Listed>, WebhookError> {
    let select = "
        SELECT w.id, w.org, w.url,
               count(*) FILTER (WHERE d.state = 'waiting') AS waiting,
               count(*) FILTER (WHERE d.state = 'delivered') AS delivered,
               count(*) FILTER (WHERE d.state = 'dead') AS dead
        FROM webhook w LEFT JOIN webhook_delivery d ON d.webhook = w.id
        WHERE w.removed_at IS NULL AND ($1::text IS NULL OR w.org = $1)
        GROUP BY w.id ORDER BY w.org, w.url";
    Ok(sqlx::query_as(select).bind(org).fetch_all(pool).await?)
}

/// What was given up, and what waits after a failure; the newest 100.
pub async fn stuck(pool: &PgPool, org: Option<&str>) -> Result<Vec<Stuck>, WebhookError> {
    let select = "
        SELECT d.id, d.webhook, d.key, d.state, d.attempts, d.status, d.why
        FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook
        WHERE w.removed_at IS NULL AND ($1::text IS NULL OR w.org = $1)
          AND (d.state = 'dead' OR (d.state = 'waiting' AND d.attempts > 0))
        ORDER BY d.made_at DESC, d.id LIMIT 100";
    Ok(sqlx::query_as(select).bind(org).fetch_all(pool).await?)
}

/// Webhooks that want notices, with their organisation.
pub async fn active(pool: &PgPool) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    sqlx::query_as("SELECT id, org FROM webhook WHERE removed_at IS NULL").fetch_all(pool).await
}

/// Makes notices; those that were made before stay as they are. Gives how many are new.
pub async fn enqueue(pool: &PgPool, webhook: Uuid, notices: &[Notice]) -> Result<u64, sqlx::Error> {
    if notices.is_empty() {
        return Ok(0);
    }
    let keys: Vec<&str> = notices.iter().map(|notice| notice.key.as_str()).collect();
    let bodies: Vec<&str> = notices.iter().map(|notice| notice.body.as_str()).collect();
    let done = sqlx::query(
        "INSERT INTO webhook_delivery (webhook, key, body)
         SELECT $1, key, body FROM unnest($2::text[], $3::text[]) AS new (key, body)
         ON CONFLICT (webhook, key) DO NOTHING",
    )
    .bind(webhook)
    .bind(keys)
    .bind(bodies)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// The id of a notice.
pub async fn id_of(pool: &PgPool, webhook: Uuid, key: &str) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM webhook_delivery WHERE webhook = $1 AND key = $2")
        .bind(webhook)
        .bind(key)
        .fetch_one(pool)
        .await
}

/// Claims a webhook that has something due and is nobody else's now.
pub async fn claim(pool: &PgPool, lasts: Duration) -> Result<Option<Due>, sqlx::Error> {
    let claimed = sqlx::query(
        "WITH one AS (
             SELECT w.id FROM webhook w, LATERAL (
                 SELECT min(next_at) AS at FROM webhook_delivery d
                 WHERE d.webhook = w.id AND d.state = 'waiting') first
             WHERE w.removed_at IS NULL AND first.at <= clock_timestamp()
               AND (w.leased_until IS NULL OR w.leased_until < clock_timestamp())
             ORDER BY first.at LIMIT 1 FOR UPDATE OF w SKIP LOCKED)
         UPDATE webhook w SET lease = gen_random_uuid(), leased_until = clock_timestamp() + make_interval(secs => $1)
         FROM one WHERE w.id = one.id RETURNING w.id, w.lease, w.url",
    )
    .bind(lasts.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    let Some(row) = claimed else { return Ok(None) };
    let webhook: Uuid = row.try_get("id")?;
    let secrets: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT secret FROM webhook_secret
         WHERE webhook = $1 AND (valid_until IS NULL OR valid_until > clock_timestamp())
         ORDER BY made_at DESC",
    )
    .bind(webhook)
    .fetch_all(pool)
    .await?;
    let delivery = sqlx::query(
        "SELECT id, body, attempts FROM webhook_delivery
         WHERE webhook = $1 AND state = 'waiting' AND next_at <= clock_timestamp()
         ORDER BY next_at, made_at, id LIMIT 1",
    )
    .bind(webhook)
    .fetch_optional(pool)
    .await?;
    let delivery = delivery.as_ref().map(delivery_of).transpose()?;
    let secrets = secrets.into_iter().map(Secret::of).collect();
    let lease = row.try_get("lease")?;
    Ok(Some(Due { webhook, lease, url: row.try_get("url")?, secrets, delivery }))
}

/// Writes down how an attempt went and gives the webhook back; nothing, if the lease ran out and somebody else has it.
pub(super) async fn finish(
    pool: &PgPool,
    lease: Uuid,
    delivery: Uuid,
    outcome: &Outcome,
    end: End,
) -> Result<(), sqlx::Error> {
    let (status, why) = match outcome {
        Outcome::Answered(status) => (Some(i32::from(*status)), None),
        Outcome::Failed(why) => (None, Some(*why)),
    };
    let (state, after) = match end {
        End::Delivered => ("delivered", Duration::ZERO),
        End::Dead => ("dead", Duration::ZERO),
        End::Again { after } => ("waiting", after),
    };
    sqlx::query(
        "WITH held AS (
             UPDATE webhook SET lease = NULL, leased_until = NULL
             WHERE lease = $1 AND id = (SELECT webhook FROM webhook_delivery WHERE id = $2) RETURNING id)
         UPDATE webhook_delivery d
         SET attempts = d.attempts + 1, state = $3, status = $4, why = $5,
             next_at = clock_timestamp() + make_interval(secs => $6)
         FROM held WHERE d.id = $2 AND d.webhook = held.id AND d.state = 'waiting'",
    )
    .bind(lease)
    .bind(delivery)
    .bind(state)
    .bind(status)
    .bind(why)
    .bind(after.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives a webhook back untried.
pub async fn release(pool: &PgPool, webhook: Uuid, lease: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE webhook SET lease = NULL, leased_until = NULL WHERE id = $1 AND lease = $2",
    )
    .bind(webhook)
    .bind(lease)
    .execute(pool)
    .await?;
    Ok(())
}

/// Whose webhook it is. Another organisation's is as good as none.
async fn present(
    transaction: &mut sqlx::PgTransaction<'_>,
    of: Of<'_>,
) -> Result<String, WebhookError> {
    let select = "SELECT org FROM webhook WHERE id = $1 AND removed_at IS NULL AND ($2::text IS NULL OR org = $2)
                  FOR NO KEY UPDATE";
    let found: Option<String> = sqlx::query_scalar(select)
        .bind(of.webhook)
        .bind(of.org)
        .fetch_optional(&mut **transaction)
        .await?;
    found.ok_or(WebhookError::NotFound(of.webhook))
}

async fn count(transaction: &mut sqlx::PgTransaction<'_>, org: &str) -> Result<i64, sqlx::Error> {
    let select = "SELECT count(*) FROM webhook WHERE org = $1 AND removed_at IS NULL";
    sqlx::query_scalar(select).bind(org).fetch_one(&mut **transaction).await
}

/// Who may be told what is a matter for the log; the address itself may hold a secret and is not.
async fn told(
    transaction: &mut sqlx::PgTransaction<'_>,
    act: &str,
    org: &str,
    webhook: Uuid,
    by: &str,
) -> Result<(), sqlx::Error> {
    let body = serde_json::json!({ "act": act, "org": org, "webhook": webhook.to_string() });
    tell(transaction, "key_event", &[by], body).await
}

fn plain<S: serde::Serializer>(id: &Uuid, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(id)
}

/// Of one organisation, at once: each is told of each ending.
const PRESENT_MAX: i64 = 16;

fn delivery_of(row: &sqlx::postgres::PgRow) -> Result<Delivery, sqlx::Error> {
    let attempts: i32 = row.try_get("attempts")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        body: row.try_get("body")?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    })
}
