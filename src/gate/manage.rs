//! What an organisation manages itself: an errand of the gateway's own protocol, from the right to it to its answer.
//!
//! *Invariant:* an errand is done only for who may do `admin` on its service in the caller's own organisation, and only on
//! what is that organisation's. Whatever is refused is recorded as every refusal is; nothing is forwarded.

mod access;
mod obligation;
mod record;
mod webhook;

use std::io;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use verdict::reason::Reason;
use verdict::told;

use super::answer::Unavailable;
use super::standing::no_bundle;
use super::{Gate, Known, answer, no_route};
use crate::audit::Part;
use crate::hold::{self, Choice, Filter, Hold, Say, VoteError, Wanted};
use crate::workload::NotUnderstood;
use crate::workload::haetae::{Does, Errand, document, read};

/// Why an errand was not done.
pub(super) enum NotDone {
    Refused(NotUnderstood),
    Unavailable(Unavailable),
}

impl Gate {
    /// Does an errand, or says why not.
    pub(super) async fn manage<B>(&self, head: &Parts, body: B, known: &mut Known) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        match self.errand(head, body, known).await {
            Ok(answer) => answer,
            Err(NotDone::Refused(why)) if why.reason == Reason::Overloaded => {
                self.answer_unavailable(known, Unavailable::overloaded())
            }
            Err(NotDone::Refused(why)) => self.refuse(known, &why).await,
            Err(NotDone::Unavailable(why)) => self.answer_unavailable(known, why),
        }
    }

    async fn errand<B>(
        &self,
        head: &Parts,
        body: B,
        known: &mut Known,
    ) -> Result<Response<Body>, NotDone>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        let errand = known.errand().ok_or_else(no_route)?.clone();
        // Before the body: who may not do it is told nothing about what was sent.
        self.preparer.settle(&self.clock).await;
        self.preparer.build_access(&known.caller.org, self.clock.unix_s()).await;
        self.may(known, &errand)?;
        let body = self.take(head, body, known).await?;
        if let Some(answer) = self.authority_ended(known) {
            return Ok(answer);
        }
        match errand.does {
            Does::Describe => Ok(answer::managed(&document(env!("CARGO_PKG_VERSION")))),
            Does::ListHolds => self.list_holds(known, &errand).await,
            Does::ShowHold => self.show_hold(known, &errand).await,
            Does::ReleaseHold => self.vote(known, &errand, Choice::Release, &body).await,
            Does::RefuseHold => self.vote(known, &errand, Choice::Refuse, &body).await,
            Does::ListObligations => self.list_obligations(known, &errand).await,
            Does::CloseObligation => self.close_obligation(known, &errand, &body).await,
            Does::ListAccess
            | Does::ExplainAccess
            | Does::GrantRow
            | Does::GrantRole
            | Does::RevokeRow
            | Does::RevokeRole => self.access(known, &errand, &body).await,
            Does::ListWebhooks
            | Does::AddWebhook
            | Does::TestWebhook
            | Does::RotateWebhook
            | Does::RemoveWebhook => self.webhook(known, &errand, &body).await,
            Does::Decide => self.preflight(head, known, &body).await,
            Does::ShowLeaf => self.show_record(known, &errand, Part::Leaf).await,
            Does::ShowReceipt => self.show_record(known, &errand, Part::Receipt).await,
        }
    }

    fn may(&self, known: &Known, errand: &Errand) -> Result<(), NotUnderstood> {
        let Some(service) = errand.service else { return Ok(()) };
        let may = self.preparer.may_manage(&known.caller, service, self.clock.unix_s());
        may.map_err(|unready| no_bundle(&unready))?.map_err(|why| {
            let text = known.language().pick(&why.text);
            let row = why.rule.as_ref().map(|row| format!(" [row {row}]")).unwrap_or_default();
            let message = format!("{text} (`admin` on `{service}`){row}");
            refused(StatusCode::FORBIDDEN, why.code, message)
        })
    }

    async fn list_holds(&self, known: &Known, errand: &Errand) -> Result<Response<Body>, NotDone> {
        let state = errand.asked("state").map(|name| {
            Wanted::named(name)
                .ok_or_else(|| parameter("`state` is `open`, `released` or `refused`"))
        });
        let before = errand.asked("before").map(|id| {
            id.parse()
                .map_err(|_| parameter("`before` is the `next` of a page: send it as it was given"))
        });
        let filter = Filter {
            org: Some(known.caller.org.to_string()),
            state: state.transpose()?,
            before: before.transpose()?,
        };
        let holds = self.holds.list(&filter, self.clock.unix_s()).await?;
        let full = i64::try_from(holds.len()).is_ok_and(|count| count == hold::store::PAGE);
        let next = holds.last().filter(|_| full).map(|hold| hold.id);
        let told: Vec<Value> = holds.iter().map(|hold| told(known, hold)).collect();
        let mut page = json!({ "holds": told });
        if let (Some(next), Some(page)) = (next, page.as_object_mut()) {
            page.insert("next".into(), next.to_string().into());
        }
        Ok(answer::managed(&page))
    }

    async fn show_hold(&self, known: &Known, errand: &Errand) -> Result<Response<Body>, NotDone> {
        let id = hold_id(errand)?;
        let hold = self.holds.show(&known.caller.org, id, self.clock.unix_s()).await?;
        Ok(answer::managed(&told(known, &hold.ok_or_else(no_hold)?)))
    }

    async fn vote(
        &self,
        known: &Known,
        errand: &Errand,
        choice: Choice,
        body: &Bytes,
    ) -> Result<Response<Body>, NotDone> {
        let said: Said = read(body)?;
        if choice == Choice::Refuse && said.hours.is_some() {
            return Err(invalid("`hours` is for a release").into());
        }
        let caller = &known.caller;
        let for_s = said.hours.unwrap_or(HOURS_USUAL).saturating_mul(3_600);
        let say = Say { person: &caller.actor, choice, reason: &said.reason, for_s };
        let hold =
            self.holds.vote(&caller.org, hold_id(errand)?, &say, self.clock.unix_s()).await?;
        Ok(answer::managed(&told(known, &hold)))
    }
}

