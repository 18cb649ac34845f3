//! Obligations in Postgres: added up from the decisions' rows; closings are only ever inserted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, PgTransaction, Row as _};
use uuid::Uuid;
use verdict::rule::{Book, Obligation as Meaning};

use super::access_log::{Ran, Unexplained};
use super::read::Key;
use super::{Asked, Checked, Closed, Done, Evidence, Obligation};
use crate::audit::Act;

/// A decision that asks for something.
pub(super) struct Decided {
    pub at_ns: i64,
    pub org: String,
    pub service: String,
    pub site: String,
    pub detail: Vec<u8>,
    pub facts: Vec<u8>,
    pub bundle: Vec<u8>,
}

/// What decisions of one month ask for, to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub first_s: i64,
    pub last_s: i64,
    pub decisions: i64,
    pub on_file: Vec<String>,
    pub bundle: Vec<u8>,
}

impl Seen {
    /// With a later one.
    pub fn join(&mut self, more: Self) {
        self.first_s = self.first_s.min(more.first_s);
        self.last_s = self.last_s.max(more.last_s);
        self.decisions += more.decisions;
        self.on_file.retain(|detail| more.on_file.contains(detail));
        self.bundle = more.bundle;
    }
}

/// For each lane the next index to read, and up to where there are rows.
pub(super) async fn behind(pool: &PgPool) -> Result<Vec<(i32, i64, i64)>, sqlx::Error> {
    let select = "select p.lane, coalesce(o.next_index, 0), p.next_index
                  from projection_cursor p left join obligation_cursor o using (lane)
                  where p.next_index > coalesce(o.next_index, 0) order by p.lane";
    sqlx::query_as(select).fetch_all(pool).await
}

pub(super) async fn obliged(
    pool: &PgPool,
    lane: i32,
    from: i64,
    until: i64,
) -> Result<Vec<Decided>, sqlx::Error> {
    let select = "select at_ns, org, service, site, detail, facts, bundle from row_decision
                  where lane = $1 and index >= $2 and index < $3 and outcome = 'ALLOW_WITH_OBLIGATIONS' and site is not null
                  order by index";
    let rows = sqlx::query(select).bind(lane).bind(from).bind(until).fetch_all(pool).await?;
    let decided = |row: &PgRow| {
        Ok(Decided {
            at_ns: row.try_get("at_ns")?,
            org: row.try_get("org")?,
            service: row.try_get("service")?,
            site: row.try_get("site")?,
            detail: row.try_get("detail")?,
            facts: row.try_get("facts")?,
            bundle: row.try_get("bundle")?,
        })
    };
    rows.iter().map(decided).collect()
}

pub(super) async fn text(pool: &PgPool, digest: &[u8]) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let select = "select bytes from log_text where digest = $1";
    sqlx::query_scalar(select).bind(digest).fetch_optional(pool).await
}

