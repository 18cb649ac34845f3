//! Holds in Postgres. Rows are only ever inserted: a vote is not taken back, a resolution is not changed.

use std::collections::BTreeMap;

use sqlx::{PgPool, PgTransaction, Row as _, postgres::PgRow};
use uuid::Uuid;
use verdict::question::Release;
use verdict::stamp::Stamp;

use super::asked::AsksFor;
use super::vote::End;
use super::{Choice, Filter, Hold, OnFile, Same, Say, State, Vote, Waiting, Wanted, person};
use crate::audit::Act;

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

/// Releases of this request that nobody used, but for those that the asker gave, and what waits for votes.
pub(super) async fn on_file(pool: &PgPool, same: Same<'_>) -> Result<OnFile, sqlx::Error> {
    let Same { org, request, actor, now } = same;
    let rows = sqlx::query(ON_FILE)
        .bind(org)
        .bind(request.as_slice())
        .bind(now)
        .bind(ON_FILE_MAX)
        .fetch_all(pool)
        .await?;
    let mut found = OnFile::default();
    for row in rows {
        let (salt, asked): (Vec<u8>, Vec<u8>) = (row.try_get("asked_salt")?, row.try_get("asked")?);
        let voters: Vec<Vec<u8>> = row.try_get("voters")?;
        let own = person(&salt, actor);
        let until: Option<i64> = row.try_get("until_s")?;
        match until {
            Some(until) if voters.iter().all(|voter| *voter != own) => {
                found.releases.push(release(&row, until)?);
            }
            None if asked == own => found.waiting.push(Waiting {
                id: row.try_get("id")?,
                facts: row.try_get("facts")?,
                bundle: row.try_get("bundle")?,
            }),
            _ => {}
        }
    }
    Ok(found)
}

fn release(row: &PgRow, until_s: i64) -> Result<Release, sqlx::Error> {
    let stamp = |seconds| Stamp::at(seconds).map_err(|error| sqlx::Error::Decode(Box::new(error)));
    let id: Uuid = row.try_get("id")?;
    Ok(Release {
        id: Some(id.to_string()),
        hold: Some(id.to_string()),
        rules: row.try_get("rules")?,
        facts: Some(row.try_get("facts")?),
        bundle: Some(row.try_get("bundle")?),
        valid_from: Some(stamp(row.try_get("from_s")?)?),
        valid_until: Some(stamp(until_s)?),
    })
}

/// A hold while somebody votes on it: nobody else does until this is closed or dropped.
pub(super) struct Desk {
    transaction: PgTransaction<'static>,
    pub hold: Hold,
    pub salt: Vec<u8>,
    pub votes: Vec<Counted>,
    /// Everybody who asked for the same, each with a salt.
    pub askers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A vote that was counted.
pub(super) struct Counted {
    pub person: [u8; 32],
    pub choice: Choice,
    pub for_s: Option<i64>,
}

impl Desk {
    pub async fn open(
        pool: &PgPool,
        org: Option<&str>,
        id: Uuid,
        now: i64,
    ) -> Result<Option<Self>, sqlx::Error> {
        let mut transaction = pool.begin().await?;
        sqlx::query(LOCK).bind(id.to_string()).bind(LOCK_SEED).execute(&mut *transaction).await?;
        let row = sqlx::query(SHOW).bind(id).bind(org).fetch_optional(&mut *transaction).await?;
        let Some(row) = row else { return Ok(None) };
        let hold = hold(&row, now)?;
        let salt: Vec<u8> = sqlx::query_scalar("select asked_salt from hold where id = $1")
            .bind(id)
            .fetch_one(&mut *transaction)
            .await?;
        let askers = sqlx::query_as(ASKERS).bind(id).fetch_all(&mut *transaction).await?;
        let rows: Vec<(Vec<u8>, String, Option<i64>)> = sqlx::query_as(
            "select person, choice, for_s from hold_vote where hold = $1 order by n",
        )
        .bind(id)
        .fetch_all(&mut *transaction)
        .await?;
        let votes = rows
            .into_iter()
            .filter_map(|(person, choice, for_s)| Counted::of(person, &choice, for_s));
        Ok(Some(Self { votes: votes.collect(), transaction, hold, salt, askers }))
    }

