//! What is kept of decisions, months folded into periods, with what was said and what a machine finds.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use verdict::rule::{Check, Every};

use super::{Asked, Checked, Closed, Obligation, State, on_file, period, store};

pub(super) async fn list(
    pool: &PgPool,
    org: Option<&str>,
    now: i64,
) -> Result<Vec<Obligation>, sqlx::Error> {
    let asked = store::asked(pool, org).await?;
    let said = Said {
        closed: store::closings(pool, org).await?,
        checked: store::checks(pool, org).await?,
    };
    let whole = store::log_is_whole(pool).await?;
    Ok(folded(asked, &said, whole, now))
}

/// (organisation, service, site, code, period)
pub(super) type Key = [String; 5];

/// What was said of obligations, and what a machine found when it was shown a log.
#[derive(Debug, Default)]
struct Said {
    closed: BTreeMap<Key, Closed>,
    checked: BTreeMap<Key, Checked>,
}

/// `whole`: the log has its records from the first one on.
fn folded(asked: Vec<Asked>, said: &Said, whole: bool, now: i64) -> Vec<Obligation> {
    let mut by_key: BTreeMap<Key, (Asked, Every)> = BTreeMap::new();
    for one in asked {
        // A code that no bundle explains is asked for anew each month: nothing says that it serves for longer.
        let every = one.meaning.as_ref().map_or(Every::Month, |meaning| meaning.every);
        let key = [&one.org, &one.service, &one.site, &one.code, period(every, &one.month)];
        let key = key.map(str::to_owned);
        match by_key.get_mut(&key) {
            None => drop(by_key.insert(key, (one, every))),
            Some((known, _)) => join(known, one),
        }
    }
    let mut all: Vec<Obligation> =
        by_key.into_iter().map(|(key, (one, _))| obligation(key, one, said, whole, now)).collect();
    all.sort_by(|a, b| (a.state, a.due, &a.id).cmp(&(b.state, b.due, &b.id)));
    all
}

/// Months come in order, so the later one's bundle says what the code means.
fn join(known: &mut Asked, more: Asked) {
    known.first_s = known.first_s.min(more.first_s);
    known.last_s = known.last_s.max(more.last_s);
    known.decisions += more.decisions;
    known.on_file.retain(|detail| more.on_file.contains(detail));
    known.meaning = more.meaning;
}

fn obligation(key: Key, one: Asked, said: &Said, whole: bool, now: i64) -> Obligation {
    let due = one.meaning.as_ref().and_then(|meaning| meaning.due_days);
    let due = due.map(|days| one.first_s.saturating_add(i64::from(days) * DAY_S));
    let check = one.meaning.as_ref().and_then(|meaning| meaning.check.as_ref());
    let checked = said.checked.get(&key).cloned();
    let found = check.map(|check| match check {
        Check::Records => (whole, State::Broken),
        // A decision that came since is not covered by what was looked at.
        Check::AccessLog => {
            let clean = |one: &Checked| one.is_clean().then_some(one.decisions);
            (checked.as_ref().and_then(clean) == Some(one.decisions), State::Open)
        }
        // Not on file says nothing of what was done elsewhere: somebody may say so.
        Check::Ground { .. } => {
            (on_file(check).is_some_and(|detail| one.on_file.contains(&detail)), State::Open)
        }
    });
    let closed = said.closed.get(&key).cloned();
    let state = match found {
        Some((true, _)) => State::Met,
        Some((false, State::Broken)) => State::Broken,
        _ if closed.is_some() => State::Closed,
        _ if due.is_some_and(|due| due < now) => State::Overdue,
        _ => State::Open,
    };
    let id = id(&key);
    let [org, service, site, code, period] = key;
    Obligation {
        id,
        state,
        org,
        service,
        site,
        code,
        period,
        first: one.first_s,
        last: one.last_s,
        decisions: one.decisions,
        due,
        meaning: one.meaning,
        closed,
        checked,
    }
}

