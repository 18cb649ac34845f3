//! What a commit of a lane came to. The statement is in `store`.

pub(super) mod store;

use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Commit {
    /// Durable, and the fact version at that moment.
    Done { version: i64 },
    /// Nothing was written: this version is in force, and so many erasures were made.
    Moved { version: i64, erasures: i64 },
    /// Nothing was written: of the reservations that the batch would confirm, and of the acts that it would tell, only
    /// these are still there to be.
    Unkept { reserved: Vec<Uuid>, untold: Vec<Uuid> },
    /// Nothing was written: somebody else holds the lane.
    Fenced,
}
