//! What a commit of a lane came to. The statement is in `store`.

pub(super) mod store;

use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Commit {
    /// Durable, and the fact version at that moment.
    Done { version: i64 },
    /// Nothing was written: this version is in force, and so many erasures were made.
    Moved { version: i64, erasures: i64 },
    /// Nothing was written: what the batch stands on besides is not all there any more.
    Unkept(Left),
    /// Nothing was written: somebody else holds the lane.
    Fenced,
}

/// What is still there of what a batch would use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Reservations that it can confirm.
    pub reserved: Vec<Uuid>,
    /// Acts that nobody has told.
    pub untold: Vec<Uuid>,
    /// The term under which ALLOWs of processes that are gone are ended now; none when it ends no such.
    pub closer: Option<i64>,
}