/// 32 hex digits for what makes an obligation the same one.
fn id(key: &Key) -> String {
    let mut digest = Sha256::new();
    for part in key {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    hex::encode(digest.finalize().first_chunk::<16>().copied().unwrap_or_default())
}

const DAY_S: i64 = 86_400;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use verdict::decision::Text;
    use verdict::rule::{Detail, Mark, Obligation as Meaning};

    use super::*;

    fn asked(month: &str, first_s: i64, meaning: &Meaning, on_file: &[&str]) -> Asked {
        Asked {
            org: "kr-bank".into(),
            service: "m".into(),
            site: "kr-seo-1".into(),
            code: meaning.id.clone(),
            month: month.into(),
            first_s,
            last_s: first_s + 5,
            decisions: 3,
            on_file: on_file.iter().map(|one| (*one).to_owned()).collect(),
            meaning: Some(Arc::new(meaning.clone())),
        }
    }

    fn meaning(every: Every, due_days: Option<u16>, check: Option<Check>) -> Meaning {
        let (id, source) = ("DUTY".to_owned(), "a test".to_owned());
        Meaning { id, text: Text::default(), source, mark: Mark::M, every, due_days, check }
    }

    fn states(all: &[Obligation]) -> Vec<(&str, State, i64)> {
        all.iter().map(|one| (one.period.as_str(), one.state, one.decisions)).collect()
    }

    #[test]
    fn months_of_one_period_are_one_obligation() {
        let now = 200 * DAY_S;
        for (every, expected) in [
            (Every::Once, vec![("once", State::Open, 9)]),
            (Every::Year, vec![("2025", State::Open, 3), ("2026", State::Open, 6)]),
            (
                Every::Month,
                vec![
                    ("2025-12", State::Open, 3),
                    ("2026-01", State::Open, 3),
                    ("2026-02", State::Open, 3),
                ],
            ),
        ] {
            let meaning = meaning(every, None, None);
            let months =
                ["2025-12", "2026-01", "2026-02"].map(|month| asked(month, 7, &meaning, &[]));
            let mut all = folded(months.to_vec(), &Said::default(), true, now);
            all.sort_by(|a, b| a.period.cmp(&b.period));
            assert_eq!(states(&all), expected);
        }
    }

    #[test]
    fn it_is_due_after_the_first_decision_and_then_overdue_until_it_is_closed() {
        let meaning = meaning(Every::Year, Some(90), None);
        let one = || vec![asked("2026-01", 10 * DAY_S, &meaning, &[])];
        let open = folded(one(), &Said::default(), true, 100 * DAY_S);
        assert_eq!((open[0].state, open[0].due), (State::Open, Some(100 * DAY_S)));
        let late = folded(one(), &Said::default(), true, 100 * DAY_S + 1);
        assert_eq!(late[0].state, State::Overdue);
        let key = ["kr-bank", "m", "kr-seo-1", "DUTY", "2026"].map(str::to_owned);
        let said = Closed { at: 1, evidence: "sha256:00".into() };
        let said = Said { closed: [(key, said)].into(), ..Said::default() };
        let closed = folded(one(), &said, true, 100 * DAY_S + 1);
        assert_eq!(closed[0].state, State::Closed);
    }

    #[test]
    fn a_machine_finds_it_met_only_if_it_was_on_file_in_every_month() {
        let detail = Detail::DisclosureRef;
        let check = Check::Ground { r#type: "kr.contract_disclosed".into(), detail };
        let meaning = meaning(Every::Once, None, Some(check));
        let told = "kr.contract_disclosed/disclosure_ref";
        let both =
            vec![asked("2026-01", 1, &meaning, &[told]), asked("2026-02", 2, &meaning, &[told])];
        assert_eq!(folded(both, &Said::default(), true, 3)[0].state, State::Met);
        let one = vec![asked("2026-01", 1, &meaning, &[told]), asked("2026-02", 2, &meaning, &[])];
        assert_eq!(folded(one, &Said::default(), true, 3)[0].state, State::Open);
    }

    #[test]
    fn records_that_are_missing_break_what_they_are_kept_for_whatever_is_said() {
        let meaning = meaning(Every::Once, None, Some(Check::Records));
        let one = || vec![asked("2026-01", 1, &meaning, &[])];
        assert_eq!(folded(one(), &Said::default(), true, 3)[0].state, State::Met);
        let key = ["kr-bank", "m", "kr-seo-1", "DUTY", "once"].map(str::to_owned);
        let said = Closed { at: 1, evidence: "sha256:00".into() };
        let said = Said { closed: [(key, said)].into(), ..Said::default() };
        assert_eq!(folded(one(), &said, false, 3)[0].state, State::Broken);
    }

    #[test]
    fn a_delivered_log_meets_it_only_if_it_is_whole_clean_and_of_all_decisions() {
        let meaning = meaning(Every::Month, None, Some(Check::AccessLog));
        let clean = Checked {
            at: 9,
            evidence: "sha256:00".into(),
            entries: 4,
            unexplained: 0,
            mismatches: None,
            whole: true,
            findings: Vec::new(),
            decisions: 3,
        };
        for (checked, state) in [
            (None, State::Open),
            (Some(clean.clone()), State::Met),
            (Some(Checked { mismatches: Some(0), ..clean.clone() }), State::Met),
            (Some(Checked { mismatches: Some(1), ..clean.clone() }), State::Open),
            (Some(Checked { unexplained: 1, ..clean.clone() }), State::Open),
            (Some(Checked { whole: false, ..clean.clone() }), State::Open),
            (Some(Checked { decisions: 2, ..clean }), State::Open),
        ] {
            let key = ["kr-bank", "m", "kr-seo-1", "DUTY", "2026-01"].map(str::to_owned);
            let checked = checked.map(|one| (key, one)).into_iter().collect();
            let said = Said { checked, ..Said::default() };
            let all = folded(vec![asked("2026-01", 1, &meaning, &[])], &said, true, 10);
            assert_eq!(all[0].state, state, "{said:?}");
        }
    }

    #[test]
    fn a_period_begins_and_is_over_in_utc() {
        let meaning = meaning(Every::Month, None, None);
        let one = folded(vec![asked("2026-12", 1, &meaning, &[])], &Said::default(), true, 3);
        let span = |period: &str| Obligation { period: period.into(), ..one[0].clone() }.span();
        assert_eq!(span("2026-12"), Some((1_796_083_200, 1_798_761_600)));
        assert_eq!(span("2026"), Some((1_767_225_600, 1_798_761_600)));
        assert_eq!(span("once"), None);
    }
}
