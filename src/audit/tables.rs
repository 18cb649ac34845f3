//! Whether the log's tables are still as the migrations made them: a trigger, a rule, a view in the place of a table or a table without
//! write-ahead log can take away what was written, and a statement cannot see all of that.
//!
//! *Invariant:* none. Who owns the database can answer this question falsely too; what he did to the log is found by its roots.

use std::collections::BTreeSet;

use sqlx::PgPool;

mod store;

/// How they are otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// One sentence.
    pub about: String,
    /// A later version of this program says that it made them: that may be so, and is no reason not to serve. Nobody compares them.
    pub is_later: bool,
}

/// Nothing when all is as it was made.
///
/// # Errors
/// When the database cannot be asked.
pub(super) async fn changed(pool: &PgPool) -> Result<Option<Changed>, sqlx::Error> {
    let (newest, lines) = store::lines(pool).await?;
    Ok(later(newest).or_else(|| differences(&lines)))
}

fn later(newest: i64) -> Option<Changed> {
    let made = MADE.lines().next().and_then(|line| line.strip_prefix("migration ")?.parse().ok());
    made.is_some_and(|made: i64| newest > made).then(|| Changed {
        about: format!(
            "the database says that it has migration {newest}, which this version of the gateway does not know: it does not look any more whether the log's tables are as they were made"
        ),
        is_later: true,
    })
}

fn differences(lines: &[String]) -> Option<Changed> {
    let made: BTreeSet<&str> = MADE.lines().skip(1).collect();
    let there: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let added = there.difference(&made).map(|line| format!("there is `{line}`"));
    let gone = made.difference(&there).map(|line| format!("`{line}` is not there"));
    let all: Vec<String> = added.chain(gone).collect();
    let more = all.len().saturating_sub(SAID_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let said = all.get(..SAID_MAX.min(all.len())).unwrap_or_default().join("; ");
    (!all.is_empty()).then(|| Changed {
        about: format!(
            "the log's tables are not as `haetae migrate` made them: {said}{more}; what is not of Haetae must go"
        ),
        is_later: false,
    })
}

/// Of a database with every migration; the test `audit::tables` prints it anew.
const MADE: &str = include_str!("tables/made.txt");
/// Differences in one sentence.
const SAID_MAX: usize = 4;
