//! A person is erased: salts, values and data keys are destroyed, and what the log proves stays as it was. Two persons decide.
//!
//! *Invariant:* no record is committed after an erasure that uses what was erased; what this room keeps of the person is
//! destroyed whole, or nothing is. (The registry names staff in role grants: that is not of this room.)

pub(super) mod store;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::{Act, ActKind, AuditError, chance};
use crate::privacy::Privacy;

/// Whom it is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// As records name the person: a token's `sub`, a certificate's id.
    pub name: &'a str,
    /// Only as of this organisation.
    pub org: Option<&'a str>,
}

/// Who says so, and when (Unix seconds).
#[derive(Clone, Copy)]
pub struct By<'a> {
    pub person: &'a str,
    pub now: i64,
}

/// What was destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    pub keys: i64,
    pub values: i64,
    /// Digests of the person beside settled holds and votes on them.
    pub holds: i64,
    /// Holds of the person that are not settled or not over: their digests stay until then.
    pub holds_left: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    Erased(Erased),
    /// It was done before, at this Unix second.
    Already(i64),
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error("nobody asked for the erasure `{0}`")]
    NotFound(Uuid),
    #[error("who asked for it cannot confirm it: somebody else must")]
    Asker,
    #[error("it was asked for more than a week ago: ask again")]
    Stale,
    #[error(
        "this is not whom it was asked for (write the name and the organisation as they were), or the master key changed since: ask again"
    )]
    Another,
    #[error(
        "some keys are wrapped under the master key `{0}`, which is not in `[privacy] keys`: whether they are of this person cannot \
         be told. Add it, or run `haetae audit rewrap` where it is, and try again"
    )]
    Master(String),
    #[error(
        "acts of this person wait to be recorded, with the name in them: a gateway that holds a lane writes them within a second; \
         then confirm again"
    )]
    Waiting,
    #[error("{0}")]
    Audit(#[from] AuditError),
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Asks for an erasure; gives its id, or `None` when nothing is kept of this person, and nothing is done.
pub async fn ask_erasure(
    pool: &PgPool,
    privacy: &Privacy,
    subject: Subject<'_>,
    by: By<'_>,
    reason: &str,
) -> Result<Option<Uuid>, EraseError> {
    let mut transaction = pool.begin().await?;
    all_known(&mut transaction, privacy).await?;
    let indexes = indexes(&mut transaction, privacy, subject).await?;
    if !store::is_kept(&mut transaction, &indexes, subject).await? {
        return Ok(None);
    }
    let (id, salt) =
        (uuid::Builder::from_random_bytes(chance::bytes()?).into_uuid(), chance::bytes::<16>()?);
    let wanted = store::Wanted {
        id,
        org: subject.org,
        subject: privacy.subject_now(subject.org.unwrap_or(EVERY), subject.name),
        master: privacy.id(),
        reason,
        salt,
        asked: digest(&salt, by.person),
        at_s: by.now,
    };
    store::ask(&mut transaction, &wanted).await?;
    let body =
        json!({ "act": "asked", "erasure": id.to_string(), "org": subject.org, "reason": reason });
    act(id, "asked", by, &body).tell(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Some(id))
}

/// Erases, if another person asked for the same. The second time it does nothing.
pub async fn confirm_erasure(
    pool: &PgPool,
    privacy: &Privacy,
    id: Uuid,
    subject: Subject<'_>,
    by: By<'_>,
) -> Result<Confirmed, EraseError> {
    let mut transaction = pool.begin().await?;
    let open = store::open(&mut transaction, id).await?.ok_or(EraseError::NotFound(id))?;
    let index = match (open.done_at_s, open.subject) {
        (None, Some(index)) => index,
        (done, _) => return Ok(Confirmed::Already(done.unwrap_or(open.asked_at_s))),
    };
    if open.asked == digest(&open.asked_salt, by.person) {
        return Err(EraseError::Asker);
    }
    if by.now.saturating_sub(open.asked_at_s) > STANDS_S {
        return Err(EraseError::Stale);
    }
    let same = privacy.subject(subject.org.unwrap_or(EVERY), subject.name);
    if open.org.as_deref() != subject.org || !same.iter().any(|one| one.as_slice() == index) {
        return Err(EraseError::Another);
    }
    // From here on no commit is under way, and those that wait see this one.
    store::raise(&mut transaction).await?;
    if store::waits(&mut transaction, subject.name).await? {
        return Err(EraseError::Waiting);
    }
    let indexes = indexes(&mut transaction, privacy, subject).await?;
    let erased =
        store::destroy(&mut transaction, &indexes, subject, by.now, &chance::bytes()?).await?;
    // Asked last: a key that was wrapped anew meanwhile was not found by its former index.
    all_known(&mut transaction, privacy).await?;
    store::close(&mut transaction, id, by.now).await?;
    let body = json!({
        "act": "done", "erasure": id.to_string(), "org": subject.org, "keys": erased.keys,
        "values": erased.values,
    });
    act(id, "done", by, &body).tell(&mut transaction).await?;
    // If we stop before this, nothing was erased.
    transaction.commit().await?;
    Ok(Confirmed::Erased(erased))
}

/// Keys under a master key that is not here could be anybody's.
async fn all_known(
    connection: &mut sqlx::PgConnection,
    privacy: &Privacy,
) -> Result<(), EraseError> {
    let masters = store::masters(connection).await?;
    match masters.into_iter().find(|master| !privacy.knows(master)) {
        Some(unknown) => Err(EraseError::Master(unknown)),
        None => Ok(()),
    }
}

/// By what the keys of a person are found.
async fn indexes(
    connection: &mut sqlx::PgConnection,
    privacy: &Privacy,
    subject: Subject<'_>,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let orgs = match subject.org {
        Some(org) => vec![org.to_owned()],
        None => store::organisations(connection).await?,
    };
    let of = |org: &String| privacy.subject(org, subject.name);
    Ok(orgs.iter().flat_map(of).map(Vec::from).collect())
}

