//! A person is erased: salts, values and data keys are destroyed, and what the log proves stays as it was. Two persons decide, with
//! a login each: the database holds them to it (migration 0049), and destroys and tells in one transaction.
//!
//! *Invariant:* no record is committed after an erasure that uses what was erased; what this room keeps of the person is
//! destroyed whole, or nothing is. (The registry names staff in role grants: that is not of this room.)

pub(super) mod store;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::privacy::Privacy;

/// Whom it is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// As records name the person: a token's `sub`, a certificate's id.
    pub name: &'a str,
    /// Only as of this organisation.
    pub org: Option<&'a str>,
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
    #[error(
        "it was asked for with this same login of the database: somebody else must confirm it, with another login that is a member \
         of `haetae_privacy` (`--database`)"
    )]
    Login,
    #[error("it was asked for more than a week ago: ask again")]
    Stale,
    #[error(
        "this is not whom it was asked for: write the name and the organisation as they were, or ask again"
    )]
    Another,
    #[error(
        "keys of this person were made since, in another organisation or under another master key, for which nobody asked: ask again"
    )]
    More,
    #[error("it was asked for another master key: name the one that was asked for, or ask again")]
    OtherMaster,
    #[error(
        "keys are wrapped under this master key now: put them under another one first (`haetae audit rewrap`), in every process"
    )]
    InUse,
    #[error(
        "{0} keys do not open as they are wrapped now, or open none of what was sealed under them: what they were before is the only \
         way back to them, and nothing is forgotten. Is their master key in `[privacy] keys` here? If so the tables' owner puts \
         them back from `audit_key_former`"
    )]
    Unopened(u64),
    #[error(
        "it was asked for with keys that are not this person's, as the master keys here tell, and nothing is destroyed: see that the \
         master keys of this name are the same bytes for both persons, and if so who asked for more; then ask again"
    )]
    Fewer,
    #[error(
        "{0} keys do not open with the master keys here: another secret stands under the same name, in the configuration of a gateway or \
         here, or somebody changed them. Whose they are cannot be told, and nothing is erased. Where the other secret is known, give it \
         a name of its own in `[privacy] keys`, and have the tables' owner put that name to its keys (`audit_key.master`); where it is \
         lost, nobody opens them any more, and the owner deletes them. The first of them: {1}"
    )]
    Strange(u64, Uuid),
    #[error("organisations come and go meanwhile: confirm again")]
    Moving,
    #[error(
        "a key of this person, or of another, was wrapped anew as somebody else's, and nothing is destroyed: the tables' owner finds it \
         in `audit_key_former`, with the login that did it, and puts it back"
    )]
    Swapped,
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
    #[error(
        "the server would write the name into its own log ({0}), and nothing was sent: have a superuser `alter role` this login `set \
         log_parameter_max_length = 0` (`auto_explain.log_min_duration = -1`, `pgaudit.log_parameter = off`), and try again"
    )]
    Logged(String),
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Asks for an erasure; gives its id, or `None` when nothing is kept of this person, and nothing is done.
pub async fn ask_erasure(
    pool: &PgPool,
    privacy: &Privacy,
    subject: Subject<'_>,
    by: &str,
    reason: &str,
) -> Result<Option<Uuid>, EraseError> {
    let mut connection = pool.acquire().await?;
    unlogged(&mut connection).await?;
    all_known(&mut connection, privacy).await?;
    none_strange(&mut connection, privacy, subject.org).await?;
    let orgs = orgs(&mut connection, subject).await?;
    let indexes = indexes(privacy, subject, &orgs);
    if !store::is_kept(&mut connection, &indexes, subject).await? {
        return Ok(None);
    }
    let wanted = store::Wanted {
        of: subject,
        subject: privacy.subject_now(subject.org.unwrap_or(EVERY), subject.name),
        indexes: &indexes,
        masters: &privacy.ids(),
        reason,
        by,
    };
    Ok(Some(store::ask(&mut connection, &wanted).await?))
}

