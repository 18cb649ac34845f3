//! Reviewers' logins and what of the log each of them sees with `psql`: decisions that a regime of its authority touches.
//!
//! *Invariant:* what a login sees is decided by the database (row-level security, migration 0044), never by who asks it.

mod store;

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Act, ActKind};

/// A login of the database, and for whom it reviews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewer {
    pub role: String,
    pub authority: String,
    pub regimes: Vec<String>,
}

/// Why a login was not made a reviewer. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewerError {
    #[error("the database has no login `{0}`: `create role NAME login`")]
    NoRole(String),
    #[error(
        "`{0}` would see everything all the same: it is, or may become by `set role`, one who is a superuser, passes row-level security, \
         replicates, makes roles, reads or writes the server's files, says who reviews what (`pg_write_all_data`), or may read tables of \
         the log (their owner, a member of another group of Haetae or of `pg_read_all_data`)"
    )]
    SeesAll(String),
    #[error("`{0}` is no reviewer")]
    NoReviewer(String),
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Lets a login see what these regimes touch, beside what it sees already. Takes the rights of the tables' owner.
pub async fn add_reviewer(
    owner: &PgPool,
    reviewer: &Reviewer,
    event: Uuid,
    by: &str,
) -> Result<(), ReviewerError> {
    let mut transaction = owner.begin().await?;
    match store::sees_all(&mut transaction, &reviewer.role).await? {
        None => return Err(ReviewerError::NoRole(reviewer.role.clone())),
        Some(true) => return Err(ReviewerError::SeesAll(reviewer.role.clone())),
        Some(false) => {}
    }
    store::add(&mut transaction, reviewer).await?;
    act(event, "reviewer_added", by, reviewer).tell(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// From now on the login sees nothing.
pub async fn remove_reviewer(
    owner: &PgPool,
    role: &str,
    event: Uuid,
    by: &str,
) -> Result<(), ReviewerError> {
    let mut transaction = owner.begin().await?;
    let regimes = store::remove(&mut transaction, role).await?;
    if regimes.is_empty() {
        return Err(ReviewerError::NoReviewer(role.to_owned()));
    }
    let reviewer = Reviewer { role: role.to_owned(), authority: String::new(), regimes };
    act(event, "reviewer_removed", by, &reviewer).tell(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Who reviews for whom, and whether the login may see everything by now, or is gone (`None`).
pub async fn reviewers(pool: &PgPool) -> Result<Vec<(Reviewer, Option<bool>)>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let mut all = Vec::new();
    for reviewer in store::all(pool).await? {
        let sees_all = store::sees_all(&mut connection, &reviewer.role).await?;
        all.push((reviewer, sees_all));
    }
    Ok(all)
}

fn act(event: Uuid, what: &str, by: &str, reviewer: &Reviewer) -> Act {
    let authority = Some(&reviewer.authority).filter(|name| !name.is_empty());
    let body = json!({
        "act": what, "login": reviewer.role, "authority": authority, "regimes": reviewer.regimes,
    });
    Act::new(event, ActKind::AccessChange, &[by], &body)
}