/// One name for each of the two acts of an erasure.
fn act(id: Uuid, what: &str, by: By<'_>, body: &serde_json::Value) -> Act {
    let name = Sha256::new().chain_update(id.as_bytes()).chain_update(what).finalize();
    let name = name.first_chunk::<16>().copied().unwrap_or_default();
    let event = uuid::Builder::from_custom_bytes(name).into_uuid();
    Act::new(event, ActKind::Erase, &[by.person], body)
}

fn digest(salt: &[u8], person: &str) -> Vec<u8> {
    Sha256::new().chain_update(salt).chain_update(person).finalize().to_vec()
}

/// What of an erasure lies in files.
#[derive(Debug)]
pub struct Step {
    pub statement: &'static str,
    /// Why it was not done.
    pub fault: Option<String>,
}

/// Rewrites the tables that had what was erased, and has the server drop the files and the write-ahead log from before: as far
/// as the login may. Sessions that see the database as it was before now keep dead rows alive: their number is given when they
/// do not end within some seconds, and then it must be done again.
pub async fn vacuum(pool: &PgPool) -> Result<(Vec<Step>, i64), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let now = store::now(&mut connection).await?;
    let mut seers = 0;
    for _ in 0..WAITS {
        seers = store::seers(&mut connection, &now).await?;
        if seers == 0 {
            break;
        }
        tokio::time::sleep(WAIT).await;
    }
    let mut steps = Vec::new();
    for statement in STEPS {
        let fault = store::run(&mut connection, statement).await.err();
        steps.push(Step { statement, fault: fault.map(|cause| cause.to_string()) });
    }
    Ok((steps, seers))
}

/// In place of an organisation: all of them.
const EVERY: &str = "*";
/// An erasure that nobody confirmed within a week is asked for again.
const STANDS_S: i64 = 7 * 86_400;
/// Rows that are dead, with the files that had them, are gone when this was done; so is the write-ahead log, where the server does
/// not recycle its files (`wal_recycle = off`).
const STEPS: [&str; 9] = [
    "vacuum (full, analyze) audit_private",
    "vacuum (full, analyze) audit_key",
    "vacuum (full, analyze) log_outbox",
    "vacuum (full, analyze) hold",
    "vacuum (full, analyze) hold_vote",
    "vacuum (full, analyze) erasure",
    "checkpoint",
    "select pg_switch_wal()",
    "checkpoint",
];
const WAITS: u32 = 20;
const WAIT: std::time::Duration = std::time::Duration::from_millis(250);
