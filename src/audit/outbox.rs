//! Acts of people that were done in the database become records: what a CLI or an API left in `log_outbox`, within the
//! transaction of its act, is given to the lanes.
//!
//! *Invariant:* each act is written exactly once. Who gives it to a lane twice (a process that took over, an answer that was
//! lost) is stopped by the statement that writes the leaf: it marks the row, or writes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{AuditError, leaf::Notice, projection::within, recorder::Shared};

mod store;

/// Kinds of records that tell an act. docs/record.md says what each holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActKind {
    PolicyChange,
    HoldVote,
    HoldResolved,
    Override,
    Order,
    AccessChange,
    ObligationClosed,
    Review,
    Alarm,
    Rollback,
    KeyEvent,
    Read,
    Erase,
}

/// An act as its record will tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Names it for good: chosen by who acts, in the record as `event`.
    pub event: Uuid,
    pub kind: ActKind,
    /// Names of those who acted; the record has salted digests of them, in this order.
    pub people: Vec<Arc<str>>,
    /// Further keys of the record: `[a-z][a-z0-9_]*`; strings, integers from 0 to 2^53 - 1, `true`, arrays of strings.
    /// `false` and `null` are left out. A key `org` says whose people they are.
    pub body: Map<String, Value>,
}

impl ActKind {
    const ALL: [Self; 13] = [
        Self::PolicyChange,
        Self::HoldVote,
        Self::HoldResolved,
        Self::Override,
        Self::Order,
        Self::AccessChange,
        Self::ObligationClosed,
        Self::Review,
        Self::Alarm,
        Self::Rollback,
        Self::KeyEvent,
        Self::Read,
        Self::Erase,
    ];

    /// The record's `kind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PolicyChange => "policy_change",
            Self::HoldVote => "hold_vote",
            Self::HoldResolved => "hold_resolved",
            Self::Override => "override",
            Self::Order => "order",
            Self::AccessChange => "access_change",
            Self::ObligationClosed => "obligation_closed",
            Self::Review => "review",
            Self::Alarm => "alarm",
            Self::Rollback => "rollback",
            Self::KeyEvent => "key_event",
            Self::Read => "read",
            Self::Erase => "erase",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Act {
    /// An act that says the keys of a JSON object, but for those that are `null`.
    pub(super) fn new(event: Uuid, kind: ActKind, people: &[&str], body: &Value) -> Self {
        let said = body.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let body = said.map(|(key, value)| (key.clone(), value.clone())).collect();
        Self { event, kind, people: people.iter().copied().map(Arc::from).collect(), body }
    }

    /// Leaves the act to be recorded; `connection` is in the transaction of the act itself.
    ///
    /// # Errors
    /// The database's, a body that no leaf can hold included: then the act must fall with it.
    pub async fn tell(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        store::insert(connection, self).await
    }

    /// The keys of the leaf beside those of every leaf.
    pub(super) fn keys(&self) -> BTreeMap<&str, &Value> {
        let says = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        self.body
            .iter()
            .filter(|(_, value)| says(value))
            .map(|(key, value)| (&**key, value))
            .collect()
    }
}

/// An act that no other transaction carries.
pub(super) async fn tell(shared: &Shared, act: &Act) -> Result<(), AuditError> {
    let mut connection =
        within(QUERY_MAX, store::connect(shared.options(), &shared.identity)).await?;
    within(QUERY_MAX, store::insert(&mut connection, act)).await
}

/// Until the room stops: one replica reads the outbox for all of them.
pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.stop.is_cancelled() {
        let passed = tokio::select! {
            passed = pass_on(&shared) => passed,
            () = shared.stop.cancelled() => return,
        };
        if let Err(cause) = passed {
            tracing::warn!(%cause, "acts wait in the outbox; they are looked for again");
        }
        tokio::select! { () = sleep(RETRY_AFTER) => {}, () = shared.stop.cancelled() => {} }
    }
}

async fn pass_on(shared: &Shared) -> Result<(), AuditError> {
    if !shared.writes() {
        return Ok(());
    }
    let server = shared.pool.connect_options();
    let connect = store::connect(shared.options(), &shared.identity);
    let mut connection = within(QUERY_MAX, connect).await?;
    if !within(QUERY_MAX, store::lock(&mut connection)).await? {
        return Ok(()); // another replica does it
    }
    let mut given = Given::default();
    while shared.writes() && Arc::ptr_eq(&server, &shared.pool.connect_options()) {
        let (acts, unreadable) = within(QUERY_MAX, store::waiting(&mut connection, ACTS)).await?;
        shared.metrics.outbox(acts.len() + unreadable.len());
        for (event, cause) in unreadable {
            tracing::error!(%event, cause, "an act in the outbox cannot be written");
        }
        for act in given.fresh(acts, Instant::now()) {
            // No room now: it is still there the next time.
            shared.queue.note(Notice::Act(Arc::new(act)));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// What was given to the lanes and is not yet seen to be written.
#[derive(Debug, Default)]
struct Given(HashMap<Uuid, Instant>);

impl Given {
    fn fresh(&mut self, acts: Vec<Act>, now: Instant) -> Vec<Act> {
        self.0.retain(|event, since| {
            now.duration_since(*since) < GIVE_AGAIN && acts.iter().any(|act| act.event == *event)
        });
        let fresh: Vec<_> =
            acts.into_iter().filter(|act| !self.0.contains_key(&act.event)).collect();
        self.0.extend(fresh.iter().map(|act| (act.event, now)));
        fresh
    }
}

/// Acts of one look: 64 at most 16 KiB each are 1 MiB, one batch.
const ACTS: i64 = 64;
/// A record is due within a second of its act.
const LOOK_EVERY: Duration = Duration::from_millis(300);
const RETRY_AFTER: Duration = Duration::from_millis(500);
const QUERY_MAX: Duration = Duration::from_secs(2);
/// A lane that was lost may have lost what it was given.
const GIVE_AGAIN: Duration = Duration::from_secs(10);
