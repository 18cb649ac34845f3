//! Reservations in Postgres. Nothing is ever deleted: a reservation ends as confirmed, released or swept.

use sqlx::{PgPool, PgTransaction, Row as _};
use uuid::Uuid;
use verdict::question::Counter;
use verdict::rule::Measure;
use verdict::volume::Slice;

use super::{Once, Sought, Uses};

/// Takes the locks, in the order given, until the transaction ends.
pub(super) async fn lock(
    transaction: &mut PgTransaction<'_>,
    names: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query("select set_config('lock_timeout', $1, true)")
        .bind(LOCK_TIMEOUT)
        .execute(&mut **transaction)
        .await?;
    let lock =
        "select pg_advisory_xact_lock(hashtextextended(name, $2)) from unnest($1::text[]) as name";
    sqlx::query(lock).bind(names).bind(LOCK_SEED).execute(&mut **transaction).await?;
    Ok(())
}

/// Gives up what nobody came back for. A reservation that is being confirmed is locked and so left alone.
pub(super) async fn sweep(transaction: &mut PgTransaction<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update reservation set state = 'swept' where decision in (
             select decision from reservation
             where state = 'reserved' and made_at < clock_timestamp() - make_interval(secs => $1)
             for update skip locked)",
    )
    .bind(STALE_S)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What was used or reserved since each window began, added up for each combination of from, categories and places.
/// What bears a later instant than ours counts too: clocks of replicas differ.
pub(super) async fn counters(
    transaction: &mut PgTransaction<'_>,
    sought: &Sought,
) -> Result<Vec<Counter>, sqlx::Error> {
    if sought.countings.is_empty() {
        return Ok(Vec::new());
    }
    let regimes: Vec<&str> = sought.countings.iter().map(|one| one.regime.as_str()).collect();
    let since: Vec<i64> = sought.countings.iter().map(|one| one.since).collect();
    let rows = sqlx::query(COUNTERS)
        .bind(&*sought.entity)
        .bind(regimes)
        .bind(since)
        .bind(AMOUNT_MAX)
        .fetch_all(&mut **transaction)
        .await?;
    let mut counters = Vec::new();
    for row in rows {
        let number: i64 = row.try_get("n")?;
        let counting = usize::try_from(number - 1).ok().and_then(|n| sought.countings.get(n));
        let Some(counting) = counting else { continue };
        for measure in &counting.measures {
            let (column, categories) = match measure {
                Measure::Subjects => ("subjects", row.try_get("categories")?),
                // whoever's data is sensitive counts whatever its categories
                Measure::SensitiveSubjects => ("sensitive", Vec::new()),
            };
            let amount: i64 = row.try_get(column)?;
            counters.push(Counter {
                regime: Some(counting.regime.clone()),
                from: row.try_get("from_place")?,
                window: Some(counting.window),
                amount_before: u64::try_from(amount).unwrap_or(0),
                categories,
                places: row.try_get("places")?,
                measure: Some(*measure),
                ..Counter::default()
            });
        }
    }
    Ok(counters)
}

/// Which of these are used up or reserved.
pub(super) async fn used_up(
    transaction: &mut PgTransaction<'_>,
    once: &[Once],
) -> Result<Vec<Once>, sqlx::Error> {
    if once.is_empty() {
        return Ok(Vec::new());
    }
    let kinds: Vec<&str> = once.iter().map(Once::kind).collect();
    let ids: Vec<&str> = once.iter().map(Once::id).collect();
    let taken: Vec<i64> = sqlx::query_scalar(
        "select o.n from unnest($1::text[], $2::text[]) with ordinality as o (kind, id, n)
         where exists (select from reservation_item i join reservation r using (decision)
                       where i.kind = o.kind and i.key = o.id and r.state in ('reserved', 'confirmed'))",
    )
    .bind(kinds)
    .bind(ids)
    .fetch_all(&mut **transaction)
    .await?;
    let at = |n: i64| usize::try_from(n - 1).ok().and_then(|n| once.get(n)).cloned();
    Ok(taken.into_iter().filter_map(at).collect())
}

pub(super) async fn take(
    transaction: &mut PgTransaction<'_>,
    id: Uuid,
    uses: &Uses,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into reservation (decision) values ($1)")
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    let mut n: i16 = 0;
    for slice in &uses.slices {
        take_slice(transaction, id, n, uses, slice).await?;
        n += 1;
    }
    for once in &uses.once {
        let insert =
            "insert into reservation_item (decision, n, kind, key) values ($1, $2, $3, $4)";
        let query = sqlx::query(insert).bind(id).bind(n).bind(once.kind()).bind(once.id());
        query.execute(&mut **transaction).await?;
        n += 1;
    }
    Ok(())
}

async fn take_slice(
    transaction: &mut PgTransaction<'_>,
    id: Uuid,
    n: i16,
    uses: &Uses,
    slice: &Slice,
) -> Result<(), sqlx::Error> {
    let amount = |count: Option<u64>| {
        count.map(|count| i64::try_from(count).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX))
    };
    sqlx::query(
        "insert into reservation_item
             (decision, n, kind, key, regime, at_s, from_place, categories, places, subjects, sensitive)
         values ($1, $2, 'slice', $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(n)
    .bind(&*uses.entity)
    .bind(&slice.regime)
    .bind(uses.at_s)
    .bind(slice.from.as_deref())
    .bind(slice.categories.as_slice())
    .bind(slice.places.as_slice())
    .bind(amount(slice.subjects))
    .bind(amount(slice.sensitive))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Gives back what is reserved under these ids and not confirmed.
pub(super) async fn release(pool: &PgPool, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    let release = "update reservation set state = 'released' where decision = any ($1) and state = 'reserved'";
    sqlx::query(release).bind(ids).execute(pool).await?;
    Ok(())
}

/// An amount that nobody knows exceeds every threshold.
const COUNTERS: &str = "
    select w.n, i.from_place, i.categories, i.places,
           case when bool_or(i.subjects is null) then $4 else least(sum(i.subjects), $4)::bigint end as subjects,
           case when bool_or(i.sensitive is null) then $4 else least(sum(i.sensitive), $4)::bigint end as sensitive
    from unnest($2::text[], $3::bigint[]) with ordinality as w (regime, since, n)
    join reservation_item i on i.kind = 'slice' and i.key = $1 and i.regime = w.regime and i.at_s >= w.since
    join reservation r on r.decision = i.decision and r.state in ('reserved', 'confirmed')
    group by w.n, i.from_place, i.categories, i.places
    order by w.n, i.from_place, i.categories, i.places";

/// Ten times as long as a record may take to be committed: who has not come back by then has died, or will find that its
/// decision falls.
pub(super) const STALE_S: f64 = 20.0;
/// Below the deadline of a desk.
const LOCK_TIMEOUT: &str = "1500ms";
/// Locks of this room are no others' by chance.
const LOCK_SEED: i64 = 0x4854_0004;
/// The largest number that a record's texts carry exactly.
const AMOUNT_MAX: i64 = (1 << 53) - 1;
