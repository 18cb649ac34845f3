//! A hold as those see it who may resolve it.

use serde::Serialize;
use uuid::Uuid;
use verdict::rule::Obligation;

/// One hold. Instants are Unix seconds.
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
    /// Codes of what a release will ask for, and what they mean where the rules say so.
    pub obligations: Vec<String>,
    #[serde(skip)]
    pub meanings: Vec<Obligation>,
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

impl Choice {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Refuse => "refuse",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
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
        [Self::Open, Self::Released, Self::Refused].into_iter().find(|wanted| wanted.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Released => "released",
            Self::Refused => "refused",
        }
    }
}
