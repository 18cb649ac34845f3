//! What gives a bundle its force: who proposed it, who approved it, and since which version of the facts it is in force.
//!
//! A bundle is kept in the database under the digest of its files ([`store`]). Whoever acts on it signs exactly what is to
//! happen ([`note`]), and each row of the history must follow from the one before ([`chain`]): so says the command that
//! writes it, and every replica again before it judges with it ([`keeper`]), so that a row that somebody wrote by hand
//! brings nothing into force.
//!
//! *Invariant:* a bundle comes into force, or ceases to be, only with a new version of the facts, in one transaction.

mod chain;
mod keeper;
mod metrics;
pub mod note;
mod promise;
pub mod replica;
pub mod store;

use std::fmt;
use std::sync::Arc;

use crate::registry::RegistryError;

pub use chain::{Approver, BOX_S_MAX, Chain, Role, signers};
pub use keeper::{Health, Mandate, Parts, tried};

/// How a bundle came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Two approved it, one of them not an administrator of the platform.
    Activate,
    /// Back to the bundle that was replaced.
    Rollback,
    /// One person's word, for a while, then back.
    BreakGlass,
    /// The while is over.
    FallBack,
}

/// A bundle as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `sha256:` and hex over its files.
    pub digest: Arc<str>,
    /// The same over its rules (a record's `bundle`) and its access sheets.
    pub rulebook: Arc<str>,
    pub access: Arc<str>,
    /// Name and version as its bundle.toml says.
    pub title: String,
    /// What it is for, in the words of who proposed it.
    pub purpose: String,
    pub proposed_by: String,
    /// Unix seconds.
    pub proposed_at_s: i64,
}

/// One row of the history: a bundle that came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enacted {
    pub version: i64,
    pub bundle: Arc<str>,
    pub how: How,
    /// The bundle of the database that was in force before.
    pub previous: Option<Arc<str>>,
    /// Of a break-glass: the unix second from which it is over, and what is in force then.
    pub until_s: Option<i64>,
    pub falls_back_to: Option<Arc<str>>,
    pub reason: String,
    /// Signed notes.
    pub notes: Vec<String>,
    pub by: String,
    /// Unix seconds.
    pub at_s: i64,
    /// Of the bundle: what was signed says them too.
    pub rulebook: Arc<str>,
    pub access: Arc<str>,
}

/// Why an act on a bundle did not happen. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MandateError {
    #[error("the policies' database: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("bundle `{0}` is not in the database: propose it first (`haetae policy propose DIR`)")]
    NotStored(String),
    #[error("`{0}` in the database is not understood: written by a newer version of Haetae?")]
    Unknown(String),
    /// The act does not follow from what is in force.
    #[error("{0}")]
    Refused(String),
}

impl How {
    /// As in the database and in what is signed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::BreakGlass => "break_glass",
            Self::FallBack => "fall_back",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Activate, Self::Rollback, Self::BreakGlass, Self::FallBack]
            .into_iter()
            .find(|how| how.name() == name)
    }
}

impl fmt::Display for How {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
