//! What waits for people: questions that a rule held for review, the votes on them, and the releases that come of these.
//!
//! A hold is opened by the statement that writes its decision (`audit`). It ends by votes: one person who refuses it, or
//! as many different persons as its rules ask for who release it, none of them the one who asked. A release lets the same
//! request pass once within its time; it is used up as everything is that serves once (`reserve`).
//!
//! *Invariant:* nobody's name is kept here: persons are told apart by digests with the hold's own salt.

pub mod store;

use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

/// One hold, as those see it who may resolve it. Instants are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Also the id of the decision that was held.
    pub id: Uuid,
    pub state: State,
    #[serde(skip)]
    pub org: String,
    pub service: String,
    pub operation: String,
    /// When it was asked.
    pub at: i64,
    /// Rules that hold it.
    pub rules: Vec<String>,
    /// How many different persons must agree to release it.
    pub persons: u16,
    /// A release is for these rules and these facts only.
    pub bundle: String,
    pub facts: String,
    /// When its release ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    pub votes: Vec<Vote>,
}

/// How a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Open,
    /// The same request passes once, until its time is over.
    Released,
    /// It has passed.
    Used,
    /// Its time was over before it passed.
    Expired,
    Refused,
}

/// What one person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vote {
    pub choice: Choice,
    pub at: i64,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    Release,
    Refuse,
}

/// Which holds a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this organisation's.
    pub org: Option<String>,
    pub state: Option<Wanted>,
    /// Older than this hold: the last of the page before.
    pub before: Option<Uuid>,
}

/// How far a hold of a list has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Open,
    Released,
    Refused,
}

/// The holds of this deployment, as the gateway sees them.
#[derive(Debug, Clone)]
pub struct Holds {
    pool: PgPool,
}

impl Holds {
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// One page, newest first, at most [`store::PAGE`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, filter: &Filter, now: i64) -> Result<Vec<Hold>, sqlx::Error> {
        store::list(&self.pool, filter, now).await
    }

    /// One hold of an organisation.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn show(&self, org: &str, id: Uuid, now: i64) -> Result<Option<Hold>, sqlx::Error> {
        store::show(&self.pool, Some(org), id, now).await
    }
}

impl Choice {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Refuse => "refuse",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Release, Self::Refuse].into_iter().find(|choice| choice.name() == name)
    }
}

impl State {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Released => "released",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }
}

impl Wanted {
    /// `open`, `released` or `refused`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "open" => Some(Self::Open),
            "released" => Some(Self::Released),
            "refused" => Some(Self::Refused),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Released => "released",
            Self::Refused => "refused",
        }
    }
}
