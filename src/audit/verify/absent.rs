//! What no lane's walk comes by: trusted lanes that are not there, rows of lanes and places that are none, and texts and flows that
//! nothing names.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tlog::VerifierKey;

use super::{
    NO_LANE, Walk, What,
    store::{self, HeadState},
};
use crate::audit::{AuditError, generation::slot, key::lane_origin};

/// Each trusted key is of a lane that is there. Of lanes alone that the database states nobody would miss one.
pub(super) fn lanes(trusted: &[VerifierKey], heads: &[HeadState], walk: &mut Walk) {
    let names: BTreeSet<&str> = trusted.iter().map(VerifierKey::name).collect();
    for name in names {
        if heads.iter().any(|head| head.origin == name) {
            continue;
        }
        let place = name.rsplit_once('/').and_then(|(of, lane)| Some((of, lane.parse().ok()?)));
        if place.is_some_and(|(of, lane)| is_to_come(of, lane, heads)) {
            walk.report.to_come.push(name.to_owned());
            continue;
        }
        let lane = place.map_or(NO_LANE, |(_, lane)| lane);
        let about = format!(
            "no lane of this database is named `{name}`, whose key is trusted: it was never opened, or is gone, or this is another \
             database"
        );
        walk.find_lane(lane, What::Missing, about);
    }
}

/// Keys of a further generation are made for all slots at once, and only the lanes that lost records go over to it: of the others an
/// earlier generation is alive.
fn is_to_come(deployment: &str, lane: u16, heads: &[HeadState]) -> bool {
    heads.iter().any(|head| {
        let earlier = head.lane < lane && slot(head.lane) == slot(lane) && !head.dead;
        earlier && head.origin == lane_origin(deployment, head.lane)
    })
}

/// Rows that are of no lane, or below its first record: every range that a walk asks for leaves them out. They are counted, and found by
/// the index alone.
pub(super) async fn rows(connection: &mut PgConnection, walk: &mut Walk) -> Result<(), AuditError> {
    for (table, column, what) in TABLES {
        let found = store::rows_outside(connection, (table, column)).await?;
        for (lane, count, index) in found {
            let about = match what {
                What::Row => format!(
                    "{count} rows of `{table}` have no record: of lane {lane}, the first with index {index}"
                ),
                _ => format!(
                    "{count} rows of `{table}` have no place in the log: of lane {lane}, the first with `{column}` {index}"
                ),
            };
            walk.find_lane(u16::try_from(lane).unwrap_or(NO_LANE), what, about);
        }
    }
    Ok(())
}

/// Flows of a `detail` that no decision with a row names: whoever asks what goes where is told of them by no decision, and would be by
/// the first that came to name it.
pub(super) async fn flows(
    connection: &mut PgConnection,
    walk: &mut Walk,
) -> Result<(), AuditError> {
    let mut found = Strays::default();
    let mut all = store::details_with_flows(connection);
    while let Some((detail, count)) = all.try_next().await? {
        if !walk.details.contains_key(&detail) {
            found.add(&detail, count);
        }
    }
    if let Some((count, digest)) = found.said() {
        let about = format!(
            "{count} rows of `row_flow` are of a `detail` that no decision names, the first of {digest}"
        );
        walk.find_lane(NO_LANE, What::Row, about);
    }
    Ok(())
}

/// Texts that no decision names. One that is not what its digest says waits for the decision that will name it: what is there under a
/// digest is not written again. Only digests are read of the others, whose bytes were looked at.
pub(super) async fn texts(
    connection: &mut PgConnection,
    walk: &mut Walk,
) -> Result<(), AuditError> {
    let (mut others, mut twice) = (Strays::default(), Strays::default());
    let mut after = Vec::new();
    loop {
        let page = store::digests_after(connection, &after).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (digest, count) in page {
            if count > 1 {
                twice.add(&digest, count);
            } else if !walk.texts.contains_key(&digest) {
                let text = store::text(connection, &digest).await?;
                let other = text.is_some_and(|(_, bytes)| *Sha256::digest(&bytes) != *digest);
                others.add(&digest, i64::from(other));
            }
        }
    }
    for (found, about) in [
        (others, "that no decision names have other bytes than their digest says"),
        (twice, "are kept under one digest with others"),
    ] {
        if let Some((count, digest)) = found.said() {
            let about = format!("{count} texts {about}, the first {digest}");
            walk.find_lane(NO_LANE, What::Text, about);
        }
    }
    Ok(())
}

/// What was found, counted: whoever plants one plants a million.
#[derive(Default)]
struct Strays {
    count: i64,
    first: Option<Vec<u8>>,
}

impl Strays {
    fn add(&mut self, digest: &[u8], count: i64) {
        self.count += count;
        if count > 0 {
            self.first.get_or_insert_with(|| digest.to_vec());
        }
    }

    /// How many, and the first digest in base64.
    fn said(self) -> Option<(i64, String)> {
        self.first.map(|first| (self.count, STANDARD.encode(first)))
    }
}

/// What has a lane and a place in it.
const TABLES: [(&str, &str, What); 7] = [
    ("log_batch", "first_index", What::Misplaced),
    ("log_tile", "n", What::Tree),
    ("log_checkpoint", "size", What::Checkpoint),
    ("log_cosignature", "size", What::Checkpoint),
    ("row_decision", "index", What::Row),
    ("row_started", "index", What::Row),
    ("row_ended", "index", What::Row),
];
