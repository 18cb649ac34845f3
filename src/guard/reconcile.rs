//! A site's journal against the log: whoever was let in must have been allowed, and whoever was allowed and sent must have
//! been let in. A bypass at either end shows here.
//!
//! *Invariant:* pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Entry, What};

/// An allow of the log towards this site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    pub decision: String,
    /// The lane's name.
    pub lane: String,
    pub index: u64,
    /// By the gateway's clock, as a guard reads it: nanoseconds since 1970.
    pub made_ns: i64,
    /// How the gateway says it ended (docs/record.md); none while it is under way.
    pub how: Option<String>,
}

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The site let it in; the log has no such allow for this site.
    NotAllowed { decision: String, lane: String, index: u64, at_ns: i64 },
    /// The gateway says that it reached the site; the site did not let it in.
    NotLetIn { decision: String, how: String, at_ns: i64 },
    /// The site let it in; the gateway says that it sent nothing.
    NotSent { decision: String, at_ns: i64 },
    /// The site let it in again: each opens it once.
    Twice { decision: String, at_ns: i64 },
}

/// An hour (UTC) in which something was allowed or let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hour {
    pub allowed: u64,
    pub let_in: u64,
    /// Allowed, and by the gateway's own word never sent, or lost with it.
    pub not_sent: u64,
    /// Not let in.
    pub refused: u64,
    pub mismatches: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// By start of the hour, Unix seconds.
    pub hours: BTreeMap<i64, Hour>,
    /// By time.
    pub mismatches: Vec<Mismatch>,
}

/// Places of uses in this span of time of which none of these allows is. The log is asked for them before anybody says that they were
/// not allowed: when an allow was made is for clocks to say, where it stands is not.
#[must_use]
pub fn unknown<'e>(
    entries: &'e [Entry<'_>],
    allows: &[Allow],
    span: Range<i64>,
) -> Vec<(&'e str, u64)> {
    let known: HashSet<Place<'_>> = allows.iter().map(Allow::place).collect();
    let uses = entries.iter().filter(|entry| span.contains(&entry.at_ns)).filter_map(Entry::used);
    // No log has such a name, and Postgres would not even hear it: the question for all others would fail with it.
    let can_be = |(lane, _): &Place<'_>| !lane.contains('\0');
    let places: BTreeSet<_> = uses.filter(|place| !known.contains(place)).filter(can_be).collect();
    places.into_iter().collect()
}

/// Holds allows against a journal of the same span of time, as it was read before them and as it was read after them: what was let
/// in before they were read is among them, and what they say was sent was let in by then. Both may be longer at the edges: an allow
/// shortly before `to_ns` is let in shortly after it. An allow made outside the span explains its use, and is held against nothing.
#[must_use]
pub fn reconcile(
    [before, after]: [&[Entry<'_>]; 2],
    allows: &[Allow],
    from_ns: i64,
    to_ns: i64,
) -> Report {
    let mut report = Report::default();
    let covered = |at_ns: i64| at_ns >= from_ns && at_ns < to_ns;
    let by_place: HashMap<Place<'_>, &Allow> =
        allows.iter().map(|allow| (allow.place(), allow)).collect();
    let mut seen = HashSet::new();
    for entry in before {
        let place = entry.used();
        let again = place.is_some_and(|place| !seen.insert(place));
        if !covered(entry.at_ns) {
            continue;
        }
        report.count(entry);
        if let Some(place) = place {
            report.mismatches.extend(contradicts(entry, place, again, &by_place));
        }
    }
    let let_in: HashSet<Place<'_>> = after.iter().filter_map(Entry::used).collect();
    for allow in allows.iter().filter(|allow| covered(allow.made_ns)) {
        let hour = report.hour(allow.made_ns);
        hour.allowed += 1;
        if let_in.contains(&allow.place()) {
            continue;
        }
        match allow.how.as_deref() {
            Some(how) if REACHED.contains(&how) => report.mismatches.push(Mismatch::NotLetIn {
                decision: allow.decision.clone(),
                how: how.to_owned(),
                at_ns: allow.made_ns,
            }),
            _ => hour.not_sent += 1,
        }
    }
    report.mismatches.sort_by_key(Mismatch::at_ns);
    for at_ns in report.mismatches.iter().map(Mismatch::at_ns).collect::<Vec<_>>() {
        report.hour(at_ns).mismatches += 1;
    }
    report
}

/// A lane's name, and an index in it.
type Place<'e> = (&'e str, u64);

/// What speaks against a use of a receipt.
fn contradicts(
    entry: &Entry<'_>,
    (lane, index): Place<'_>,
    again: bool,
    allows: &HashMap<Place<'_>, &Allow>,
) -> Option<Mismatch> {
    let (at_ns, decision) = (entry.at_ns, entry.decision.as_deref().unwrap_or_default().to_owned());
    match allows.get(&(lane, index)).filter(|allow| allow.decision == decision) {
        None => Some(Mismatch::NotAllowed { decision, lane: lane.to_owned(), index, at_ns }),
        Some(_) if again => Some(Mismatch::Twice { decision, at_ns }),
        Some(allow) if allow.how.as_deref() == Some(NOT_FORWARDED) => {
            Some(Mismatch::NotSent { decision, at_ns })
        }
        Some(_) => None,
    }
}

impl Allow {
    fn place(&self) -> Place<'_> {
        (&self.lane, self.index)
    }
}

