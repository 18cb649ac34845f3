//! Holds in Postgres. Rows are only ever inserted: a vote is not taken back, a resolution is not changed.

use sqlx::{PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{Choice, Filter, Hold, State, Vote, Wanted};

/// One page, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(pool: &PgPool, filter: &Filter, now: i64) -> Result<Vec<Hold>, sqlx::Error> {
    let rows = sqlx::query(LIST)
        .bind(filter.org.as_deref())
        .bind(filter.before)
        .bind(filter.state.map(Wanted::name))
        .bind(PAGE)
        .fetch_all(pool)
        .await?;
    with_votes(pool, rows, now).await
}

/// One hold, if it is this organisation's.
///
/// # Errors
/// When the database does not answer.
pub async fn show(
    pool: &PgPool,
    org: Option<&str>,
    id: Uuid,
    now: i64,
) -> Result<Option<Hold>, sqlx::Error> {
    let row = sqlx::query(SHOW).bind(id).bind(org).fetch_optional(pool).await?;
    Ok(with_votes(pool, row.into_iter().collect(), now).await?.pop())
}

async fn with_votes(pool: &PgPool, rows: Vec<PgRow>, now: i64) -> Result<Vec<Hold>, sqlx::Error> {
    let mut holds = rows.iter().map(|row| hold(row, now)).collect::<Result<Vec<Hold>, _>>()?;
    let ids: Vec<Uuid> = holds.iter().map(|hold| hold.id).collect();
    let votes = sqlx::query(VOTES).bind(ids).fetch_all(pool).await?;
    for row in votes {
        let id: Uuid = row.try_get("hold")?;
        let vote = vote(&row)?;
        holds
            .iter_mut()
            .filter(|hold| hold.id == id)
            .for_each(|hold| hold.votes.push(vote.clone()));
    }
    Ok(holds)
}

fn hold(row: &PgRow, now: i64) -> Result<Hold, sqlx::Error> {
    let (result, until): (Option<String>, Option<i64>) =
        (row.try_get("result")?, row.try_get("until_s")?);
    let used: bool = row.try_get("used")?;
    let state = match result.as_deref() {
        None => State::Open,
        Some("refused") => State::Refused,
        Some(_) if used => State::Used,
        Some(_) if until.is_none_or(|until| until <= now) => State::Expired,
        Some(_) => State::Released,
    };
    let persons: i16 = row.try_get("persons")?;
    Ok(Hold {
        id: row.try_get("id")?,
        state,
        org: row.try_get("org")?,
        service: row.try_get("service")?,
        operation: row.try_get("operation")?,
        at: row.try_get("at_s")?,
        rules: row.try_get("rules")?,
        persons: u16::try_from(persons).unwrap_or(u16::MAX),
        bundle: row.try_get("bundle")?,
        facts: row.try_get("facts")?,
        until,
        votes: Vec::new(),
    })
}

fn vote(row: &PgRow) -> Result<Vote, sqlx::Error> {
    let choice: &str = row.try_get("choice")?;
    let unknown = || sqlx::Error::Decode(format!("`{choice}` is no choice").into());
    Ok(Vote {
        choice: Choice::named(choice).ok_or_else(unknown)?,
        at: row.try_get("at_s")?,
        reason: row.try_get("reason")?,
    })
}

/// Holds of one page.
pub const PAGE: i64 = 50;

macro_rules! holds {
    ($where:literal) => {
        concat!(
            "select h.id, h.org, h.service, h.operation, h.at_s, h.rules, h.persons, h.bundle, h.facts,
                    r.result, r.until_s,
                    exists (select from reservation_item i join reservation o using (decision)
                            where i.kind = 'release' and i.key = h.id::text and o.state = 'confirmed') as used
             from hold h left join hold_resolution r on r.hold = h.id where ",
            $where
        )
    };
}

/// Ids are UUIDs of version 7 made by replicas, so the newest id is the newest hold but for the difference of their clocks.
const LIST: &str = holds!(
    "($1::text is null or h.org = $1) and ($2::uuid is null or h.id < $2)
     and ($3::text is null or coalesce(r.result, 'open') = $3)
     order by h.id desc limit $4"
);
const SHOW: &str = holds!("h.id = $1 and ($2::text is null or h.org = $2)");
const VOTES: &str = "
    select hold, choice, reason, extract(epoch from at)::bigint as at_s from hold_vote
    where hold = any ($1::uuid[]) order by at, n";
