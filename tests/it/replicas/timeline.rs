//! The order of commits as the log has it, with the instants at which orders were entered and ended.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::stage::leaves;

/// Notes, at each change of the facts, how long every lane was.
pub struct Timeline;

/// A change of the facts. While it was noted `fact_head` was locked, so no batch was under way: these are the sizes at the
/// change's own instant.
#[derive(Debug, Default)]
struct Mark {
    at_ns: i128,
    sizes: BTreeMap<i64, i64>,
}

/// A decision as far as its place and outcome matter.
struct Decision {
    lane: i64,
    index: i64,
    at_ns: i128,
    version: i64,
    allowed: bool,
    reason: String,
}

impl Timeline {
    pub async fn begin(pool: &PgPool) -> Self {
        sqlx::raw_sql(NOTE).execute(pool).await.unwrap();
        Self
    }

    /// Orders and their ends were the only changes, in turn: between the two nothing was allowed, outside nothing refused.
    pub async fn judge(self, pool: &PgPool, rounds: u32, is_killed: fn(u32) -> bool) {
        let marks = marks(pool).await;
        assert_eq!(marks.len(), 2 * rounds as usize);
        let all = leaves(pool).await;
        let decisions: Vec<Decision> =
            all.iter().filter(|leaf| leaf["kind"] == "decision").map(Decision::of).collect();
        let acts = all.iter().filter(|leaf| leaf["kind"] == "order").count();
        assert_eq!(acts, marks.len(), "each order and each end is a record");
        let versions: Vec<i64> = marks.keys().copied().collect();
        let (mut refused, mut slowest, mut between) = (0, [0.0_f64; 2], Vec::new());
        for (round, pair) in (0..rounds).zip(versions.chunks(2)) {
            let (order, end) = (&marks[&pair[0]], &marks[&pair[1]]);
            let under: Vec<&Decision> = decisions
                .iter()
                .filter(|one| order.is_before(one) && !end.is_before(one))
                .collect();
            for one in &under {
                let right =
                    !one.allowed && one.version == pair[0] && one.reason == "ORDER_IN_FORCE";
                assert!(right, "round {round}: {one}, while order {} stood", pair[0]);
            }
            refused += under.len();
            between.extend(under.iter().map(|one| (one.lane, one.index)));
            let told = Told {
                round,
                order: (pair[0], order),
                end: (pair[1], end),
                killed: is_killed(round),
            };
            told.line((&decisions, &under), &mut slowest);
        }
        let outside = decisions.iter().filter(|one| !between.contains(&(one.lane, one.index)));
        let wrong = outside.filter(|one| !one.allowed).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(wrong, Vec::<String>::new(), "refused while no order stood");
        println!(
            "orders: {rounds} rounds, {} decisions of two processes; {refused} while an order stood, 0 of them ALLOW; first \
             refusal at the latest {:.1} and {:.1} ms after the order (lanes 0 and 1, rounds without a kill)",
            decisions.len(),
            slowest[0],
            slowest[1],
        );
    }
}

impl Mark {
    /// The decision was committed after it.
    fn is_before(&self, one: &Decision) -> bool {
        self.sizes.get(&one.lane).is_none_or(|size| one.index >= *size)
    }

    fn ms_to(&self, one: Option<&&Decision>) -> f64 {
        ms(one.map_or(0, |one| one.at_ns - self.at_ns))
    }

    fn ms_until(&self, later: &Self) -> f64 {
        ms(later.at_ns - self.at_ns)
    }
}

impl Decision {
    fn of(leaf: &Value) -> Self {
        let number = |key: &str| leaf[key].as_i64().unwrap();
        let at = OffsetDateTime::parse(leaf["at"].as_str().unwrap(), &Rfc3339).unwrap();
        Self {
            lane: number("lane"),
            index: number("index"),
            at_ns: at.unix_timestamp_nanos(),
            version: number("fact_version"),
            allowed: leaf["outcome"].as_str().unwrap().starts_with("ALLOW"),
            reason: leaf["reason"].as_str().unwrap().to_owned(),
        }
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = if self.allowed { "ALLOW" } else { "a refusal" };
        let Self { lane, index, version, reason, .. } = self;
        write!(out, "{outcome} ({reason}) at lane {lane} #{index} on version {version}")
    }
}

fn ms(ns: i128) -> f64 {
    f64::from(i32::try_from(ns / 1_000).unwrap_or(i32::MAX)) / 1_000.0
}

/// One round, to be told to people.
struct Told<'a> {
    round: u32,
    order: (i64, &'a Mark),
    end: (i64, &'a Mark),
    killed: bool,
}

impl Told<'_> {
    fn line(&self, (all, under): (&[Decision], &[&Decision]), slowest: &mut [f64; 2]) {
        let Self { round, order: (version, order), end: (end_version, end), killed } = *self;
        let last = all.iter().filter(|one| one.allowed && !order.is_before(one));
        let last = order.ms_to(last.max_by_key(|one| one.at_ns).as_ref());
        let next = all.iter().filter(|one| one.allowed && end.is_before(one));
        let next = end.ms_to(next.min_by_key(|one| one.at_ns).as_ref());
        let mut text =
            format!("round {round}: order = version {version} at 0 ms; last ALLOW {last:.1} ms");
        if killed {
            text += "; the second process was killed and started again";
        }
        for (lane, slowest) in [0, 1].into_iter().zip(slowest) {
            let took = order
                .ms_to(under.iter().filter(|one| one.lane == lane).min_by_key(|one| one.index));
            text.extend([format!("; lane {lane} refuses from {took:.1} ms")]);
            if !killed {
                *slowest = slowest.max(took);
            }
        }
        let stood = order.ms_until(end);
        println!(
            "{text}; {} refused, 0 allowed; end = version {end_version} at {stood:.1} ms; next ALLOW {next:.1} ms after it",
            under.len(),
        );
    }
}

async fn marks(pool: &PgPool) -> BTreeMap<i64, Mark> {
    let select =
        "select version, lane, size, (extract(epoch from at) * 1000000)::bigint from test_mark";
    let rows: Vec<(i64, i32, i64, i64)> = sqlx::query_as(select).fetch_all(pool).await.unwrap();
    let mut marks: BTreeMap<i64, Mark> = BTreeMap::new();
    for (version, lane, size, at_us) in rows {
        let mark = marks.entry(version).or_default();
        mark.at_ns = i128::from(at_us) * 1_000;
        mark.sizes.insert(i64::from(lane), size);
    }
    marks
}

const NOTE: &str = "
    create table test_mark (version bigint, lane integer, size bigint, at timestamptz);
    create function test_mark() returns trigger language plpgsql security definer as $$ begin
        insert into test_mark select new.version, lane, size, clock_timestamp() from log_head; return null; end $$;
    create trigger test_mark after update of version on fact_head for each row execute function test_mark();";