impl Entry<'_> {
    /// Whose receipt was used; of a line that does not say it, no one's.
    fn used(&self) -> Option<Place<'_>> {
        let place = (self.lane.as_deref().unwrap_or_default(), self.index.unwrap_or_default());
        (self.what == What::Consumed).then_some(place)
    }
}

impl Report {
    fn hour(&mut self, at_ns: i64) -> &mut Hour {
        self.hours.entry(at_ns.div_euclid(HOUR_NS) * HOUR_S).or_default()
    }

    fn count(&mut self, entry: &Entry<'_>) {
        let hour = self.hour(entry.at_ns);
        match entry.what {
            What::Consumed => hour.let_in += 1,
            What::Refused => hour.refused = hour.refused.saturating_add(1),
            What::RefusedMore => {
                hour.refused = hour.refused.saturating_add(entry.count.unwrap_or(0));
            }
            What::Started => {}
        }
    }
}

impl Mismatch {
    fn at_ns(&self) -> i64 {
        match self {
            Self::NotAllowed { at_ns, .. }
            | Self::NotLetIn { at_ns, .. }
            | Self::NotSent { at_ns, .. }
            | Self::Twice { at_ns, .. } => *at_ns,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(self.at_ns().into());
        let at = at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
        match self {
            // What only the site says may be anything, also what a terminal obeys or takes for another line.
            Self::NotAllowed { decision, lane, index, .. } => write!(
                out,
                "{at}  let in, not allowed: decision {}; the log has no allow for this site at {}, index {index}",
                decision.escape_debug(),
                lane.escape_debug()
            ),
            Self::NotLetIn { decision, how, .. } => write!(
                out,
                "{at}  allowed and sent, not let in: decision {decision}; the gateway says `{how}`, the site's journal has no use of it"
            ),
            Self::NotSent { decision, .. } => write!(
                out,
                "{at}  let in, not sent: decision {decision}; the gateway says that it sent nothing"
            ),
            Self::Twice { decision, .. } => write!(
                out,
                "{at}  let in again: decision {decision}; a receipt opens the site once"
            ),
        }
    }
}

const HOUR_S: i64 = 3_600;
const HOUR_NS: i64 = HOUR_S * 1_000_000_000;
const NOT_FORWARDED: &str = "not_forwarded";
/// Ends that say that the site had the request.
const REACHED: [&str; 2] = ["forwarded", "partial"];

#[cfg(test)]
mod tests {
    //! When an allow was made and where it stands are two things: a use is explained by the second.

    use std::borrow::Cow;

    use super::*;

    fn used(index: u64, at_ns: i64) -> Entry<'static> {
        Entry {
            at_ns,
            boot: None,
            count: None,
            decision: Some(format!("d{index}").into()),
            index: Some(index),
            lane: Some("log/0".into()),
            network: None,
            previous: Cow::Borrowed(""),
            site: None,
            torn: None,
            v: 1,
            what: What::Consumed,
            why: None,
        }
    }

    fn allow(index: u64, made_ns: i64) -> Allow {
        let how = Some("forwarded".to_owned());
        Allow { decision: format!("d{index}"), lane: "log/0".to_owned(), index, made_ns, how }
    }

    #[test]
    fn a_use_is_looked_up_where_no_allow_of_its_time_explains_it() {
        let refused = Entry { what: What::Refused, ..used(6, 15) };
        let entries = [used(1, 9), used(2, 12), used(4, 13), used(3, 14), used(4, 15), refused];
        let asked = unknown(&entries, &[allow(2, 11)], 10..20);
        assert_eq!(asked, [("log/0", 3), ("log/0", 4)], "each once, and those of the span alone");
    }

    #[test]
    fn what_only_a_site_says_is_one_line_and_breaks_no_sum() {
        let said = "d\nwhoever was let in was allowed\u{1b}[2J".into();
        let odd = Entry { decision: Some(said), lane: Some("a\0\u{202e}".into()), ..used(1, 12) };
        let more = |what, count| Entry { count, what, ..used(1, 13) };
        let entries = [odd, more(What::RefusedMore, Some(u64::MAX)), more(What::Refused, None)];
        assert_eq!(unknown(&entries, &[], 10..20), [], "no log has such a lane");
        let report = reconcile([&entries, &entries], &[], 10, 20);
        let told: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
        let [told] = &*told else { panic!("{told:?}") };
        let is_odd = |one: char| one.is_control() || one == '\u{202e}';
        assert!(told.contains("let in, not allowed") && !told.contains(is_odd), "{told:?}");
        assert_eq!(report.hours.values().map(|hour| hour.refused).max(), Some(u64::MAX));
    }

    #[test]
    fn an_allow_of_another_time_explains_its_use_and_is_not_missed() {
        let entries = [used(1, 12)];
        let found = |allows: &[Allow]| reconcile([&entries, &entries], allows, 10, 20);
        let elsewhere = found(&[allow(1, 3 * HOUR_NS), allow(2, 3 * HOUR_NS)]);
        assert_eq!(elsewhere.mismatches, []);
        assert_eq!(elsewhere.hours.values().map(|hour| hour.allowed).sum::<u64>(), 0);
        let here = found(&[allow(1, 11), allow(2, 11)]).mismatches;
        assert!(matches!(&here[..], [Mismatch::NotLetIn { decision, .. }] if decision == "d2"));
        let not_allowed = found(&[]).mismatches;
        assert!(matches!(&not_allowed[..], [Mismatch::NotAllowed { index: 1, .. }]));
    }
}
