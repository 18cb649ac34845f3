//! What one person says of a hold, and what comes of it: nothing yet, a release, or its end.
//!
//! Vote, resolution and the records of both are one transaction, under a lock of the hold: so votes are counted one after
//! the other, and what is in the log is what was counted.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::store::{self, Counted, Desk};
use super::{Choice, Hold, State, person};
use crate::audit::{Act, ActKind};

/// A vote to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Say<'a> {
    /// As the one who asked is named: a token's `sub`, a certificate's SPIFFE id.
    pub person: &'a str,
    pub choice: Choice,
    /// Why, in the person's own words.
    pub reason: &'a str,
    /// For how many seconds this person would let it pass. The shortest of those who agree counts.
    pub for_s: i64,
}

/// Why a vote was not counted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum VoteError {
    #[error("no such hold: `hold list` or `GET /v1/holds` shows those there are")]
    NotFound,
    #[error("this hold is {} already: whoever needs it asks again", .0.name())]
    NotOpen(State),
    #[error("who asked for it cannot say whether it passes: somebody else must")]
    Asker,
    #[error("this person has said so already: another must")]
    Again,
    #[error("say why, in 1 to 2,000 characters")]
    Reason,
    #[error("a release is for 1 to 168 hours")]
    Hours,
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Counts a vote on a hold (of this organisation, if one is given); gives the hold as it stands then.
///
/// # Errors
/// See [`VoteError`].
pub async fn vote(
    pool: &PgPool,
    org: Option<&str>,
    id: Uuid,
    say: &Say<'_>,
    now: i64,
) -> Result<Hold, VoteError> {
    let reason = say.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.contains('\0') {
        return Err(VoteError::Reason);
    }
    if !(1..=FOR_S_MAX).contains(&say.for_s) {
        return Err(VoteError::Hours);
    }
    let say = Say { reason, ..*say };
    let mut desk = Desk::open(pool, org, id, now).await?.ok_or(VoteError::NotFound)?;
    if desk.hold.state != State::Open {
        return Err(VoteError::NotOpen(desk.hold.state));
    }
    if desk.askers.iter().any(|(salt, asker)| *asker == person(salt, say.person)) {
        return Err(VoteError::Asker);
    }
    let voter = person(&desk.salt, say.person);
    if desk.votes.iter().any(|vote| vote.person == voter) {
        return Err(VoteError::Again);
    }
    let n = desk.votes.len();
    desk.count(voter, &say, n).await?;
    desk.tell(&vote_act(&desk, &say, n)).await?;
    if let Some(end) = settled(&desk, &say, now) {
        desk.resolve(&end).await?;
        desk.tell(&resolution_act(&desk, &say, &end)).await?;
    }
    // If we stop before the commit, nothing was said.
    desk.close().await?;
    store::show(pool, org, id, now).await?.ok_or(VoteError::NotFound)
}

/// What this vote settles, if it settles it.
fn settled(desk: &Desk, say: &Say<'_>, now: i64) -> Option<End> {
    if say.choice == Choice::Refuse {
        return Some(End::Refused);
    }
    let agreed = || desk.votes.iter().filter(|vote| vote.choice == Choice::Release);
    let enough = agreed().count() + 1 >= usize::from(desk.hold.persons);
    let for_s = agreed().filter_map(|vote| vote.for_s).fold(say.for_s, i64::min);
    // It is for what was asked then: so a replica whose clock is a little behind lets it pass as well.
    let from_s = desk.hold.at.min(now);
    enough.then_some(End::Released { from_s, until_s: now.saturating_add(for_s) })
}

/// What came of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Released { from_s: i64, until_s: i64 },
    Refused,
}

impl End {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Released { .. } => "released",
            Self::Refused => "refused",
        }
    }
}

fn vote_act(desk: &Desk, say: &Say<'_>, n: usize) -> Act {
    let reason = STANDARD.encode(person(&desk.salt, say.reason));
    let mut body = common(desk);
    body.insert("choice".into(), say.choice.name().into());
    body.insert("reason".into(), reason.into());
    if say.choice == Choice::Release {
        body.insert("for_s".into(), say.for_s.into());
    }
    let event = event(desk.hold.id, &format!("vote {n}"));
    Act { event, kind: ActKind::HoldVote, people: vec![say.person.into()], body }
}

fn resolution_act(desk: &Desk, say: &Say<'_>, end: &End) -> Act {
    let mut body = common(desk);
    body.insert("result".into(), end.name().into());
    body.insert("rules".into(), json!(desk.hold.rules));
    body.insert("persons".into(), desk.hold.persons.into());
    if let End::Released { until_s, .. } = end {
        body.insert("until".into(), (*until_s).into());
    }
    let event = event(desk.hold.id, "resolved");
    Act { event, kind: ActKind::HoldResolved, people: vec![say.person.into()], body }
}

fn common(desk: &Desk) -> Map<String, Value> {
    let of = [("hold", desk.hold.id.to_string()), ("org", desk.hold.org.clone())];
    of.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// The same act has the same name, whoever tells of it.
fn event(hold: Uuid, what: &str) -> Uuid {
    let digest = Sha256::new().chain_update(hold.as_bytes()).chain_update(what).finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, own)| *byte = own);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl Counted {
    pub(super) fn of(person: Vec<u8>, choice: &str, for_s: Option<i64>) -> Option<Self> {
        Some(Self { person: person.try_into().ok()?, choice: Choice::named(choice)?, for_s })
    }
}

const REASON_MAX: usize = 2_000;
/// A week: what was reviewed then is not what is asked long after.
const FOR_S_MAX: i64 = 168 * 3_600;
