//! Published checkpoints, with what witnesses said of them.

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::audit::{
    store::small,
    verify::store::{StoredCheckpoint, cosigned},
};

/// A published checkpoint; its note has the cosignatures.
pub struct Published {
    pub stored: StoredCheckpoint,
    pub cosignatures: i64,
    /// It was published within the last seconds.
    pub young: bool,
}

/// Those of a lane, by size.
pub async fn all(connection: &mut PgConnection, lane: u16) -> Result<Vec<Published>, sqlx::Error> {
    let select = "
        select size, note, vkey, coalesce(said, 0), lines, at > now() - interval '10 seconds'
        from log_checkpoint left join (
            select size, count(*) as said, array_agg(line order by witness) as lines
            from log_cosignature where lane = $1 group by size) cosignature using (size)
        where lane = $1 order by size";
    let rows = sqlx::query(select).bind(i32::from(lane)).fetch_all(connection).await?;
    let published = |row: PgRow| {
        let lines: Option<Vec<String>> = row.try_get(4)?;
        Ok(Published {
            stored: StoredCheckpoint {
                size: small(row.try_get(0)?),
                note: cosigned(row.try_get(1)?, &lines.unwrap_or_default()),
                vkey: row.try_get(2)?,
            },
            cosignatures: row.try_get(3)?,
            young: row.try_get(5)?,
        })
    };
    rows.into_iter().map(published).collect()
}