/// Adds up and moves the cursor, in one transaction; false when somebody else moved it.
pub(super) async fn add(
    pool: &PgPool,
    lane: i32,
    (from, until): (i64, i64),
    seen: &BTreeMap<[String; 5], Seen>,
) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let moved = "insert into obligation_cursor (lane, next_index) values ($1, $3)
                 on conflict (lane) do update set next_index = $3 where obligation_cursor.next_index = $2";
    let moved = sqlx::query(moved).bind(lane).bind(from).bind(until);
    if moved.execute(&mut *transaction).await?.rows_affected() != 1 {
        return Ok(false);
    }
    for ([org, service, site, code, month], one) in seen {
        sqlx::query(ADD)
            .bind(org)
            .bind(service)
            .bind(site)
            .bind(code)
            .bind(month)
            .bind(one.first_s)
            .bind(one.last_s)
            .bind(one.decisions)
            .bind(&one.on_file)
            .bind(&one.bundle)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// What decisions asked for, of an organisation or of all, month after month.
pub(super) async fn asked(pool: &PgPool, org: Option<&str>) -> Result<Vec<Asked>, sqlx::Error> {
    let select = "select org, service, site, code, month, first_s, last_s, decisions, on_file, bundle from obligation
                  where $1::text is null or org = $1 order by month, org, service, site, code";
    let rows = sqlx::query(select).bind(org).fetch_all(pool).await?;
    let mut books: HashMap<Vec<u8>, Vec<Arc<Meaning>>> = HashMap::new();
    let mut all = Vec::new();
    for row in &rows {
        let bundle: Vec<u8> = row.try_get("bundle")?;
        if !books.contains_key(&bundle) {
            let meanings = meanings(text(pool, &bundle).await?.as_deref());
            books.insert(bundle.clone(), meanings);
        }
        let code: String = row.try_get("code")?;
        let meaning = books.get(&bundle).and_then(|all| all.iter().find(|one| one.id == code));
        all.push(Asked {
            org: row.try_get("org")?,
            service: row.try_get("service")?,
            site: row.try_get("site")?,
            month: row.try_get("month")?,
            first_s: row.try_get("first_s")?,
            last_s: row.try_get("last_s")?,
            decisions: row.try_get("decisions")?,
            on_file: row.try_get("on_file")?,
            meaning: meaning.cloned(),
            code,
        });
    }
    Ok(all)
}

pub(super) async fn closings(
    pool: &PgPool,
    org: Option<&str>,
) -> Result<BTreeMap<Key, Closed>, sqlx::Error> {
    let select = "select org, service, site, code, period, evidence, at_s from obligation_closing
                  where $1::text is null or org = $1";
    let rows = sqlx::query(select).bind(org).fetch_all(pool).await?;
    let closing = |row: &PgRow| {
        let key = key(row)?;
        let evidence: Vec<u8> = row.try_get("evidence")?;
        let evidence = format!("sha256:{}", hex::encode(evidence));
        Ok((key, Closed { at: row.try_get("at_s")?, evidence }))
    };
    rows.iter().map(closing).collect()
}

/// What moves when a decision is read off or an obligation is closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    read: i64,
    closed: i64,
}

pub(super) async fn mark(pool: &PgPool) -> Result<Mark, sqlx::Error> {
    let select = "select (select coalesce(sum(next_index), 0)::bigint from obligation_cursor),
                         (select count(*) from obligation_closing)";
    let (read, closed) = sqlx::query_as(select).fetch_one(pool).await?;
    Ok(Mark { read, closed })
}

/// The last comparison of each.
pub(super) async fn checks(
    pool: &PgPool,
    org: Option<&str>,
) -> Result<BTreeMap<Key, Checked>, sqlx::Error> {
    let select = "select distinct on (org, service, site, code, period) * from obligation_check
                  where $1::text is null or org = $1 order by org, service, site, code, period, n desc";
    let rows = sqlx::query(select).bind(org).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((key(row)?, checked(row)?))).collect()
}

fn key(row: &PgRow) -> Result<Key, sqlx::Error> {
    let text = |name: &str| row.try_get::<String, _>(name);
    Ok([text("org")?, text("service")?, text("site")?, text("code")?, text("period")?])
}

fn checked(row: &PgRow) -> Result<Checked, sqlx::Error> {
    let (evidence, journals): (Vec<u8>, Option<Vec<u8>>) =
        (row.try_get("evidence")?, row.try_get("journals")?);
    let findings: Json<Vec<Unexplained>> = row.try_get("findings")?;
    let mismatches = row.try_get("mismatches")?;
    Ok(Checked {
        at: row.try_get("at_s")?,
        evidence: format!("sha256:{}", hex::encode(evidence)),
        entries: row.try_get("entries")?,
        unexplained: row.try_get("unexplained")?,
        mismatches: journals.map(|_| mismatches),
        whole: row.try_get("whole")?,
        findings: findings.0,
        decisions: row.try_get("decisions")?,
    })
}

