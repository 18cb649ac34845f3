//! Trials, what they found, and their beginning and end as acts of the log.

use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, PgTransaction, Row as _};
use uuid::Uuid;
use verdict::decision::Outcome;

use super::tally::{Counts, EXAMPLES_MAX, Group};
use super::way::{Told, Way, What};
use super::{ShadowError, Trial};
use crate::mandate::Stored;
use crate::mandate::note::check_reason;
use crate::mandate::store::{about, find};
use crate::registry::store::tell;

/// Has a bundle judged beside the one in force for so many seconds; one at a time.
///
/// # Errors
/// When another is being judged, or the reason cannot stand in a record. Nothing is changed then.
pub async fn start(
    pool: &PgPool,
    bundle: &Stored,
    lasts_s: i64,
    reason: &str,
    (by, at_s): (&str, i64),
) -> Result<Trial, ShadowError> {
    check_reason(reason)?;
    let mut transaction = pool.begin().await?;
    // One starter after the other: a second one finds the first one's row.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('haetae_shadow', 0))")
        .execute(&mut *transaction)
        .await?;
    if let Some(other) = running_in(&mut transaction).await? {
        if other.until_s > at_s {
            return Err(ShadowError::Running(other.bundle));
        }
        let told = find(pool, &other.bundle).await?;
        end(&mut transaction, &other, &told, "its time is over", ("haetae", other.until_s)).await?;
    }
    let insert = "insert into policy_shadow (bundle, reason, started_by, started_at_s, until_s) values ($1, $2, $3, $4, $5)
                  returning *";
    let row = sqlx::query(insert)
        .bind(&*bundle.digest)
        .bind(reason)
        .bind(by)
        .bind(at_s)
        .bind(at_s.saturating_add(lasts_s))
        .fetch_one(&mut *transaction)
        .await?;
    let trial = trial_of(&row)?;
    let body = json!({ "act": "shadow_start", "shadow": trial.id.to_string(), "until": trial.until_s, "reason": reason });
    tell(&mut transaction, POLICY_CHANGE, &[by], about(bundle, body)).await?;
    // If we stop here, then nothing was started.
    transaction.commit().await?;
    Ok(trial)
}

/// Ends the one that runs.
///
/// # Errors
/// When none does.
pub async fn stop(
    pool: &PgPool,
    reason: &str,
    (by, at_s): (&str, i64),
) -> Result<Trial, ShadowError> {
    check_reason(reason)?;
    let mut transaction = pool.begin().await?;
    let trial = running_in(&mut transaction).await?.ok_or(ShadowError::None)?;
    let bundle = find(pool, &trial.bundle).await?;
    end(&mut transaction, &trial, &bundle, reason, (by, at_s)).await?;
    transaction.commit().await?;
    Ok(Trial { stopped: Some((by.to_owned(), at_s)), ..trial })
}

/// The one that is not ended, be its time over or not.
pub async fn running(pool: &PgPool) -> Result<Option<Trial>, ShadowError> {
    let row = sqlx::query(RUNNING).fetch_optional(pool).await?;
    Ok(row.as_ref().map(trial_of).transpose()?)
}

/// All of them, the newest first; at most `limit`.
pub async fn list(pool: &PgPool, limit: i64) -> Result<Vec<Trial>, ShadowError> {
    let select = "select * from policy_shadow order by started_at_s desc, id limit $1";
    let rows = sqlx::query(select).bind(limit).fetch_all(pool).await?;
    Ok(rows.iter().map(trial_of).collect::<Result<_, _>>()?)
}

/// What all replicas did for a trial, added up.
pub async fn counts(pool: &PgPool, trial: Uuid) -> Result<Counts, ShadowError> {
    let select = "select coalesce(sum(same), 0)::bigint as same, coalesce(sum(differing), 0)::bigint as differing,
                         coalesce(sum(dropped), 0)::bigint as dropped, coalesce(sum(moved), 0)::bigint as moved,
                         coalesce(sum(uncounted), 0)::bigint as uncounted, coalesce(sum(crowded), 0)::bigint as crowded
                  from policy_shadow_count where shadow = $1";
    let row = sqlx::query(select).bind(trial).fetch_one(pool).await?;
    let count = |name: &str| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(name)?.unsigned_abs());
    Ok(Counts {
        same: count("same")?,
        differing: count("differing")?,
        dropped: count("dropped")?,
        moved: count("moved")?,
        uncounted: count("uncounted")?,
        crowded: count("crowded")?,
    })
}

/// The ways in which decisions would have been others, what becomes milder first.
pub async fn differences(pool: &PgPool, trial: Uuid) -> Result<Vec<(Way, Group)>, ShadowError> {
    let select = "select * from policy_shadow_difference where shadow = $1";
    let rows = sqlx::query(select).bind(trial).fetch_all(pool).await?;
    let mut all = rows.iter().map(difference_of).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_cached_key(|(way, _)| way.rank());
    Ok(all)
}

