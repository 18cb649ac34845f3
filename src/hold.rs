//! What waits for people: questions that a rule held for review, the votes on them, and the releases that come of these.
//!
//! A hold is opened by the statement that writes its decision (`audit`). It ends by votes: one person who refuses it, or
//! as many different persons as its rules ask for who release it. Nobody votes on what that person asked, nor uses what
//! that person let pass. A release lets the same request pass once within its time, on the facts and under the rules that
//! were held (`verdict` sees to it); it is used up as everything is that serves once (`reserve`).
//!
//! *Invariant:* nobody's name is kept here: persons are told apart by digests with the hold's own salt.

mod asked;
mod show;
pub mod store;
mod vote;

use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;
use verdict::question::Release;

pub use show::{Choice, Filter, Hold, State, Vote, Wanted};
pub use vote::{Say, VoteError, vote};

/// The holds of this deployment, as the gateway sees them.
#[derive(Debug, Clone)]
pub struct Holds {
    pool: PgPool,
}

/// Somebody's request, as holds know it.
#[derive(Debug, Clone, Copy)]
pub struct Same<'a> {
    pub org: &'a str,
    /// SHA-256 over what makes another request the same one.
    pub request: &'a [u8; 32],
    /// Who asks now.
    pub actor: &'a str,
    /// Unix seconds.
    pub now: i64,
}

/// What is on file for a request that a rule holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnFile {
    /// Releases that were not used and whose time is not over; `verdict` says whether they count.
    pub releases: Vec<Release>,
    /// Holds of the same person that wait: a second one would only be more to read.
    pub waiting: Vec<Waiting>,
}

/// A hold that waits for votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub id: Uuid,
    pub facts: String,
    pub bundle: String,
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

    /// Counts a person's vote on a hold of this organisation; gives the hold as it stands then.
    ///
    /// # Errors
    /// When there is no such hold, it waits for no vote, the person may not vote, or the database does not answer.
    pub async fn vote(
        &self,
        org: &str,
        id: Uuid,
        say: &Say<'_>,
        now: i64,
    ) -> Result<Hold, VoteError> {
        vote(&self.pool, Some(org), id, say, now).await
    }

    /// What is on file for this very request.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn on_file(&self, same: Same<'_>) -> Result<OnFile, sqlx::Error> {
        store::on_file(&self.pool, same).await
    }
}

/// Tells persons apart without naming them.
fn person(salt: &[u8], name: &str) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(name.as_bytes()).finalize().into()
}
