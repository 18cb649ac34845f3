//! Batches in, rows out.

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgTransaction, Row as _,
    postgres::PgConnectOptions,
};

use super::Lag;
use crate::audit::{
    AuditError,
    row::{DecisionRow, EndedRow, FlowRow, Row, StartedRow},
    store::{Identity, TASK_LOCKS},
};

/// The flows of one `detail` text.
#[derive(Debug)]
pub(in crate::audit) struct Flows {
    pub detail: Vec<u8>,
    pub rows: Vec<FlowRow>,
}

/// Rows can be made again from the log, so their commits need not wait for the disk.
pub(super) async fn connect(
    options: PgConnectOptions,
    identity: &Identity,
) -> Result<PgConnection, sqlx::Error> {
    let options = options.application_name("haetae-projection");
    let mut connection = crate::audit::store::connect(&options, identity).await?;
    let relaxed = AssertSqlSafe("set synchronous_commit = off");
    sqlx::raw_sql(relaxed).execute(&mut connection).await?;
    Ok(connection)
}

pub(super) async fn lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let lock = sqlx::query_scalar("select pg_try_advisory_lock($1, 0)").bind(TASK_LOCKS);
    lock.fetch_one(connection).await
}

/// Whoever closes from here on does it under this number, which nobody had before. Waits for a commit under way that ends others'
/// ALLOWs, and, unlike rows, for the disk.
pub(super) async fn close_under(
    connection: &mut PgConnection,
    term: i64,
) -> Result<(), sqlx::Error> {
    let mut transaction = durable(connection).await?;
    let take =
        "insert into log_closer (id, term) values (1, $1) on conflict (id) do update set term = $1";
    sqlx::query(take).bind(term).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// A transaction whose commit waits for the disk, and for the standbys where commits do.
async fn durable(connection: &mut PgConnection) -> Result<PgTransaction<'_>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("set local synchronous_commit to default").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// For each lane the next index to project, and its size.
pub(super) async fn lags(connection: &mut PgConnection) -> Result<Vec<Lag>, sqlx::Error> {
    let select = "select lane, coalesce(next_index, 0), size
                  from log_head left join projection_cursor using (lane) order by lane";
    let rows: Vec<(i32, i64, i64)> = sqlx::query_as(select).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(lane, next, size)| Lag { lane, next, size }).collect())
}

/// The batches with records `from <= index < to`, in order: first index, number of records, marks.
pub(super) async fn batches(
    connection: &mut PgConnection,
    lane: i32,
    (from, to): (i64, i64),
) -> Result<Vec<(i64, i32, Vec<u8>)>, sqlx::Error> {
    // The first is the one in whose midst somebody has put the cursor, if he did.
    let select = "select first_index, count, marks from log_batch
                  where lane = $1 and first_index < $3 and first_index + count > $2
                    and first_index >= coalesce((select max(first_index) from log_batch where lane = $1 and first_index <= $2), $2)
                  order by first_index";
    sqlx::query_as(select).bind(lane).bind(from).bind(to).fetch_all(connection).await
}

/// Where the next batch after this index begins.
pub(super) async fn following(
    connection: &mut PgConnection,
    lane: i32,
    after: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let select = "select min(first_index) from log_batch where lane = $1 and first_index > $2";
    sqlx::query_scalar(select).bind(lane).bind(after).fetch_one(connection).await
}

/// The leaves of the batches that begin at these indexes, which rise.
pub(super) async fn leaves(
    connection: &mut PgConnection,
    lane: i32,
    firsts: &[i64],
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let select = "select leaves from log_batch where lane = $1 and first_index = any ($2) order by first_index";
    sqlx::query_scalar(select).bind(lane).bind(firsts).fetch_all(connection).await
}

pub(super) async fn text(
    connection: &mut PgConnection,
    digest: &[u8],
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let select = sqlx::query_scalar("select bytes from log_text where digest = $1").bind(digest);
    select.fetch_optional(connection).await
}

/// Rows and cursor in one transaction. Refuses when the cursor is not where the batches began. True when rows were there before:
/// they are left as they are.
pub(super) async fn write(
    connection: &mut PgConnection,
    lane: i32,
    range: (i64, i64),
    rows: &[Row<'_>],
    flows: &[Flows],
) -> Result<bool, AuditError> {
    match write_rows(connection, lane, range, rows, flows, Planted::Fails).await {
        Err(AuditError::Database(sqlx::Error::Database(cause))) if cause.is_unique_violation() => {
            write_rows(connection, lane, range, rows, flows, Planted::Stays).await.map(|()| true)
        }
        written => written.map(|()| false),
    }
}

/// What happens to a row that is in the place of ours. To look for one takes Postgres longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Fails,
    Stays,
}

