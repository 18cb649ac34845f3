//! What no lane's walk comes by: trusted lanes that are not there, and rows of lanes and places that are none.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use tlog::VerifierKey;

use super::{
    Finding, Walk, What,
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
        let lane = place.map_or(u16::MAX, |(_, lane)| lane);
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
    for table in ["row_decision", "row_started", "row_ended"] {
        let found = store::rows_outside(connection, table).await?;
        for (lane, count, index) in found {
            let about = format!(
                "{count} rows of `{table}` have no record: of lane {lane}, the first with index {index}"
            );
            let lane = u16::try_from(lane).unwrap_or(u16::MAX);
            let (index, id, what) = (None, None, What::Row);
            walk.report.findings.push(Finding { lane, index, id, what, about });
        }
    }
    Ok(())
}
