//! Proves the properties that the composition promises over generated questions and rulebooks: a refusal wins, adding a
//! restriction never allows, order does not matter, an unknown fact never helps, same bytes in give same bytes out; and
//! that the memo's key is all that matching depends on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it breaks")]

#[path = "reference/book.rs"]
mod book;

use book::{ground, question};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};
use verdict::{
    Rulebook, canonical,
    cell::{CellKey, Disagreement, Matcher, Matches, Pure},
    decide, decide_with,
    decision::{Decision, Outcome, RemedyKind},
    facts::Facts,
    judge, judge_with,
    question::{Profile, Question},
    reason::Reason,
    rule::{Kind, Out, Row},
};

static BOOK: LazyLock<Rulebook> = LazyLock::new(book::rulebook);

/// A question with a few facts drawn at random; many are refused, many are not.
fn questions() -> impl Strategy<Value = Value> {
    let regime = prop_oneof![
        Just(("KR.PIPA", "KR")),
        Just(("EU.GDPR", "DE")),
        Just(("JP.APPI", "JP")),
        Just(("US.HIPAA", "US")),
    ];
    let country = prop::sample::select(vec!["KR", "DE", "US", "JP", "CN"]);
    let category = prop::sample::select(vec![
        "pd:General",
        "kr:RRN",
        "us:PHI",
        "kr:EMR",
        "pd:EmploymentHistory",
    ]);
    let grounds = prop::sample::subsequence(GROUNDS.to_vec(), 0..GROUNDS.len());
    let until = prop::sample::select(vec!["2026-11-19", "2026-11-20", "2027-01-01"]);
    let order = prop::option::of(prop::sample::select(vec!["suspend", "hold"]));
    (regime, country.clone(), country, category, grounds, until, order, any::<bool>()).prop_map(
        |((regime, origin), country, backup, category, kinds, until, order, personal)| {
            let mut question = question(regime, origin, country);
            question["components"][0]["categories"] = json!([category]);
            question["site"]["backups"] = json!([backup]);
            if !personal {
                question["components"][0]["identifiability"] = json!("non_personal");
            }
            let grounds = kinds.into_iter().map(|(regime, kind)| {
                let details = json!({"tia": {"outcome": "no_problem", "at": "2026-06-01"}, "info_provided": true,
                    "disclosure_ref": "d", "statute_ref": "s"});
                let mut ground = ground(regime, kind, &details);
                ground["valid_until"] = json!(until);
                ground
            });
            question["grounds"] = grounds.collect();
            if let Some(kind) = order {
                question["orders"] = json!([{"id": "o", "kind": kind, "match": {"to": [backup]},
                    "effective_from": "2026-11-01", "until": null}]);
            }
            question
        },
    )
}

const GROUNDS: [(&str, &str); 5] = [
    ("KR.PIPA", "kr.consent"),
    ("KR.PIPA", "kr.contract_disclosed"),
    ("KR.PIPA", "kr.rrn_statute"),
    ("EU.GDPR", "eu.A46-2-c"),
    ("JP.APPI", "jp.consent"),
];