impl Planted {
    fn insert(self, statement: &'static str) -> AssertSqlSafe<String> {
        let conflict = if self == Self::Stays { " on conflict do nothing" } else { "" };
        AssertSqlSafe(format!("{statement}{conflict}"))
    }
}

async fn write_rows(
    connection: &mut PgConnection,
    lane: i32,
    (from, to): (i64, i64),
    rows: &[Row<'_>],
    flows: &[Flows],
    planted: Planted,
) -> Result<(), AuditError> {
    let mut transaction = connection.begin().await?;
    let moved = sqlx::query(
        "insert into projection_cursor (lane, next_index) values ($1, $3)
         on conflict (lane) do update set next_index = $3 where projection_cursor.next_index = $2",
    );
    let moved = moved.bind(lane).bind(from).bind(to).execute(&mut *transaction).await?;
    if moved.rows_affected() != 1 {
        return Err(AuditError::Content(format!("somebody else projects lane {lane}")));
    }
    decisions(&mut transaction, rows, planted).await?;
    started(&mut transaction, rows, planted).await?;
    ended(&mut transaction, rows, planted).await?;
    for of_detail in flows {
        write_flows(&mut transaction, of_detail).await?;
    }
    transaction.commit().await?;
    Ok(())
}

// In the three inserts each column is unnested where it stands: of `from unnest(...)` Postgres makes a table in between for each column.

async fn decisions(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
    planted: Planted,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&DecisionRow<'_>> = rows
        .iter()
        .filter_map(|row| if let Row::Decision(row) = row { Some(row) } else { None })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query(planted.insert(
        "insert into row_decision (lane, index, id, at_ns, org, actor, outcome, reason, rule, site, service, operation,
                                   issuer, facts, detail, bundle)
         select unnest($1::int[]), unnest($2::bigint[]), unnest($3::uuid[]), unnest($4::bigint[]), unnest($5::text[]),
                unnest($6::bytea[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]),
                unnest($11::text[]), unnest($12::text[]), unnest($13::text[]), unnest($14::bytea[]), unnest($15::bytea[]),
                unnest($16::bytea[])",
    ))
    .bind(column!(row => row.place.lane))
    .bind(column!(row => row.place.index))
    .bind(column!(row => row.place.id))
    .bind(column!(row => row.place.at_ns))
    .bind(column!(row => &*row.org))
    .bind(column!(row => row.actor.as_slice()))
    .bind(column!(row => &*row.outcome))
    .bind(column!(row => &*row.reason))
    .bind(column!(row => row.rule.as_deref()))
    .bind(column!(row => row.site.as_deref()))
    .bind(column!(row => &*row.service))
    .bind(column!(row => &*row.operation))
    .bind(column!(row => row.issuer.as_deref()))
    .bind(column!(row => row.facts.as_slice()))
    .bind(column!(row => row.detail.as_slice()))
    .bind(column!(row => row.bundle.as_slice()))
    .execute(connection)
    .await
    .map(drop)
}

async fn started(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
    planted: Planted,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&StartedRow<'_>> = rows
        .iter()
        .filter_map(|row| if let Row::Started(row) = row { Some(row) } else { None })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(planted.insert(
        "insert into row_started (lane, index, id, at_ns, decision, identity)
         select unnest($1::int[]), unnest($2::bigint[]), unnest($3::uuid[]), unnest($4::bigint[]), unnest($5::uuid[]),
                unnest($6::text[])",
    ))
    .bind(rows.iter().map(|row| row.place.lane).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.place.index).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.place.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.place.at_ns).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.decision).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.identity).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(drop)
}

async fn ended(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
    planted: Planted,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&EndedRow<'_>> = rows
        .iter()
        .filter_map(|row| if let Row::Ended(row) = row { Some(row) } else { None })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(planted.insert(
        "insert into row_ended (lane, index, id, at_ns, decision, how, status, bytes_out, bytes_back, duration_ms, why)
         select unnest($1::int[]), unnest($2::bigint[]), unnest($3::uuid[]), unnest($4::bigint[]), unnest($5::uuid[]),
                unnest($6::text[]), unnest($7::int[]), unnest($8::bigint[]), unnest($9::bigint[]), unnest($10::bigint[]),
                unnest($11::text[])",
    ))
    .bind(rows.iter().map(|row| row.place.lane).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.place.index).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.place.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.place.at_ns).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.decision).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.how).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.status).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.bytes_out).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.bytes_back).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.duration_ms).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.why.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(drop)
}

