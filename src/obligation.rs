//! What decisions ask for after they allowed: open, until somebody says that it was done and shows by what, or a machine finds
//! it fulfilled.
//!
//! Obligations are read off the recorded decisions ([`follow`]), one for each organisation, service, site, code and period:
//! a million requests do not open a million. What a code means, for how long it serves and when it is due, the bundle says
//! that was judged with.
//!
//! *Invariant:* nothing is closed without a person, a reason, the digest of an evidence, and a record of all three; nothing
//! that a recorded decision asks for is left out.

pub mod access_log;
mod check;
mod close;
mod follow;
mod metrics;
mod read;
pub mod store;
mod watch;

use std::sync::Arc;

use prometheus_client::registry::Registry;
use serde::Serialize;
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;
use verdict::rule::{Check, Every, Obligation as Meaning};
use verdict::told::{self, Duty, Language};

use crate::clock::Clock;
use metrics::Metrics;

pub use check::{CheckError, Checked, Evidence, Journals, check};
pub use close::{CloseError, Done, close};

/// One obligation for one period. Instants are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obligation {
    /// 32 hex digits: the same for the same organisation, service, site, code and period.
    pub id: String,
    pub state: State,
    #[serde(skip)]
    pub org: String,
    pub service: String,
    pub site: String,
    /// As the rule says it, e.g. `FSS_REPORT`.
    pub code: String,
    /// `once`, a year or a month.
    pub period: String,
    /// When decisions first and last asked for it, and how many did.
    pub first: i64,
    pub last: i64,
    pub decisions: i64,
    /// When it must be done, where its source gives a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<i64>,
    /// What its bundle says of the code; absent if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Arc<Meaning>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    /// What a machine found of a delivered log, the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
}

/// What is on record of its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closed {
    pub at: i64,
    /// `sha256:` and hex.
    pub evidence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A machine looked, and it is not fulfilled.
    Broken,
    /// Open, and its time is over.
    Overdue,
    /// Somebody must do it and say so.
    Open,
    /// A machine found it fulfilled, in every decision that asks for it.
    Met,
    /// Somebody said that it was done.
    Closed,
}

/// What decisions of one month ask for, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub org: String,
    pub service: String,
    pub site: String,
    pub code: String,
    /// `2026-11`.
    pub month: String,
    pub first_s: i64,
    pub last_s: i64,
    pub decisions: i64,
    pub on_file: Vec<String>,
    pub meaning: Option<Arc<Meaning>>,
}

/// The obligations of this deployment, as the gateway sees them.
#[derive(Debug, Clone)]
pub struct Obligations {
    pool: PgPool,
    metrics: Arc<Metrics>,
}

impl Obligations {
    /// Reads them off the decisions until `stop`; any replica does, one at a time. Each counts them for its own metrics.
    /// `aside` is for these two alone.
    #[must_use]
    pub fn start(
        pool: PgPool,
        aside: &PgPool,
        clock: Clock,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let following = follow::run(aside.clone());
        tracker.spawn(stop.clone().run_until_cancelled_owned(following));
        let counting = watch::run(aside.clone(), clock, Arc::clone(&metrics));
        tracker.spawn(stop.clone().run_until_cancelled_owned(counting));
        Self { pool, metrics }
    }

    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Those of an organisation, the most pressing first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, org: &str, now: i64) -> Result<Vec<Obligation>, sqlx::Error> {
        read::list(&self.pool, Some(org), now).await
    }

    /// # Errors
    /// See [`CloseError`].
    pub async fn close(
        &self,
        org: &str,
        id: &str,
        done: &Done<'_>,
    ) -> Result<Obligation, CloseError> {
        close(&self.pool, Some(org), id, done).await
    }
}

impl Obligation {
    /// In words.
    #[must_use]
    pub fn told(&self, language: Language) -> Duty {
        told::duty(&self.code, self.meaning.as_deref(), self.due, language)
    }
}

/// Those of an organisation or of all, the most pressing first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    pool: &PgPool,
    org: Option<&str>,
    now: i64,
) -> Result<Vec<Obligation>, sqlx::Error> {
    read::list(pool, org, now).await
}

impl State {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Overdue => "overdue",
            Self::Open => "open",
            Self::Met => "met",
            Self::Closed => "closed",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Broken, Self::Overdue, Self::Open, Self::Met, Self::Closed]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Whether somebody has to do something.
    #[must_use]
    pub const fn calls_for_somebody(self) -> bool {
        matches!(self, Self::Broken | Self::Overdue | Self::Open)
    }
}

/// The period of a month of one that serves so long.
fn period(every: Every, month: &str) -> &str {
    match every {
        Every::Once => ONCE,
        Every::Year => month.get(..4).unwrap_or(month),
        Every::Month => month,
    }
}

/// How a detail of a ground is written where it is kept.
fn on_file(check: &Check) -> Option<String> {
    let Check::Ground { r#type, detail } = check else { return None };
    Some(format!("{type}/{}", detail.name()))
}

/// The name of an act, of the digest of what makes it the same one.
fn uuid_of(digest: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, own)| *byte = *own);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

const ONCE: &str = "once";
