//! A small file does not keep a verifier busy for as long as it likes: what all of it may take is bounded too.

use haetae_verify::{
    finding::{Judged, RecordFault},
    report::{Exit, Open},
};
use serde_json::{Value, json};
use verdict::{
    Rulebook,
    access::{Access, AccessOut, AccessRow},
    facts::{Facts, Gap},
    reason::Reason,
    rule::{Book, RuleText},
};

use super::export::{BUNDLE, Export, JUDGED, Lane, Texts, facts};
use super::{at, check};

/// The rules of [`BUNDLE`], with so many rows in all for data that go elsewhere, and so many regimes.
fn book(rows: usize, regimes: usize, regime: &str) -> Book {
    let mut book: Value = serde_json::from_str(BUNDLE).unwrap();
    for number in 2..=rows {
        let mut row = book["rows"][0].clone();
        (row["number"], row["to"], row["regime"]) = (number.into(), "CN".into(), regime.into());
        book["rows"].as_array_mut().unwrap().push(row);
    }
    for number in 1..regimes {
        let regime = json!({ "id": format!("KR.{number}"), "mode": "floor" });
        book["regimes"].as_array_mut().unwrap().push(regime);
    }
    serde_json::from_value(book).unwrap()
}

/// Each is within what one may take, and each is judged for another second.
#[test]
fn what_many_decisions_multiply_to_is_not_judged_whole() {
    let mut facts = facts("JP", "d@1");
    let component = facts.question.components[0].clone();
    facts.question.components = vec![component; 500];
    let (mut texts, mut lane) = (Texts::default(), Lane::open(0));
    let rules = Rulebook::new(book(4_000, 1, "KR.X")).unwrap();
    let refused = texts.judge(&rules, &facts, JUDGED);
    assert_eq!(refused.outcome, "DENY");
    for second in 0..40 {
        lane.decision(&refused, json!({ "judged": JUDGED - second }));
    }
    lane.announce(&refused);
    lane.checkpoints = vec![lane.leaves.len()];
    let report = check(&Export::of(&[&lane], &texts));
    let (judged, unjudged) = (report.counts.judged, report.counts.unjudged);
    assert_eq!((report.findings, judged + unjudged), (vec![], 40));
    assert!(judged >= 10 && unjudged >= 10, "{judged} and {unjudged}");
    assert_eq!(report.open, [Open::Unjudged(unjudged)]);
    let text = Open::Unjudged(7).text();
    assert!(text.en.starts_with("7 decisions were not judged again: "), "{}", text.en);
    assert!(text.ko.starts_with("결정 7건은 다시 판정하지 않았습니다: "), "{}", text.ko);

    // The same decisions for one second are one.
    let mut lane = Lane::open(0);
    (0..40).for_each(|_| drop(lane.decision(&refused, json!({}))));
    lane.announce(&refused);
    lane.checkpoints = vec![lane.leaves.len()];
    let report = check(&Export::of(&[&lane], &texts));
    assert_eq!((report.exit(), report.counts.judged), (Exit::Whole, 40));
}

/// That a decision whose bundle or facts are replaced by this is too much.
fn is_too_much(rules: &Rulebook, kind: &'static str, large: &impl serde::Serialize) {
    let (mut texts, mut lane) = (Texts::default(), Lane::open(0));
    let mut decided = texts.judge(rules, &facts("JP", "d@1"), JUDGED);
    texts.0.retain(|_, (kept, _)| *kept != kind);
    let large = verdict::canonical(large).unwrap();
    decided.fields.insert(kind.into(), texts.keep(kind, large).into());
    lane.decision(&decided, json!({}));
    lane.checkpoints = vec![2];
    let cause = "the bundle and the facts multiply to more than any gateway judges";
    let unusable = at(0, 1, RecordFault::Judged(Judged::Unusable(cause.into())));
    assert_eq!(check(&Export::of(&[&lane], &texts)).findings, [unusable]);
}

#[test]
fn rules_that_multiply_are_not_read() {
    let rules = Rulebook::new(book(2, 2, "*")).unwrap();
    is_too_much(&rules, "bundle", &book(2_100, 2_100, "*"));
    let mut named = book(5_000, 1, "KR.X");
    let rule = named.rules[0].clone();
    named
        .rules
        .extend((0..5_000).map(|number| RuleText { id: format!("X{number}"), ..rule.clone() }));
    is_too_much(&rules, "bundle", &named);
}

/// Without sites there is no cell, and what comes before any is most of the work.
#[test]
fn facts_that_multiply_before_any_cell_are_not_judged() {
    let without_sites = || Facts { sites: Vec::new(), ..facts("JP", "d@1") };
    let row = AccessRow {
        id: "r".into(),
        out: AccessOut::Deny,
        role: Some("nobody".into()),
        service: "class:model".into(),
        operation: None,
    };
    let roles = (0..9_000).map(|number| format!("r{number:05}")).collect();
    let access = Access { roles, rows: vec![row; 9_000], ..Access::default() };
    let rules = Rulebook::new(book(2, 2, "*")).unwrap();
    is_too_much(&rules, "facts", &Facts { access: Some(access), ..without_sites() });

    let rules = Rulebook::new(book(2, 1_000, "*")).unwrap();
    let mut terms = without_sites();
    terms.question.components[0].categories = vec!["x".into(); 70_000];
    is_too_much(&rules, "facts", &terms);

    // Each quotes the largest rule.
    let mut book = book(2, 2, "*");
    book.rules[0].text.en = "x".repeat(100_000);
    let gap = |number| Gap { reason: Reason::MissingFact, what: format!("{number}") };
    let gaps = Facts { gaps: (0..6_000).map(gap).collect(), ..without_sites() };
    is_too_much(&Rulebook::new(book).unwrap(), "facts", &gaps);
}

#[test]
fn where_enough_is_wrong_nothing_more_is_judged() {
    let (mut texts, mut lane) = (Texts::default(), Lane::open(0));
    let refused = texts.decide("JP", "d@1");
    for _ in 0..1_003 {
        lane.decision(&refused, json!({ "reason": "NO_GROUND" }));
    }
    lane.announce(&refused);
    lane.checkpoints = vec![lane.leaves.len()];
    let report = check(&Export::of(&[&lane], &texts));
    assert_eq!((report.findings.len(), report.more, report.counts.unjudged), (1_000, 0, 3));
    assert_eq!(report.findings[999], at(0, 1_000, RecordFault::Judged(Judged::Reason)));
}

/// The kind that a text line says of itself may be as long as a line: it is none that a decision names.
#[test]
fn a_text_of_no_known_kind_is_of_none() {
    let (mut texts, mut lane) = (Texts::default(), Lane::open(0));
    let refused = texts.decide("JP", "d@1");
    lane.decision(&refused, json!({}));
    lane.announce(&refused);
    lane.checkpoints = vec![3];
    let mut export = Export::of(&[&lane], &texts);
    let line = export.find("text", &[("kind", "detail".into())]);
    export.lines[line]["kind"] = "x".repeat(100_000).into();
    let found = check(&export).findings;
    assert_eq!(found.iter().map(haetae_verify::Finding::code).collect::<Vec<_>>(), ["text_kind"]);
}
