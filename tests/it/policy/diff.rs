//! Proves that a diff leaves no changed outcome out, that what becomes milder comes first with its rules,
//! that later dates are compared too, and that what is written otherwise is listed.

use haetae::policy::{Diff, Table};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use verdict::Rulebook;
use verdict::cell::Truth;
use verdict::decision::{Flow, Outcome};
use verdict::question::Profile;
use verdict::rule::{Book, Out};
use verdict::stamp::Stamp;

use super::table::{drawn, unsure};
use super::{AT, bundle};

async fn changed(change: impl Fn(&mut Book)) -> (&'static Rulebook, Rulebook) {
    let before = bundle().await.rules();
    let mut book = before.book().clone();
    change(&mut book);
    (before, Rulebook::new(book).expect("a rulebook"))
}

#[tokio::test]
async fn a_bundle_does_not_differ_from_itself() {
    let (before, after) = changed(|book| book.rows.reverse()).await;
    let diff = Diff::new(before, &after, AT).unwrap();
    assert!(diff.is_empty());
    assert!(diff.to_string().contains("no outcome changes"), "{diff}");
}

#[tokio::test]
async fn what_becomes_milder_comes_first_with_its_rules() {
    let (before, after) = changed(|book| {
        // resident registration numbers may leave; orders of the kind `hold` refuse
        book.rows.retain(|row| (row.rule.as_str(), row.number) != ("R05", 2));
        let hold = |row: &&mut verdict::rule::Row| row.rule == "R11" && row.out == Out::Hold;
        book.rows.iter_mut().find(hold).unwrap().out = Out::Deny;
    })
    .await;
    let diff = Diff::new(before, &after, AT).unwrap();
    let first = &diff.intervals[0].changes[0];
    assert_eq!((first.before.outcome, first.after.outcome), (Outcome::Deny, Outcome::Allow));
    assert_eq!(first.before.rule.as_deref(), Some("R05"));
    assert!(first.combinations > 0 && first.example.contains(&"cat:kr:RRN".to_owned()), "{first}");
    let milder = diff.intervals[0].changes.iter().map(|it| it.after.outcome < it.before.outcome);
    let milder: Vec<bool> = milder.collect();
    assert!(milder.is_sorted_by(|a, b| a >= b) && milder.contains(&false), "{milder:?}");
    let held = diff.intervals[0].changes.iter().find(|it| it.before.outcome == Outcome::Hold);
    assert_eq!(held.unwrap().after.rule.as_deref(), Some("R11"));
    assert!(diff.written.iter().any(|line| line.starts_with("- rows R05/2")), "{diff}");
    assert!(diff.written.iter().any(|line| line == "~ rows R11/4 out: hold -> deny"), "{diff}");
}

#[tokio::test]
async fn a_later_date_is_compared_too_and_other_obligations_are_a_change() {
    let (before, after) = changed(|book| {
        let rule = book.rules.iter_mut().find(|rule| rule.id == "R22").unwrap();
        rule.until = Some(Stamp::parse("2028-01-01T00:00:00Z").unwrap());
        let oblige = book.rows.iter_mut().find(|row| row.out == Out::Oblige && row.rule == "R18");
        oblige.unwrap().obligations = vec!["RETAIN(12y)".into()];
    })
    .await;
    let diff = Diff::new(before, &after, AT).unwrap();
    let [now, later] = &diff.intervals[..] else { panic!("{diff}") };
    assert_eq!(later.from, Stamp::parse("2028-01-01").unwrap().starts());
    assert_eq!(now.until, Some(later.from));
    let same = |it: &haetae::policy::Change| it.before.outcome == it.after.outcome;
    assert!(!now.changes.is_empty() && now.changes.iter().all(same), "{diff}");
    assert!(now.changes[0].after.obligations.contains("RETAIN(12y)"));
    let strict = later.changes.iter().find(|it| !same(it)).unwrap();
    assert_eq!((strict.before.outcome, strict.after.outcome), (Outcome::Allow, Outcome::Deny));
    assert!(diff.written.contains(&"+ rules R22 until: 2028-01-01T00:00:00Z".to_owned()), "{diff}");
}

/// Some rows are taken out and one asks for less: whatever the cell, if its outcome changes the diff says so.
#[tokio::test]
async fn a_diff_leaves_no_changed_outcome_out() {
    let before = bundle().await.rules();
    let old = super::table::table().await;
    let unsure = unsure(old);
    let mut book = before.book().clone();
    // nothing at home is permitted any more, and a rule about public bodies asks for less
    let at_home = ["R02/1", "EU.HOME/1", "R20/1", "R21/1"];
    book.rows.retain(|row| !at_home.contains(&&*format!("{}/{}", row.rule, row.number)));
    book.rows.iter_mut().find(|row| row.rule == "R10").unwrap().when.pop();
    let after = Rulebook::new(book).unwrap();
    let new = Table::new(&after, AT).unwrap();
    let diff = Diff::new(before, &after, AT).unwrap();
    let regimes: Vec<String> = old.pages.iter().map(|page| page.regime.clone()).collect();
    let cells = (
        prop::sample::select(regimes),
        prop::sample::select(vec![Profile::Statutory, Profile::Sovereign]),
        prop::sample::select(Flow::ALL.to_vec()),
        prop::sample::select(vec!["KR", "DE", "GB", "US", "CN", "JP", "ZZ"]),
        prop::collection::vec(0_u8..24, 64),
    );
    let config =
        ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    let told = |rules: &Rulebook, table: &Table<'_>, cell: (_, &str, _), place, values: &[u8]| {
        let key = drawn(rules, &unsure, cell, place, values);
        table.line(&key, Truth::False).expect("a line").outcome
    };
    let changed = std::cell::Cell::new(0);
    let same = |(regime, profile, flow, place, values): (String, _, _, _, Vec<u8>)| {
        let cell = (profile, regime.as_str(), flow);
        let one = told(before, old, cell, place, &values);
        let other = told(&after, &new, cell, place, &values);
        let listed = is_listed(&diff, cell, (one, other));
        prop_assert!(one == other || listed, "{} {:?}", regime, (profile, flow, one, other));
        changed.set(changed.get() + u32::from(one != other));
        Ok(())
    };
    TestRunner::new(config).run(&cells, same).unwrap();
    assert!(changed.get() > 0, "no cell drawn has changed");
}

/// The diff names a change of these outcomes in such a cell.
fn is_listed(
    diff: &Diff<'_>,
    (profile, regime, flow): (Profile, &str, Flow),
    outcomes: (Outcome, Outcome),
) -> bool {
    let mut changes = diff.intervals[0].changes.iter();
    changes.any(|change| {
        let here = change.cells.iter().filter(|cells| cells.regime == regime);
        let mut scopes = here.flat_map(|cells| &cells.scopes);
        scopes.any(|it| it.profiles.contains(&profile) && it.flows.contains(&flow))
            && (change.before.outcome, change.after.outcome) == outcomes
    })
}