/// Erases, if another person with another login asked for the same. The second time it does nothing.
pub async fn confirm_erasure(
    pool: &PgPool,
    privacy: &Privacy,
    id: Uuid,
    subject: Subject<'_>,
    by: &str,
) -> Result<Confirmed, EraseError> {
    let mut connection = pool.acquire().await?;
    unlogged(&mut connection).await?;
    none_strange(&mut connection, privacy, subject.org).await?;
    let masters = privacy.ids();
    for _ in 0..TRIES {
        let orgs = orgs(&mut connection, subject).await?;
        let indexes = indexes(privacy, subject, &orgs);
        let agreed = store::Agreed {
            id,
            of: subject,
            orgs: &orgs,
            indexes: &indexes,
            masters: &masters,
            by,
        };
        // If we stop before it answers, either all of it was done or nothing.
        let done = store::confirm(&mut connection, &agreed).await;
        match done.map_err(|cause| refusal(cause, id)) {
            Err(EraseError::Moving) => {}
            done => return done.map(|done| confirmed(&done)),
        }
    }
    Err(EraseError::Moving)
}

fn confirmed(done: &store::Done) -> Confirmed {
    if let Some(at) = done.already_at_s {
        return Confirmed::Already(at);
    }
    Confirmed::Erased(Erased {
        keys: done.keys.unwrap_or(0),
        values: done.vals.unwrap_or(0),
        holds: done.holds.unwrap_or(0),
        holds_left: done.holds_left.unwrap_or(0),
    })
}

/// Codes of migrations 0049 and 0051.
pub(super) fn refusal(cause: sqlx::Error, id: Uuid) -> EraseError {
    match store::code(&cause) {
        Some(("HE001", _)) => EraseError::NotFound(id),
        Some(("HE002", _)) => EraseError::Login,
        Some(("HE003", _)) => EraseError::Asker,
        Some(("HE004", _)) => EraseError::Stale,
        Some(("HE005", _)) => EraseError::Another,
        Some(("HE006", _)) => EraseError::Waiting,
        Some(("HE007", master)) => EraseError::Master(master.to_owned()),
        Some(("HE008", _)) => EraseError::More,
        Some(("HE009", _)) => EraseError::Moving,
        Some(("HE010", _)) => EraseError::Swapped,
        Some(("HE011", _)) => EraseError::Fewer,
        Some(("HE012", _)) => EraseError::OtherMaster,
        Some(("HE013", _)) => EraseError::InUse,
        _ => EraseError::Database(cause),
    }
}

/// That no statement which has the name is written into the server's log, by its settings as they are now.
async fn unlogged(connection: &mut PgConnection) -> Result<(), EraseError> {
    store::run(connection, store::QUIET_ON_ERROR).await?;
    if store::logs(connection).await?.is_none() {
        return Ok(());
    }
    // Superusers may, and whoever was granted it; for the others somebody must have done it.
    let _ = store::run(connection, store::QUIET).await;
    store::logs(connection).await?.map_or(Ok(()), |how| Err(EraseError::Logged(how)))
}

/// Keys under a master key that is not here could be anybody's.
async fn all_known(connection: &mut PgConnection, privacy: &Privacy) -> Result<(), EraseError> {
    let masters = store::masters(connection).await?;
    match masters.into_iter().find(|master| !privacy.knows(master)) {
        Some(unknown) => Err(EraseError::Master(unknown)),
        None => Ok(()),
    }
}

/// A lane never reads what it wraps, so a gateway with other bytes under the name of a master key is noticed by nobody; and what it
/// wrapped is found by no index of ours. All keys are looked at: as long as the rewriting of their table takes. What was wrapped
/// anew is left out: it opened then, and the database holds it against what it was (migration 0051).
async fn none_strange(
    connection: &mut PgConnection,
    privacy: &Privacy,
    org: Option<&str>,
) -> Result<(), EraseError> {
    let (mut last, mut strange, mut first) = (Uuid::nil(), 0, None);
    loop {
        let keys = store::as_made(connection, org, last, BATCH).await?;
        let Some(end) = keys.last() else { break };
        last = end.id;
        for key in keys.iter().filter(|key| privacy.knows(&key.master) && !privacy.owns(key)) {
            strange += 1;
            first = first.or(Some(key.id));
        }
    }
    first.map_or(Ok(()), |first| Err(EraseError::Strange(strange, first)))
}

