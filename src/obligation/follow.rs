//! Reads off the rows of decisions what they ask for, each once, behind the projection of the log.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use verdict::facts::{Facts, Judgement};
use verdict::told::UNREADABLE_RECORD;

use super::store::{self, Decided, Seen};

/// (digest of the `detail` text, site) to what was asked for there.
type Known = HashMap<(Vec<u8>, String), Vec<Duty>>;

/// A code, and what the grounds that carried the decision had on file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Duty {
    code: String,
    on_file: Vec<String>,
}

/// Until it is dropped.
pub(super) async fn run(pool: PgPool) {
    let mut known = Known::new();
    let mut told = None;
    loop {
        let error = turn(&pool, &mut known).await.err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|_| error != told) {
            tracing::warn!(
                error,
                "obligations could not be read off the decisions; it is tried again"
            );
        }
        told = error;
        tokio::time::sleep(LOOK).await;
    }
}

/// All that there is now, lane after lane, some rows at a time.
async fn turn(pool: &PgPool, known: &mut Known) -> Result<(), sqlx::Error> {
    for (lane, mut from, to) in store::behind(pool).await? {
        while from < to {
            let until = to.min(from.saturating_add(ROWS));
            let rows = store::obliged(pool, lane, from, until).await?;
            let mut seen = BTreeMap::new();
            for row in rows {
                add(pool, row, known, &mut seen).await?;
            }
            // If we stop before this commits, the cursor has not moved and the same rows are read again.
            if !store::add(pool, lane, (from, until), &seen).await? {
                return Ok(()); // another replica was quicker
            }
            from = until;
        }
    }
    Ok(())
}

async fn add(
    pool: &PgPool,
    row: Decided,
    known: &mut Known,
    seen: &mut BTreeMap<[String; 5], Seen>,
) -> Result<(), sqlx::Error> {
    let key = (row.detail.clone(), row.site.clone());
    if !known.contains_key(&key) {
        let detail = store::text(pool, &row.detail).await?;
        let facts = store::text(pool, &row.facts).await?;
        let read = read(detail.as_deref(), facts.as_deref(), &row.site);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key.clone(), read.unwrap_or_else(|| vec![unread()]));
    }
    let at_s = row.at_ns.div_euclid(1_000_000_000);
    for duty in known.get(&key).into_iter().flatten() {
        let key = [&row.org, &row.service, &row.site, &duty.code, &month(at_s)].map(Clone::clone);
        let one = Seen {
            first_s: at_s,
            last_s: at_s,
            decisions: 1,
            on_file: duty.on_file.clone(),
            bundle: row.bundle.clone(),
        };
        match seen.get_mut(&key) {
            Some(known) => known.join(one),
            None => drop(seen.insert(key, one)),
        }
    }
    Ok(())
}

/// What was asked for at this site; `None` when the texts cannot be read.
fn read(detail: Option<&[u8]>, facts: Option<&[u8]>, site: &str) -> Option<Vec<Duty>> {
    let judgement: Judgement = serde_json::from_slice(detail?).ok()?;
    let facts: Facts = serde_json::from_slice(facts?).ok()?;
    let decision = &judgement.candidates.iter().find(|one| one.site == site)?.decision;
    let carried =
        |id: &Option<String>| id.is_some() && decision.reasons.iter().any(|why| why.ground == *id);
    let mut on_file = Vec::new();
    for ground in facts.question.grounds.iter().filter(|ground| carried(&ground.id)) {
        let details = serde_json::to_value(&ground.details).unwrap_or_default();
        let keys = details.as_object().into_iter().flatten();
        let there = keys.filter(|(_, value)| !value.is_null() && value.as_bool() != Some(false));
        let name = ground.r#type.as_deref().unwrap_or_default();
        on_file.extend(there.map(|(key, _)| format!("{name}/{key}")));
    }
    on_file.sort_unstable();
    on_file.dedup();
    let duty = |code: &String| Duty { code: code.clone(), on_file: on_file.clone() };
    Some(decision.obligations.iter().map(duty).collect())
}

/// Stands open like any other, so that nobody takes a text that is gone for an obligation that is not there.
fn unread() -> Duty {
    Duty { code: UNREADABLE_RECORD.to_owned(), on_file: Vec::new() }
}

/// `2026-11`, of UTC.
fn month(at_s: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("{:04}-{:02}", at.year(), u8::from(at.month()))
}

/// An obligation is there at most so much after its decision's row.
const LOOK: Duration = Duration::from_secs(1);
/// Of a lane at a time: a second's worth of the fastest traffic.
const ROWS: i64 = 8_192;
/// About 300 bytes each.
const KNOWN_MAX: usize = 16_384;