/// A hold, and in the reader's language what its release will ask for.
fn told(known: &Known, hold: &Hold) -> Value {
    let duties = told::duties(&hold.obligations, &hold.meanings, known.language());
    let mut value = serde_json::to_value(hold).unwrap_or_default();
    if let Some(value) = value.as_object_mut() {
        value.insert("duties".into(), json!(duties));
    }
    value
}

/// The body of a vote.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    reason: String,
    hours: Option<i64>,
}

fn invalid(message: &str) -> NotUnderstood {
    refused(StatusCode::BAD_REQUEST, Reason::BodyInvalid, message.into())
}

fn hold_id(errand: &Errand) -> Result<Uuid, NotUnderstood> {
    errand.id.as_deref().and_then(|id| id.parse().ok()).ok_or_else(no_hold)
}

/// One answer whether there is none or it is another organisation's.
fn no_hold() -> NotUnderstood {
    let message = "no such hold of this organisation: `GET /v1/holds` lists those there are";
    refused(StatusCode::NOT_FOUND, Reason::NotFound, message.into())
}

fn parameter(message: &str) -> NotUnderstood {
    refused(StatusCode::BAD_REQUEST, Reason::PathInvalid, message.into())
}

const fn refused(status: StatusCode, reason: Reason, message: String) -> NotUnderstood {
    NotUnderstood { status: status.as_u16(), reason, message, param: None }
}

impl From<NotUnderstood> for NotDone {
    fn from(why: NotUnderstood) -> Self {
        Self::Refused(why)
    }
}

impl From<VoteError> for NotDone {
    fn from(error: VoteError) -> Self {
        let (status, reason) = match error {
            VoteError::Database(error) => return error.into(),
            VoteError::NotFound => return no_hold().into(),
            VoteError::NotOpen(_) => (StatusCode::CONFLICT, Reason::NotOpen),
            VoteError::Asker | VoteError::Again => (StatusCode::CONFLICT, Reason::SamePerson),
            VoteError::Reason | VoteError::Hours => (StatusCode::BAD_REQUEST, Reason::BodyInvalid),
        };
        Self::Refused(refused(status, reason, error.to_string()))
    }
}

impl From<sqlx::Error> for NotDone {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// How long a release is good for when the reviewer does not say.
const HOURS_USUAL: i64 = 24;
