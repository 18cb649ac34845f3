//! The rows of a range, as cheaply as Postgres gives them.

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::{Kept, Rows};
use crate::audit::store::big;

/// The rows of a lane with `from` <= index < `to`, by index, as the server's own binary copy writes them, which costs both sides the least.
pub(in crate::audit::verify) async fn kept(
    connection: &mut PgConnection,
    lane: u16,
    (from, to): (u64, u64),
) -> Result<Rows, sqlx::Error> {
    let range = format!(
        "where lane = {lane} and index >= {} and index < {} order by index",
        big(from),
        big(to)
    );
    let room = usize::try_from((to - from).min(RECORDS_MAX)).unwrap_or(0) * ROW_BYTES;
    let mut kept = [Kept::default(), Kept::default(), Kept::default()];
    for (kept, select) in kept.iter_mut().zip([
        "select lane, index, id, at_ns, org, actor, outcome, reason, rule, site, service, operation, issuer, facts, detail,
         bundle from row_decision",
        "select lane, index, id, at_ns, decision, identity from row_started",
        "select lane, index, id, at_ns, decision, how, status, bytes_out, bytes_back, duration_ms, why from row_ended",
    ]) {
        // `COPY` takes no parameters: what is put in are numbers of ours.
        let copy = format!("copy ({select} {range}) to stdout (format binary)");
        let mut pieces = connection.copy_out_raw(&copy).await?;
        let mut bytes = Vec::with_capacity(room);
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        *kept = Kept::new(bytes);
    }
    let [decision, started, ended] = kept;
    Ok(Rows { decision, started, ended })
}

/// Room that is asked for ahead, so that what was received is not moved while it grows: about what a page's mix of decisions,
/// starts and ends comes to for each of its records, in the table that has the most; 2 MiB at the most.
const ROW_BYTES: usize = 128;
const RECORDS_MAX: u64 = 16_384;