async fn orgs(
    connection: &mut PgConnection,
    subject: Subject<'_>,
) -> Result<Vec<String>, sqlx::Error> {
    match subject.org {
        Some(org) => Ok(vec![org.to_owned()]),
        None => store::organisations(connection).await,
    }
}

/// By what the keys of a person are found.
fn indexes(privacy: &Privacy, subject: Subject<'_>, orgs: &[String]) -> Vec<Vec<u8>> {
    let of = |org: &String| privacy.subject(org, subject.name);
    orgs.iter().flat_map(of).map(Vec::from).collect()
}

/// What of an erasure lies in files.
#[derive(Debug)]
pub struct Step {
    pub statement: String,
    /// Why it was not done.
    pub fault: Option<String>,
}

/// Rewrites the tables that had what was erased, and has the server drop the files and the write-ahead log from before: as far
/// as the login may. What sees the database as it was before now keeps dead rows alive, and a rewriting copies them: it is
/// waited for some seconds, and named when it is still there at the end. Then it must be done again.
pub async fn vacuum(pool: &PgPool) -> Result<(Vec<Step>, Vec<String>), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let since = store::now(&mut connection).await?;
    store::run(&mut connection, store::IMPATIENT).await?;
    for _ in 0..WAITS {
        if store::seers(&mut connection, &since).await?.is_empty() {
            break;
        }
        tokio::time::sleep(WAIT).await;
    }
    let mut steps = Vec::new();
    for table in TABLES {
        let mut step = step(&mut connection, format!("vacuum (full, analyze) {table}")).await;
        // Postgres says neither that it copied dead rows, whoever it was that saw them, nor that it passed a table over.
        if step.fault.is_none() && store::has_before(&mut connection, table, &since).await? {
            step.fault = Some(COPIED.to_owned());
        }
        steps.push(step);
    }
    let seers = store::seers(&mut connection, &since).await?;
    for statement in FILES {
        steps.push(step(&mut connection, statement.to_owned()).await);
    }
    steps.push(no_strays(&mut connection).await);
    Ok((steps, seers))
}

/// A server that dies while it rewrites a table, by us or by anybody, leaves the new file behind, with all that the table had then. No
/// table has that file, so no rewriting reaches it and Postgres never removes it.
async fn no_strays(connection: &mut PgConnection) -> Step {
    let fault = match store::strays(connection).await {
        Ok(strays) if strays.is_empty() => None,
        Ok(strays) => Some(format!("{STRAY}: {}", strays.join(", "))),
        Err(cause) => Some(cause.to_string()),
    };
    Step { statement: "no file without a table".to_owned(), fault }
}

async fn step(connection: &mut PgConnection, statement: String) -> Step {
    let fault = store::run(connection, &statement).await.err();
    Step { statement, fault: fault.map(|cause| cause.to_string()) }
}

/// In place of an organisation: all of them.
const EVERY: &str = "*";
/// Some hundred kB at a time.
const BATCH: i64 = 1_000;
/// Somebody's first record of a new organisation, between two statements, is rare.
const TRIES: u32 = 3;
/// What had something of a person.
const TABLES: [&str; 8] = [
    "audit_private",
    "audit_key",
    "audit_key_former",
    "log_outbox",
    "hold",
    "hold_vote",
    "erasure",
    "former_forgetting",
];
/// Rows that are dead, with the files that had them, are gone when this was done after the tables were rewritten; so is the
/// write-ahead log, where the server does not recycle its files (`wal_recycle = off`) and nothing wants them still.
const FILES: [&str; 3] = ["checkpoint", "select pg_switch_wal()", "checkpoint"];
const COPIED: &str = "rows of before this command are in its new file still: somebody saw them, or this login does not own the table";
/// What somebody else makes just now has a file before others see its table.
const STRAY: &str = "no table has these files (in the server's data directory), so a server that died while it rewrote one left them, with \
                     rows of then. If they are still there when this is run again, stop the server, take them away, and start it";
const WAITS: u32 = 20;
const WAIT: std::time::Duration = std::time::Duration::from_millis(250);
