//! What keys were before they were wrapped anew is forgotten, so that a former master key that leaked opens nothing. Two persons
//! decide, with a login each, as for an erasure; the database holds them to it (migration 0051).
//!
//! *Invariant:* before anything is forgotten, each key opens as it is wrapped now, and opens a value that was sealed under it:
//! what stays beside a key is the only way back from rubbish in its place.

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

/// Asks for it; gives its id, or `None` when nothing is kept under this master key, and nothing is done.
pub async fn ask_forget(
    pool: &PgPool,
    master: &str,
    by: &str,
    reason: &str,
) -> Result<Option<Uuid>, EraseError> {
    let mut connection = pool.acquire().await?;
    if !store::is_kept(&mut connection, master).await? {
        return Ok(None);
    }
    Ok(Some(store::ask(&mut connection, master, by, reason).await?))
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
    match unopened(&mut connection, privacy, master).await? {
        0 => {}
        keys => return Err(EraseError::Unopened(keys)),
    }
    let done = store::forget(&mut connection, id, master, by).await;
    let (already, keys, left) = done.map_err(|cause| refusal(cause, id))?;
    let (keys, left) = (keys.unwrap_or(0), left.unwrap_or(0));
    Ok(already.map_or(Forgot::Keys { keys, left }, Forgot::Already))
}

/// How many keys do not open as they are now, of those that were wrapped under this master key.
async fn unopened(
    connection: &mut PgConnection,
    privacy: &Privacy,
    master: &str,
) -> Result<u64, sqlx::Error> {
    let (mut last, mut wrong) = (Uuid::nil(), 0);
    loop {
        let keys = store::keys(connection, master, last, BATCH).await?;
        let Some(end) = keys.last() else { return Ok(wrong) };
        last = end.wrapped.id;
        wrong += keys.iter().filter(|key| !opens(privacy, key)).count() as u64;
    }
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
