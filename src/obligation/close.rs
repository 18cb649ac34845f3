//! Somebody says that an obligation was fulfilled, and shows by what.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Closed, Obligation, State, read, store, uuid_of};
use crate::audit::{Act, ActKind};

/// What somebody says of an obligation.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    pub person: &'a str,
    /// What was done.
    pub reason: &'a str,
    /// SHA-256 of what shows it: a report, a contract, a certificate.
    pub evidence: [u8; 32],
    /// Unix seconds.
    pub now: i64,
}

/// Why an obligation was not closed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error(
        "no such obligation: `haetae obligation list` or `GET /v1/obligations` shows those there are"
    )]
    NotFound,
    #[error("this obligation is {} already", .0.name())]
    NotOpen(State),
    #[error(
        "nobody can close this obligation: a machine looks it up, and the log lacks its first records"
    )]
    Broken,
    #[error("say what was done, in 1 to 2,000 characters")]
    Reason,
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Closes an obligation (of this organisation, if one is given) for its period.
///
/// # Errors
/// See [`CloseError`].
pub async fn close(
    pool: &PgPool,
    org: Option<&str>,
    id: &str,
    done: &Done<'_>,
) -> Result<Obligation, CloseError> {
    let reason = done.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.contains('\0') {
        return Err(CloseError::Reason);
    }
    let all = read::list(pool, org, done.now).await?;
    let one = all.into_iter().find(|one| one.id == id).ok_or(CloseError::NotFound)?;
    match one.state {
        State::Open | State::Overdue => {}
        State::Broken => return Err(CloseError::Broken),
        State::Met | State::Closed => return Err(CloseError::NotOpen(one.state)),
    }
    // A decision that comes meanwhile is of the same period: what was done covers it, or the machine asks for the next one.
    if !store::close(pool, &one, done, &act(&one, done, reason)).await? {
        return Err(CloseError::NotOpen(State::Closed));
    }
    let evidence = format!("sha256:{}", hex::encode(done.evidence));
    Ok(Obligation { state: State::Closed, closed: Some(Closed { at: done.now, evidence }), ..one })
}

fn act(one: &Obligation, done: &Done<'_>, reason: &str) -> Act {
    let event = event(&one.id);
    let salted = Sha256::new().chain_update(event.as_bytes()).chain_update(reason).finalize();
    let texts = [
        ("obligation", one.code.clone()),
        ("org", one.org.clone()),
        ("service", one.service.clone()),
        ("site", one.site.clone()),
        ("period", one.period.clone()),
        ("evidence", STANDARD.encode(done.evidence)),
        ("reason", STANDARD.encode(salted)),
    ];
    let body: Map<String, Value> =
        texts.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
    Act { event, kind: ActKind::ObligationClosed, people: vec![done.person.into()], body }
}

/// An obligation is closed once, so its end has one name.
fn event(id: &str) -> Uuid {
    uuid_of(&Sha256::digest(id))
}

const REASON_MAX: usize = 2_000;