async fn write_flows(connection: &mut PgConnection, flows: &Flows) -> Result<(), sqlx::Error> {
    for (n, row) in (0_i32..).zip(&flows.rows) {
        sqlx::query(
            "insert into row_flow (detail, n, component, regime, flow, from_place, to_place, entity, outcome)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
        )
        .bind(&flows.detail)
        .bind(n)
        .bind(&row.component)
        .bind(&row.regime)
        .bind(&row.flow)
        .bind(&row.from)
        .bind(&row.to)
        .bind(&row.entity)
        .bind(&row.outcome)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Epochs whose holder is gone, or was given up, and whose ALLOWs may lack an end.
pub(in crate::audit) async fn dead_epochs(
    connection: &mut PgConnection,
    own: i32,
) -> Result<Vec<DeadEpoch>, sqlx::Error> {
    // A living process holds its shared lock; an exclusive one can be had only if nobody does.
    let rows = sqlx::query(
        "select e.lane, e.epoch, e.first_index,
                coalesce((select min(n.first_index) from log_epoch n where n.lane = e.lane and n.epoch > e.epoch), h.size)
         from log_epoch e join log_head h using (lane)
         where not e.settled and (e.abandoned or (e.instance <> $1 and not exists (
             select from pg_locks l
             where l.locktype = 'advisory' and l.granted
               and l.database = (select oid from pg_database where datname = current_database())
               and l.classid::bigint = $2 and l.objid::bigint = (e.instance::bigint & 4294967295) and l.objsubid = 2)))
         order by e.lane, e.epoch",
    )
    .bind(own)
    .bind(i64::from(crate::audit::store::INSTANCE_LOCKS))
    .fetch_all(connection)
    .await?;
    let epoch = |row: sqlx::postgres::PgRow| {
        Ok(DeadEpoch {
            lane: row.try_get(0)?,
            epoch: row.try_get(1)?,
            first: row.try_get(2)?,
            until: row.try_get(3)?,
        })
    };
    rows.into_iter().map(epoch).collect()
}

/// An epoch whose holder is gone, with the indexes of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::audit) struct DeadEpoch {
    pub lane: i32,
    pub epoch: i64,
    pub first: i64,
    pub until: i64,
}

/// Takes the ends of an epoch's ALLOWs away from its holder; false when that one lives. A mark of before is written again: who made it
/// may not have waited for the disk.
pub(in crate::audit) async fn abandon(
    connection: &mut PgConnection,
    epoch: DeadEpoch,
) -> Result<bool, sqlx::Error> {
    let mut transaction = durable(connection).await?;
    // The exclusive lock is held to the end of the transaction: a holder that connects meanwhile waits, and sees the mark.
    let update = "with holder as materialized (
                      select instance, abandoned from log_epoch where lane = $1 and epoch = $2
                  ), gone as materialized (
                      select abandoned or pg_try_advisory_xact_lock($3, instance) as gone from holder
                  )
                  update log_epoch set abandoned = true
                  where lane = $1 and epoch = $2 and (select gone from gone)";
    let query = sqlx::query(update).bind(epoch.lane).bind(epoch.epoch);
    let done = query.bind(crate::audit::store::INSTANCE_LOCKS).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// ALLOWs of a lane, `from <= index < to`, without an end.
pub(in crate::audit) async fn open_allows(
    connection: &mut PgConnection,
    lane: i32,
    (from, to): (i64, i64),
) -> Result<Vec<uuid::Uuid>, sqlx::Error> {
    let select = "select d.id from row_decision d
                  where d.lane = $1 and d.index >= $2 and d.index < $3
                    and d.outcome in ('ALLOW', 'ALLOW_WITH_OBLIGATIONS')
                    and not exists (select from row_ended e where e.decision = d.id)
                  order by d.index desc";
    sqlx::query_scalar(select).bind(lane).bind(from).bind(to).fetch_all(connection).await
}

/// Every ALLOW of the epoch has its end.
pub(in crate::audit) async fn settle(
    connection: &mut PgConnection,
    epoch: DeadEpoch,
) -> Result<(), sqlx::Error> {
    let update = "update log_epoch set settled = true where lane = $1 and epoch = $2";
    sqlx::query(update).bind(epoch.lane).bind(epoch.epoch).execute(connection).await.map(drop)
}
