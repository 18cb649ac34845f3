//! A machine holds a provider's access log, and the journals of the site's guard, against what the log allowed there. Found whole, the
//! obligation is met; else it stays as it is, with what is unexplained beside it.
//!
//! *Invariant:* what is compared is the file that the provider named by its digest; each comparison is kept and is a record, whatever
//! it found.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use time::{Date, Month, OffsetDateTime, Time};
use uuid::Uuid;
use verdict::rule::Check;
use verdict::stamp::Stamp;

use super::access_log::{self, Delivered, Unexplained, Unreadable};
use super::{Obligation, State, read, store, uuid_of};
use crate::audit::{Act, ActKind};

/// What is compared, and who has it compared.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The provider's log, as it was delivered.
    pub file: &'a [u8],
    /// SHA-256 that the provider gave with it.
    pub digest: [u8; 32],
    pub journals: Option<Journals>,
    pub person: &'a str,
    /// Unix seconds.
    pub now: i64,
}

/// The guard's journals, held against the log already.
#[derive(Debug, Clone, Copy)]
pub struct Journals {
    /// SHA-256 over the digests of the files.
    pub digest: [u8; 32],
    pub mismatches: u64,
    /// Up to when, Unix seconds.
    pub until: i64,
    /// Of their last line, Unix seconds: nothing shows what was let in after it.
    pub last: i64,
}

/// What the last comparison of a period found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Unix seconds.
    pub at: i64,
    /// `sha256:` and hex of the delivered file.
    pub evidence: String,
    pub entries: i64,
    pub unexplained: i64,
    /// Of the guard's journals; absent where none were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatches: Option<i64>,
    /// The period is over, and all of it since the first decision was compared.
    pub whole: bool,
    /// The first of the unexplained.
    pub findings: Vec<Unexplained>,
    /// How many decisions asked for it then.
    #[serde(skip)]
    pub decisions: i64,
}

impl Checked {
    /// Whether there was nothing that somebody must explain.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.whole && self.unexplained == 0 && self.mismatches.unwrap_or_default() == 0
    }
}