/// A restriction with literals that hold, do not, or are unknown.
fn restrictions() -> impl Strategy<Value = Row> {
    let literal = prop::sample::select(vec![
        "cat:pd:General",
        "!cat:pd:General",
        "to:US",
        "!to:EEA30",
        "recipient.dpf",
        "!ground:kr.consent",
        "subject.us_person",
        "tee.affirming",
        "class>=confidential",
    ]);
    let out = prop_oneof![Just(Out::Hold), Just(Out::Deny)];
    let flow = prop::sample::select(vec!["*", "copy", "result"]);
    (prop::collection::vec(literal, 0..3), out, flow).prop_map(|(when, out, flow)| Row {
        rule: "R01".into(),
        number: 1,
        kind: Kind::Restrict,
        out,
        regime: "*".into(),
        flow: flow.into(),
        to: "*".into(),
        when: when.into_iter().map(str::to_owned).collect(),
        obligations: Vec::new(),
        profiles: vec![Profile::Statutory],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_worst_cell_wins_and_only_an_allow_has_no_refusal(value in questions()) {
        let decision = decide(&BOOK, &read(&value)).unwrap();
        // facts that contradict each other precede the cells, which may each be fine
        let contradicted = decision.reasons.iter().any(|why| why.code == Reason::Contradiction);
        let worst = decision.cells.iter().map(|cell| cell.outcome).max().unwrap();
        let worst = if contradicted { Outcome::Deny } else { worst };
        prop_assert_eq!(decision.outcome, worst);
        let refused = decision.reasons.iter().any(|why| why.code.code() != "ALLOWED_BY_RULE");
        prop_assert_eq!(refused, worst >= Outcome::Hold);
        for cell in &decision.cells {
            prop_assert!(!cell.rules.is_empty() || cell.outcome == Outcome::Allow);
        }
    }

    #[test]
    fn a_further_restriction_never_allows(value in questions(), row in restrictions()) {
        let question = read(&value);
        let before = decide(&BOOK, &question).unwrap();
        let mut stricter = BOOK.book().clone();
        stricter.rows.push(row);
        let after = decide(&Rulebook::new(stricter).unwrap(), &question).unwrap();
        prop_assert!(after.outcome >= before.outcome);
        for (before, after) in before.cells.iter().zip(&after.cells) {
            prop_assert!(after.outcome >= before.outcome);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        value in questions(),
        rows in Just(BOOK.book().rows.clone()).prop_shuffle(),
    ) {
        let mut book = BOOK.book().clone();
        book.rows = rows;
        book.groups.reverse();
        book.rules.reverse();
        let shuffled = Rulebook::new(book).unwrap();
        prop_assert_eq!(shuffled.digest(), BOOK.digest());
        let question = read(&value);
        prop_assert_eq!(decide(&shuffled, &question).unwrap(), decide(&BOOK, &question).unwrap());
    }

    #[test]
    fn forgetting_a_fact_never_helps(value in questions(), path in prop::sample::select(FORGETTABLE.to_vec())) {
        let known = decide(&BOOK, &read(&value)).unwrap();
        let forgotten = decide(&BOOK, &read(&forget(value, path))).unwrap();
        prop_assert!(forgotten.outcome >= known.outcome, "{}", path);
    }

    #[test]
    fn a_second_ground_never_makes_it_worse(value in questions(), kind in prop::sample::select(GROUNDS.to_vec())) {
        let before = decide(&BOOK, &read(&value)).unwrap();
        let mut more = value;
        let mut unending = ground(kind.0, kind.1, &json!({}));
        unending.as_object_mut().unwrap().remove("valid_until");
        more["grounds"].as_array_mut().unwrap().push(unending);
        prop_assert!(decide(&BOOK, &read(&more)).unwrap().outcome <= before.outcome);
    }

    #[test]
    fn a_remedy_is_enough(value in questions()) {
        let question = read(&value);
        let decision = decide(&BOOK, &question).unwrap();
        for remedy in decision.remedy.iter().filter(|remedy| remedy.kind == RemedyKind::RegisterGround) {
            let regime = &BOOK.ground_type(&remedy.value).unwrap().regime;
            let details = json!({"tia": {"outcome": "no_problem", "at": "2026-11-20"}, "info_provided": true,
                "disclosure_ref": "d", "statute_ref": "s", "checked_at": "2026-11-20"});
            let mut remedied = value.clone();
            remedied["grounds"].as_array_mut().unwrap().push(ground(regime, &remedy.value, &details));
            prop_assert!(decide(&BOOK, &read(&remedied)).unwrap().outcome <= Outcome::AllowWithObligations);
        }
    }

    #[test]
    fn a_memo_by_key_changes_nothing_and_bytes_are_stable(values in prop::collection::vec(questions(), 1..6)) {
        let mut memo = Memo::default();
        for value in values {
            let mut question = read(&value);
            let plain = decide(&BOOK, &question).unwrap();
            prop_assert_eq!(&plain, &decide_with(&BOOK, &question, &mut memo).unwrap());
            let at = question.at.take().unwrap().starts();
            let site = std::mem::take(&mut question.site);
            let facts = Facts { question, sites: vec![site], ..Facts::default() };
            let bytes = canonical(&judge(&BOOK, &facts, at)).unwrap();
            prop_assert_eq!(&bytes, &canonical(&judge_with(&BOOK, &facts, at, &mut memo)).unwrap());
            let again: Facts = serde_json::from_slice(&canonical(&facts).unwrap()).unwrap();
            prop_assert_eq!(&bytes, &canonical(&judge(&BOOK, &again, at)).unwrap());
            let judged: verdict::facts::Judgement = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&bytes, &canonical(&judged).unwrap());
            prop_assert_eq!(judged.decision.facts_digest, plain.facts_digest);
        }
    }

    /// A decision that says until when it holds is the same at every instant before, and is another one then or later
    /// only where a date turned.
    #[test]
    fn a_decision_holds_until_it_says(value in questions(), share in 0.0f64..1.0) {
        let mut question = read(&value);
        let decision = decide(&BOOK, &question).unwrap();
        let at = question.at.as_ref().unwrap().starts();
        let end = decision.valid_until.as_ref().map_or(at + 900 * 86_400, verdict::stamp::Stamp::starts);
        prop_assert!(end > at);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any instant between does")]
        let between = at + ((end - 1 - at) as f64 * share) as i64;
        question.at = Some(verdict::stamp::Stamp::at(between).unwrap());
        prop_assert_eq!(decide(&BOOK, &question).unwrap().outcome, decision.outcome);
    }
}

#[derive(Default)]
struct Memo(BTreeMap<CellKey, Matches>);

impl Matcher for Memo {
    fn matches(&mut self, rulebook: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement> {
        if let Some(known) = self.0.get(key) {
            return Ok(known.clone());
        }
        let found = Pure.matches(rulebook, key)?;
        self.0.insert(key.clone(), found.clone());
        Ok(found)
    }
}

const FORGETTABLE: [&str; 10] = [
    "/site/location",
    "/site/operator",
    "/site/operator/entity",
    "/recipient/place",
    "/components/0/identifiability",
    "/components/0/class",
    "/components/0/dataset",
    "/role",
    "/profile",
    "/at",
];

fn forget(mut value: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    value
}

fn read(value: &Value) -> Question {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn a_disagreement_is_a_refusal() {
    struct Broken;
    impl Matcher for Broken {
        fn matches(&mut self, _: &Rulebook, _: &CellKey) -> Result<Matches, Disagreement> {
            Err(Disagreement { what: "one engine found R02".into() })
        }
    }
    let decision: Decision =
        decide_with(&BOOK, &read(&question("KR.PIPA", "KR", "KR")), &mut Broken).unwrap();
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.reasons[0].code.code(), "ENGINE_DISAGREEMENT");
    assert!(decision.cells.iter().all(|cell| cell.outcome == Outcome::Deny));
}
