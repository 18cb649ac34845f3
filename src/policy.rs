//! What is allowed: facts become a decision.
//!
//! A directory of rules as data ([`Bundle`]) is read strictly, proven on its own cases, and then judged with: by casbin
//! and by the pure matcher of `verdict`, which must agree. What a bundle's files look like: `policies/README.md`.
//!
//! Which bundle is in force is not for this room to say: the registry's snapshot names one by the digest of its files, and
//! [`Policy`] has it, or says why not.
//!
//! *Invariant:* a bundle is immutable; a request keeps the one it began with to its end.

mod access;
mod build;
mod bundle;
mod canary;
mod cases;
mod change;
mod diff;
mod engine;
mod fault;
mod folder;
mod memo;
mod metrics;
mod model;
mod pack;
mod replay;
mod rulebook;
mod sheet;
mod shelf;
mod table;
mod vocabulary;

pub use access::{Acting, Asker, Because, ChangeError, Leave, OPERATIONS};
pub use bundle::Bundle;
pub use canary::KeptCanaries;
pub use cases::{CaseResult, Retired};
pub use diff::{Change, Diff, Interval, RegimeCells, Told};
pub use fault::{BundleError, Fault};
pub use folder::Folder;
pub use memo::{Kept, MemoCounts};
pub use replay::{Recorded, Report, Span, Ways, replay};
pub use shelf::{Policy, Shelved, Unready};
pub use table::{Destination, Line, Page, Reading, Scope, Table, TableError, Wanted, When};