/// Why nothing was compared. Nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("no such obligation: `haetae obligation list` shows those there are")]
    NotFound,
    #[error(
        "no machine looks at a provider's log for `{0}`: close it with the evidence that it needs"
    )]
    NotOfThisKind(String),
    #[error("this obligation is {} already", .0.name())]
    NotOpen(State),
    #[error(
        "the file has another digest than its provider gave, sha256:{0}: have it delivered again"
    )]
    Digest(String),
    #[error("the file is of site `{found}`, the obligation of `{wanted}`")]
    Site { found: String, wanted: String },
    #[error(
        "the journals end at {last}, and show nothing of what was let in until {until}, a minute after the period: give them as they \
         are now, and if the guard has let in and refused nobody since, start it again (it writes a line)"
    )]
    JournalsEnd { last: String, until: String },
    #[error("the provider's log cannot be read: {0}")]
    File(#[from] Unreadable),
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Compares, keeps what was found with its record, and gives the obligation as it stands then.
///
/// # Errors
/// See [`CheckError`].
pub async fn check(
    pool: &PgPool,
    id: &str,
    evidence: &Evidence<'_>,
) -> Result<Obligation, CheckError> {
    let found: [u8; 32] = Sha256::digest(evidence.file).into();
    if found != evidence.digest {
        return Err(CheckError::Digest(hex::encode(found)));
    }
    let one = find(pool, id, evidence.now).await?;
    let looked_up = one.meaning.as_ref().and_then(|meaning| meaning.check.as_ref());
    if looked_up != Some(&Check::AccessLog) {
        return Err(CheckError::NotOfThisKind(one.code));
    }
    if !one.state.calls_for_somebody() {
        return Err(CheckError::NotOpen(one.state));
    }
    let delivered = access_log::read(evidence.file)?;
    if delivered.site != one.site {
        return Err(CheckError::Site { found: delivered.site, wanted: one.site });
    }
    if let Some(journals) = &evidence.journals {
        reach(journals, &one)?;
    }
    let ran = store::ran(pool, &one, &delivered.decisions()).await?;
    let mut findings = delivered.unexplained(&ran);
    let unexplained = findings.len();
    findings.truncate(FINDINGS_MAX);
    let checked = Checked {
        at: evidence.now,
        evidence: format!("sha256:{}", hex::encode(found)),
        entries: count(delivered.count()),
        unexplained: count(unexplained),
        mismatches: evidence.journals.map(|one| i64::try_from(one.mismatches).unwrap_or(i64::MAX)),
        whole: is_whole(&one, &delivered, evidence),
        findings,
        decisions: one.decisions,
    };
    let act = act(&one, evidence, &checked, &delivered.provider);
    store::keep_check(pool, &one, &checked, evidence, &act).await?;
    find(pool, id, evidence.now).await
}

async fn find(pool: &PgPool, id: &str, now: i64) -> Result<Obligation, CheckError> {
    let all = read::list(pool, None, now).await?;
    all.into_iter().find(|one| one.id == id).ok_or(CheckError::NotFound)
}

/// Of a period that is over the journals must show all: a copy that was made before shows nobody who was let in after it. Of one
/// that is not over, nothing is concluded yet.
fn reach(journals: &Journals, one: &Obligation) -> Result<(), CheckError> {
    let Some((_, over)) = one.span().filter(|(_, over)| *over <= journals.until) else {
        return Ok(());
    };
    let until = over.saturating_add(UNDER_WAY_S);
    if journals.last >= until {
        return Ok(());
    }
    let told = |at| Stamp::at(at).map_or_else(|_| at.to_string(), |stamp| stamp.to_string());
    Err(CheckError::JournalsEnd { last: told(journals.last), until: told(until) })
}

fn is_whole(one: &Obligation, delivered: &Delivered, evidence: &Evidence<'_>) -> bool {
    let compared =
        evidence.journals.map_or(evidence.now, |journals| journals.until.min(evidence.now));
    one.span().is_some_and(|(_, until)| until <= compared && delivered.covers(one.first, until))
}

impl Obligation {
    /// From when (Unix second) its period lasts, and when it is over; `None` of one that serves once.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        let (year, month) = match self.period.split_once('-') {
            Some((year, month)) => (year, Some(month.parse::<u8>().ok()?)),
            None => (self.period.as_str(), None),
        };
        let year: i32 = year.parse().ok()?;
        let first = Month::try_from(month.unwrap_or(1)).ok()?;
        let after = if month.is_some() { first.next() } else { Month::January };
        let turns = i32::from(after == Month::January);
        Some((start(year, first)?, start(year.checked_add(turns)?, after)?))
    }
}

/// Of a month, in UTC.
fn start(year: i32, month: Month) -> Option<i64> {
    let day = Date::from_calendar_date(year, month, 1).ok()?;
    Some(OffsetDateTime::new_utc(day, Time::MIDNIGHT).unix_timestamp())
}

fn act(one: &Obligation, evidence: &Evidence<'_>, checked: &Checked, provider: &str) -> Act {
    let texts = [
        ("act", "obligation_check".to_owned()),
        ("obligation", one.code.clone()),
        ("org", one.org.clone()),
        ("service", one.service.clone()),
        ("site", one.site.clone()),
        ("period", one.period.clone()),
        ("provider", provider.to_owned()),
        ("evidence", STANDARD.encode(evidence.digest)),
    ];
    let mut body: Map<String, Value> =
        texts.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
    body.insert("entries".into(), checked.entries.into());
    body.insert("unexplained".into(), checked.unexplained.into());
    if let Some(journals) = evidence.journals {
        body.insert("journals".into(), STANDARD.encode(journals.digest).into());
        body.insert("mismatches".into(), checked.mismatches.into());
    }
    if checked.whole {
        body.insert("whole".into(), true.into());
    }
    let (event, people) = (event(one, evidence), vec![evidence.person.into()]);
    Act { event, kind: ActKind::Review, people, body }
}

/// The same file looked at in the same second, on the same decisions, is the same act.
fn event(one: &Obligation, evidence: &Evidence<'_>) -> Uuid {
    let digest = Sha256::new()
        .chain_update(&one.id)
        .chain_update(evidence.digest)
        .chain_update(one.decisions.to_be_bytes())
        .chain_update(evidence.now.to_be_bytes())
        .finalize();
    uuid_of(&digest)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A receipt is good for a minute, and clocks differ by seconds.
const UNDER_WAY_S: i64 = 65;
/// Of a file that explains nothing the first hundred show it; the file has the rest.
const FINDINGS_MAX: usize = 100;