    pub async fn count(
        &mut self,
        person: [u8; 32],
        say: &Say<'_>,
        n: usize,
    ) -> Result<(), sqlx::Error> {
        let insert = "insert into hold_vote (hold, n, person, choice, reason, for_s) values ($1, $2, $3, $4, $5, $6)";
        sqlx::query(insert)
            .bind(self.hold.id)
            .bind(i16::try_from(n).unwrap_or(i16::MAX))
            .bind(person.as_slice())
            .bind(say.choice.name())
            .bind(say.reason)
            .bind((say.choice == Choice::Release).then_some(say.for_s))
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    pub async fn resolve(&mut self, end: &End) -> Result<(), sqlx::Error> {
        let (from_s, until_s) = match *end {
            End::Released { from_s, until_s } => (Some(from_s), Some(until_s)),
            End::Refused => (None, None),
        };
        let insert =
            "insert into hold_resolution (hold, result, from_s, until_s) values ($1, $2, $3, $4)";
        sqlx::query(insert)
            .bind(self.hold.id)
            .bind(end.name())
            .bind(from_s)
            .bind(until_s)
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    pub async fn tell(&mut self, act: &Act) -> Result<(), sqlx::Error> {
        act.tell(&mut self.transaction).await
    }

    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

async fn with_votes(pool: &PgPool, rows: Vec<PgRow>, now: i64) -> Result<Vec<Hold>, sqlx::Error> {
    let mut holds = rows.iter().map(|row| hold(row, now)).collect::<Result<Vec<Hold>, _>>()?;
    with_obligations(pool, &rows, &mut holds).await?;
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

/// Read off what was judged and with which rules: each text once, however many holds rest on it.
async fn with_obligations(
    pool: &PgPool,
    rows: &[PgRow],
    holds: &mut [Hold],
) -> Result<(), sqlx::Error> {
    let mut known: BTreeMap<(Vec<u8>, String), AsksFor> = BTreeMap::new();
    for (row, hold) in rows.iter().zip(holds) {
        let key = (row.try_get::<Vec<u8>, _>("detail")?, hold.bundle.clone());
        if !known.contains_key(&key) {
            let book = hex::decode(key.1.strip_prefix("sha256:").unwrap_or_default());
            let detail = text(pool, &key.0).await?;
            let book = text(pool, &book.unwrap_or_default()).await?;
            known.insert(key.clone(), AsksFor::read(detail.as_deref(), book.as_deref()));
        }
        if let Some(AsksFor { codes, meanings }) = known.get(&key) {
            (hold.obligations, hold.meanings) = (codes.clone(), meanings.clone());
        }
    }
    Ok(())
}

async fn text(pool: &PgPool, digest: &[u8]) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let select = "select bytes from log_text where digest = $1";
    sqlx::query_scalar(select).bind(digest).fetch_optional(pool).await
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
        obligations: Vec::new(),
        meanings: Vec::new(),
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
/// Holds of one request that are looked at: as many as have come up since the oldest that is still of use.
const ON_FILE_MAX: i64 = 64;
const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended($1, $2))";
/// Keeps these locks apart from those of reservations.
const LOCK_SEED: i64 = 0x4854_0004;

macro_rules! used {
    () => {
        "exists (select from reservation_item i join reservation o using (decision)
                 where i.kind = 'release' and i.key = h.id::text and o.state = 'confirmed')"
    };
}

macro_rules! holds {
    ($where:literal) => {
        concat!(
            "select h.id, h.org, h.service, h.operation, h.at_s, h.rules, h.persons, h.bundle, h.facts, h.detail,
                    r.result, r.until_s, ",
            used!(),
            " as used from hold h left join hold_resolution r on r.hold = h.id where ",
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
    where hold = any ($1::uuid[]) order by hold, n";
const ON_FILE: &str = concat!(
    "select h.id, h.rules, h.facts, h.bundle, h.asked_salt, h.asked, r.from_s, r.until_s,
            coalesce((select array_agg(v.person) from hold_vote v where v.hold = h.id), '{}') as voters
     from hold h left join hold_resolution r on r.hold = h.id
     where h.org = $1 and h.request = $2
       and (r.hold is null or (r.result = 'released' and r.until_s > $3 and not ",
    used!(),
    ")) order by h.id desc limit $4"
);
const ASKERS: &str = "
    select other.asked_salt, other.asked
    from hold h join hold other on other.org = h.org and other.request = h.request where h.id = $1";
