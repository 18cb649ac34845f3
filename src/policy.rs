//! What is allowed: facts become a decision.
//!
//! A directory of rules as data ([`Bundle`]) is read strictly, proven on its own cases, and then judged with: by casbin
//! and by the pure matcher of `verdict`, which must agree. What a bundle's files look like: `policies/README.md`.
//!
//! *Invariant:* a bundle in force is immutable; a request keeps the one it began with to its end.

mod access;
mod build;
mod bundle;
mod cases;
mod change;
mod diff;
mod engine;
mod fault;
mod folder;
mod memo;
mod model;
mod pack;
mod rulebook;
mod sheet;
mod table;
mod vocabulary;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use bundle::Bundle;
pub use cases::CaseResult;
pub use diff::{Change, Diff, Interval, RegimeCells, Told};
pub use fault::{BundleError, Fault};
pub use memo::MemoCounts;
pub use table::{Destination, Line, Page, Reading, Scope, Table, TableError, Wanted, When};

/// The bundle in force. Swapped whole, and only for one that passed all its cases.
#[derive(Debug)]
pub struct Policy {
    current: ArcSwap<Bundle>,
}

impl Policy {
    /// Reads a bundle strictly and runs its cases and canaries.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file and line.
    pub async fn load(dir: &Path, at_unix_s: i64) -> Result<Self, BundleError> {
        let bundle = Bundle::load(dir, at_unix_s).await?;
        Ok(Self { current: ArcSwap::from_pointee(bundle) })
    }

    /// The bundle in force: take it once for each request and keep it to the end.
    #[must_use]
    pub fn current(&self) -> Arc<Bundle> {
        self.current.load_full()
    }

    /// Puts another bundle in force for requests that begin from now on, if it is sound; else the old one stays.
    ///
    /// # Errors
    /// Everything that is wrong with the new one.
    pub async fn reload(&self, dir: &Path, at_unix_s: i64) -> Result<Arc<Bundle>, BundleError> {
        let bundle = Arc::new(Bundle::load(dir, at_unix_s).await?);
        self.current.store(Arc::clone(&bundle));
        Ok(bundle)
    }
}