/// Adds what this replica found since it last wrote; its counts replace those of before.
pub(super) async fn add(
    pool: &PgPool,
    trial: Uuid,
    instance: Uuid,
    counts: Counts,
    found: &[(Way, Group)],
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    for (way, group) in found {
        add_one(&mut transaction, trial, way, group).await?;
    }
    sqlx::query(
        "insert into policy_shadow_count (shadow, instance, same, differing, dropped, moved, uncounted, crowded)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (shadow, instance) do update
         set same = $3, differing = $4, dropped = $5, moved = $6, uncounted = $7, crowded = $8, seen_at = now()",
    )
    .bind(trial)
    .bind(instance)
    .bind(signed(counts.same))
    .bind(signed(counts.differing))
    .bind(signed(counts.dropped))
    .bind(signed(counts.moved))
    .bind(signed(counts.uncounted))
    .bind(signed(counts.crowded))
    .execute(&mut *transaction)
    .await?;
    // If we stop here, then what was found in the last second is not counted. No answer rests on it.
    transaction.commit().await
}

async fn add_one(
    transaction: &mut PgTransaction<'_>,
    trial: Uuid,
    way: &Way,
    group: &Group,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into policy_shadow_difference as old
            (shadow, key, in_force, what, regime, flow, place, was, was_reason, was_rule, would, would_reason, would_rule,
             count, examples, first_at_s, last_at_s)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (shadow, key) do update
         set count = old.count + excluded.count, last_at_s = greatest(old.last_at_s, excluded.last_at_s),
             first_at_s = least(old.first_at_s, excluded.first_at_s),
             examples = (old.examples || excluded.examples)[1:$18]",
    )
    .bind(trial)
    .bind(way.key().as_slice())
    .bind(&way.in_force)
    .bind(way.what.name())
    .bind(&way.regime)
    .bind(&way.flow)
    .bind(&way.place)
    .bind(way.was.outcome.name())
    .bind(&way.was.reason)
    .bind(&way.was.rule)
    .bind(way.would.outcome.name())
    .bind(&way.would.reason)
    .bind(&way.would.rule)
    .bind(signed(group.count))
    .bind(&group.examples)
    .bind(group.first_at_s)
    .bind(group.last_at_s)
    .bind(i32::try_from(EXAMPLES_MAX).unwrap_or(1))
    .execute(&mut **transaction)
    .await
    .map(drop)
}

async fn running_in(transaction: &mut PgTransaction<'_>) -> Result<Option<Trial>, sqlx::Error> {
    let locked = sqlx::AssertSqlSafe(format!("{RUNNING} for no key update"));
    let row = sqlx::query(locked).fetch_optional(&mut **transaction).await?;
    row.as_ref().map(trial_of).transpose()
}

async fn end(
    transaction: &mut PgTransaction<'_>,
    trial: &Trial,
    bundle: &Stored,
    reason: &str,
    (by, at_s): (&str, i64),
) -> Result<(), sqlx::Error> {
    let update = "update policy_shadow set stopped_by = $2, stopped_at_s = $3 where id = $1";
    sqlx::query(update).bind(trial.id).bind(by).bind(at_s).execute(&mut **transaction).await?;
    let body = json!({ "act": "shadow_stop", "shadow": trial.id.to_string(), "reason": reason });
    tell(transaction, POLICY_CHANGE, &[by], about(bundle, body)).await
}

fn trial_of(row: &PgRow) -> Result<Trial, sqlx::Error> {
    let stopped: (Option<String>, Option<i64>) =
        (row.try_get("stopped_by")?, row.try_get("stopped_at_s")?);
    Ok(Trial {
        id: row.try_get("id")?,
        bundle: row.try_get::<String, _>("bundle")?.into(),
        reason: row.try_get("reason")?,
        started_by: row.try_get("started_by")?,
        started_at_s: row.try_get("started_at_s")?,
        until_s: row.try_get("until_s")?,
        stopped: stopped.0.zip(stopped.1),
    })
}

fn difference_of(row: &PgRow) -> Result<(Way, Group), ShadowError> {
    let text = |name: &str| row.try_get::<String, _>(name);
    let told = |outcome: &str, reason: &str, rule: &str| {
        let outcome = text(outcome)?;
        Ok::<_, ShadowError>(Told {
            outcome: Outcome::named(&outcome).ok_or(ShadowError::Unknown(outcome))?,
            reason: text(reason)?,
            rule: text(rule)?,
        })
    };
    let what = text("what")?;
    let way = Way {
        in_force: text("in_force")?,
        what: What::named(&what).ok_or(ShadowError::Unknown(what))?,
        regime: text("regime")?,
        flow: text("flow")?,
        place: text("place")?,
        was: told("was", "was_reason", "was_rule")?,
        would: told("would", "would_reason", "would_rule")?,
    };
    let group = Group {
        count: row.try_get::<i64, _>("count")?.unsigned_abs(),
        examples: row.try_get("examples")?,
        first_at_s: row.try_get("first_at_s")?,
        last_at_s: row.try_get("last_at_s")?,
    };
    Ok((way, group))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const RUNNING: &str = "select * from policy_shadow where stopped_at_s is null";
const POLICY_CHANGE: &str = "policy_change";
