//! What keys were before they were wrapped anew is forgotten, so that a former master key that leaked opens nothing. Two persons
//! decide, with a login each, as for an erasure; the database holds them to it (migration 0051).
//!
//! *Invariant:* before anything is asked for, and before it is forgotten, each key opens as it is wrapped now, and opens a value that
//! was sealed under it: what stays beside a key is the only way back from rubbish in its place. Each person's command looks by itself,
//! since the other may be who put it there.

pub(super) mod store;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    disclose,
    erase::{EraseError, refusal},
    store::Kept,
};
use crate::privacy::Privacy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgot {
    /// Former forms of so many keys are gone; what was replaced after it was asked for is left.
    Keys { keys: i64, left: i64 },
    /// It was done before, at this Unix second.
    Already(i64),
}

/// Asks for it, if each key opens; gives its id, or `None` when nothing is kept under this master key, and nothing is done.
pub async fn ask_forget(
    pool: &PgPool,
    privacy: &Privacy,
    master: &str,
    by: &str,
    reason: &str,
) -> Result<Option<Uuid>, EraseError> {
    let mut transaction = pool.begin().await?;
    if !store::is_kept(&mut transaction, master).await? {
        return Ok(None);
    }
    // What is asked for is settled first: what is replaced while we look is not among it.
    let id = store::ask(&mut transaction, master, by, reason).await?;
    all_open(&mut transaction, privacy, master).await?;
    // If we stop before this, nobody asked.
    transaction.commit().await?;
    Ok(Some(id))
}

/// Forgets, if another person with another login asked for the same. The second time it does nothing.
pub async fn confirm_forget(
    pool: &PgPool,
    privacy: &Privacy,
    id: Uuid,
    master: &str,
    by: &str,
) -> Result<Forgot, EraseError> {
    let mut connection = pool.acquire().await?;
    all_open(&mut connection, privacy, master).await?;
    let done = store::forget(&mut connection, id, master, by).await;
    let (already, keys, left) = done.map_err(|cause| refusal(cause, id))?;
    let (keys, left) = (keys.unwrap_or(0), left.unwrap_or(0));
    Ok(already.map_or(Forgot::Keys { keys, left }, Forgot::Already))
}

/// Each key opens as it is now, of those that were wrapped under this master key.
async fn all_open(
    connection: &mut PgConnection,
    privacy: &Privacy,
    master: &str,
) -> Result<(), EraseError> {
    let (mut last, mut wrong) = (Uuid::nil(), 0);
    loop {
        let keys = store::keys(connection, master, last, BATCH).await?;
        let Some(end) = keys.last() else { break };
        last = end.wrapped.id;
        wrong += keys.iter().filter(|key| !opens(privacy, key)).count() as u64;
    }
    if wrong == 0 { Ok(()) } else { Err(EraseError::Unopened(wrong)) }
}

fn opens(privacy: &Privacy, key: &store::Key) -> bool {
    let whole = |(digest, kept): &([u8; 32], Kept)| {
        let hidden = disclose::open(privacy, kept, digest).ok().flatten();
        hidden.is_some_and(|hidden| hidden.digest() == *digest)
    };
    privacy.owns(&key.wrapped) && key.value.as_ref().is_none_or(whole)
}

/// With a sealed value each: some hundred kB.
const BATCH: i64 = 1_000;
