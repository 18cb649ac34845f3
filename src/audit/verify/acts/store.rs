//! What stands in the tables of acts. An answer of another shape is an error of the query.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Kept, Waiting};

pub(super) async fn acts(connection: &mut PgConnection) -> Result<Kept, sqlx::Error> {
    let versions = "select version, digest from registry_version";
    let versions: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(versions).fetch_all(&mut *connection).await?;
    let orders =
        "select id, version_from, how in ('order', 'end') from registry_entry where sort = 'order'";
    let orders: Vec<(String, i64, bool)> =
        sqlx::query_as(orders).fetch_all(&mut *connection).await?;
    let policies = "select version from policy_enacted";
    let policies: Vec<i64> = sqlx::query_scalar(policies).fetch_all(&mut *connection).await?;
    let holds = "select hold from hold_resolution";
    let holds: Vec<Uuid> = sqlx::query_scalar(holds).fetch_all(&mut *connection).await?;
    let orders = orders.into_iter().map(|(id, version, alone)| ((id, version), alone));
    Ok(Kept {
        versions: versions.into_iter().collect(),
        orders: orders.collect(),
        policies: policies.into_iter().map(|version| (version, true)).collect(),
        holds: holds.into_iter().map(|hold| (hold, true)).collect(),
        events: events(connection).await?,
        waiting: waiting(connection).await?,
    })
}

/// Disclosures and reads are acts as well: there may be many.
async fn events(connection: &mut PgConnection) -> Result<BTreeMap<Uuid, Option<u16>>, sqlx::Error> {
    let select = "select event, case when written then lane end from log_outbox";
    let mut rows = sqlx::query_as::<_, (Uuid, Option<i32>)>(select).fetch(connection);
    let mut events = BTreeMap::new();
    while let Some((event, lane)) = rows.try_next().await? {
        events.insert(event, lane.map(|lane| u16::try_from(lane).unwrap_or(u16::MAX)));
    }
    Ok(events)
}

/// Texts are compared as texts: whatever somebody put there is no error of ours.
async fn waiting(connection: &mut PgConnection) -> Result<Waiting, sqlx::Error> {
    type Row = (String, Option<String>, Option<String>, Option<String>, Option<String>);
    let select = "select kind, body ->> 'order', body ->> 'fact_version', body ->> 'version', body ->> 'hold'
                  from log_outbox where not written and kind in ('order', 'policy_change', 'override', 'hold_resolved')";
    let rows: Vec<Row> = sqlx::query_as(select).fetch_all(connection).await?;
    let mut waiting = Waiting::default();
    for (kind, order, fact_version, version, hold) in rows {
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        match kind.as_str() {
            "order" => waiting.orders.extend(order.zip(number(fact_version))),
            "hold_resolved" => {
                waiting.holds.extend(hold.and_then(|hold| hold.parse::<Uuid>().ok()));
            }
            _ => waiting.policies.extend(number(version)),
        }
    }
    Ok(waiting)
}
