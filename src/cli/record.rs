//! Which record a command is about: a decision by its id, or any record by its place.

use anyhow::Context as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::{self, Proven};

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The decision, by its id (`Haetae-Decision` of the answer).
    #[arg(required_unless_present = "lane")]
    id: Option<Uuid>,
    /// Any record instead, by its lane and its index there.
    #[arg(long, requires = "index", conflicts_with = "id")]
    lane: Option<u16>,
    #[arg(long, requires = "lane")]
    index: Option<u64>,
}

impl Named {
    /// The record with its proof.
    ///
    /// # Errors
    /// The log has none of this name, or cannot be read.
    pub async fn prove(&self, pool: &PgPool) -> anyhow::Result<Proven> {
        let proven = match (self.id, self.lane.zip(self.index)) {
            (Some(id), _) => audit::prove(pool, id).await?,
            (None, Some((lane, index))) => audit::prove_place(pool, lane, index).await?,
            (None, None) => None,
        };
        proven.context("the log has no such record: rows follow it within a second")
    }
}