/// Keeps what a comparison found, with its record.
pub(super) async fn keep_check(
    pool: &PgPool,
    one: &Obligation,
    found: &Checked,
    evidence: &Evidence<'_>,
    act: &Act,
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let insert = "insert into obligation_check (event, org, service, site, code, period, decisions, evidence, journals, entries,
                      unexplained, mismatches, whole, findings, at_s)
                  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict (event) do nothing";
    let inserted = sqlx::query(insert)
        .bind(act.event)
        .bind(&one.org)
        .bind(&one.service)
        .bind(&one.site)
        .bind(&one.code)
        .bind(&one.period)
        .bind(found.decisions)
        .bind(evidence.digest.as_slice())
        .bind(evidence.journals.as_ref().map(|journals| journals.digest.as_slice()))
        .bind(found.entries)
        .bind(found.unexplained)
        .bind(found.mismatches.unwrap_or_default())
        .bind(found.whole)
        .bind(Json(&found.findings))
        .bind(found.at)
        .execute(&mut *transaction)
        .await?;
    if inserted.rows_affected() > 0 {
        act.tell(&mut transaction).await?;
    }
    // If we stop before the commit, nothing was compared.
    transaction.commit().await
}

/// When those of these decisions ran that were allowed for this organisation and service at this site.
pub(super) async fn ran(
    pool: &PgPool,
    one: &Obligation,
    decisions: &[Uuid],
) -> Result<BTreeMap<Uuid, Ran>, sqlx::Error> {
    let select = "select d.id, d.at_ns,
                         (select e.at_ns from row_ended e where e.decision = d.id order by e.at_ns limit 1) as ended_ns
                  from row_decision d where d.org = $1 and d.service = $2 and d.site = $3 and d.id = any ($4)";
    let mut all = BTreeMap::new();
    for some in decisions.chunks(DECISIONS_MAX) {
        let rows = sqlx::query(select).bind(&one.org).bind(&one.service).bind(&one.site).bind(some);
        for row in rows.fetch_all(pool).await? {
            let (at_ns, ended_ns): (i64, Option<i64>) =
                (row.try_get("at_ns")?, row.try_get("ended_ns")?);
            let seconds = |ns: i64| ns.div_euclid(1_000_000_000);
            let ran = Ran { from: seconds(at_ns), until: ended_ns.map(seconds) };
            all.insert(row.try_get("id")?, ran);
        }
    }
    Ok(all)
}

/// Whether every lane that has records has its first one.
pub(super) async fn log_is_whole(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let select = "select not exists (
        select from log_head h where h.size > 0
            and not exists (select from log_batch b where b.lane = h.lane and b.first_index = 0))";
    sqlx::query_scalar(select).fetch_one(pool).await
}

/// Says that it is done, with its record; false when somebody said so before.
pub(super) async fn close(
    pool: &PgPool,
    one: &Obligation,
    done: &Done<'_>,
    act: &Act,
) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let insert = "insert into obligation_closing (event, org, service, site, code, period, reason, evidence, at_s)
                  values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing";
    let inserted = sqlx::query(insert)
        .bind(act.event)
        .bind(&one.org)
        .bind(&one.service)
        .bind(&one.site)
        .bind(&one.code)
        .bind(&one.period)
        .bind(done.reason.trim())
        .bind(done.evidence.as_slice())
        .bind(done.now)
        .execute(&mut *transaction)
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    tell(&mut transaction, act).await?;
    // If we stop before the commit, nothing was said.
    transaction.commit().await?;
    Ok(true)
}

async fn tell(transaction: &mut PgTransaction<'_>, act: &Act) -> Result<(), sqlx::Error> {
    act.tell(transaction).await
}

/// The whole book is kept because it was judged with; only this part of it matters here.
fn meanings(book: Option<&[u8]>) -> Vec<Arc<Meaning>> {
    let book = book.and_then(|bytes| serde_json::from_slice::<Book>(bytes).ok());
    let all = book.map(|book| book.vocabulary.obligations).unwrap_or_default();
    all.into_iter().map(Arc::new).collect()
}

/// Of one statement.
const DECISIONS_MAX: usize = 10_000;
/// A detail counts as on file only if it was in every decision.
const ADD: &str = "
    insert into obligation as old (org, service, site, code, month, first_s, last_s, decisions, on_file, bundle)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    on conflict (org, service, site, code, month) do update
    set first_s = least(old.first_s, excluded.first_s), last_s = greatest(old.last_s, excluded.last_s),
        decisions = old.decisions + excluded.decisions, bundle = excluded.bundle,
        on_file = array(select unnest(old.on_file) intersect select unnest(excluded.on_file) order by 1)";
