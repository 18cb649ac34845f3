//! The replicas' rows, and which bundles they should have at hand.

use std::sync::Arc;

use sqlx::{PgPool, Row as _};

use super::Replica;

/// Says how this replica is.
pub async fn report(pool: &PgPool, replica: &Replica) -> Result<(), sqlx::Error> {
    let ((bad, why), (breaks, breaks_why)) = (apart(&replica.bad), apart(&replica.breaks));
    sqlx::query(
        "insert into policy_replica (instance, build, bundle, since, staged, bad, why, breaks, breaks_why)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (instance) do update set bundle = $3, since = $4, staged = $5, bad = $6, why = $7, breaks = $8,
             breaks_why = $9, seen_at = now()",
    )
    .bind(replica.instance)
    .bind(&replica.build)
    .bind(replica.bundle.as_deref())
    .bind(replica.since)
    .bind(&replica.staged)
    .bind(bad)
    .bind(why)
    .bind(breaks)
    .bind(breaks_why)
    .execute(pool)
    .await
    .map(drop)
}

/// Digests and causes, as two columns.
fn apart(all: &[(String, String)]) -> (Vec<&str>, Vec<&str>) {
    all.iter().map(|(digest, why)| (digest.as_str(), why.as_str())).unzip()
}

/// Those that were seen in the last seconds.
pub async fn alive(pool: &PgPool) -> Result<Vec<Replica>, sqlx::Error> {
    let rows = sqlx::query(
        "select instance, build, bundle, since, staged, bad, why, breaks, breaks_why from policy_replica
         where seen_at > now() - interval '5 seconds' order by instance",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let with_why = |digests, why| {
                let (digests, why): (Vec<String>, Vec<String>) =
                    (row.try_get(digests)?, row.try_get(why)?);
                Ok::<_, sqlx::Error>(digests.into_iter().zip(why).collect())
            };
            Ok(Replica {
                instance: row.try_get("instance")?,
                build: row.try_get("build")?,
                bundle: row.try_get::<Option<String>, _>("bundle")?.map(Arc::from),
                since: row.try_get("since")?,
                staged: row.try_get("staged")?,
                bad: with_why("bad", "why")?,
                breaks: with_why("breaks", "breaks_why")?,
            })
        })
        .collect()
}

/// Bundles that may soon be judged with, the likeliest first: what is in force and what it replaced, what it falls back
/// to, what is judged beside it, what somebody approved in place of it, and what was proposed last.
pub async fn wanted(pool: &PgPool) -> Result<Vec<Arc<str>>, sqlx::Error> {
    let digests: Vec<String> = sqlx::query_scalar(
        "with last as (select * from policy_enacted order by version desc limit 1),
         wanted (bundle, rank, n) as (
             select bundle, 0, 0 from last
             union all select falls_back_to, 1, 0 from last
             union all select previous, 2, 0 from last
             union all select bundle, 2, 1 from policy_shadow where stopped_at_s is null
             union all (
                 select bundle, 3, -max(at_s) from policy_approval
                 where since = coalesce((select version from last), 0) group by bundle order by 3 limit 3)
             union all (select digest, 4, -number from policy_bundle order by number desc limit 2)
         )
         select bundle from wanted where bundle is not null group by bundle order by min(rank), min(n)",
    )
    .fetch_all(pool)
    .await?;
    Ok(digests.into_iter().map(Arc::from).collect())
}
