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
    cell::{CellKey, Disagreement, Matcher, Matches, Pure, Truth},
    decide, decide_with,
    decision::{Decision, Flow, Outcome, Remedy, RemedyKind},
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
        when: consistent(&when),
        obligations: Vec::new(),
        profiles: vec![Profile::Statutory],
    })
}

/// A row that asks for a literal and for its opposite does not load: the later of the two is left out.
fn consistent(drawn: &[&str]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for literal in drawn {
        let opposite =
            literal.strip_prefix('!').map_or_else(|| format!("!{literal}"), str::to_owned);
        if !kept.contains(&opposite) {
            kept.push((*literal).to_owned());
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

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
        // what contradicts another fact contradicts nothing once it is gone
        prop_assume!(known.reasons.iter().all(|why| why.code != Reason::Contradiction));
        let forgotten = decide(&BOOK, &read(&forget(value, path))).unwrap();
        prop_assert!(forgotten.outcome >= known.outcome, "{}", path);
    }

    #[test]
    fn a_second_ground_never_makes_it_worse(value in questions(), kind in prop::sample::select(GROUNDS.to_vec())) {
        let before = decide(&BOOK, &read(&value)).unwrap();
        let mut more = value;
        let mut unending = ground(kind.0, kind.1, &json!({}));
        // under the id of the first it would contradict it
        unending["id"] = json!("g-second");
        unending.as_object_mut().unwrap().remove("valid_until");
        more["grounds"].as_array_mut().unwrap().push(unending);
        prop_assert!(decide(&BOOK, &read(&more)).unwrap().outcome <= before.outcome);
    }

    #[test]
    fn a_remedy_is_enough(value in questions(), wanting in prop::option::of(prop::sample::select(FORGETTABLE.to_vec()))) {
        let value = wanting.map_or(value.clone(), |path| forget(value, path));
        let decision = decide(&BOOK, &read(&value)).unwrap();
        prop_assert!(decision.outcome >= Outcome::Hold || decision.remedy.is_empty());
        for remedy in &decision.remedy {
            let mut remedied = value.clone();
            for part in [remedy].into_iter().chain(&remedy.and) {
                remedied = follow(remedied, part);
            }
            let outcome = decide(&BOOK, &read(&remedied)).unwrap().outcome;
            prop_assert!(outcome <= Outcome::AllowWithObligations, "{:?} gives {:?}", remedy, outcome);
            if !remedy.and.is_empty() {
                prop_assert_eq!(decision.remedy.len(), 1, "a combination only where no single change is enough");
                let alone = decide(&BOOK, &read(&follow(value.clone(), remedy))).unwrap().outcome;
                prop_assert!(alone >= Outcome::Hold);
            }
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
        prop_assert_eq!(decide(&BOOK, &question).unwrap(), decision);
        // what it says then, it says of the time after
        question.at = Some(verdict::stamp::Stamp::at(end).unwrap());
        let next = decide(&BOOK, &question).unwrap().valid_until;
        prop_assert!(next.is_none_or(|next| next.starts() > end));
    }

    /// Over whatever symbols: a key is the truth of every symbol and nothing else, so two cells that differ in one have
    /// two keys.
    #[test]
    fn two_different_cells_never_share_a_key(one in truths(), other in truths(), flow in 0..8usize, other_flow in 0..8usize) {
        let (key, other_key) = (cell(&one, flow), cell(&other, other_flow));
        prop_assert_eq!(key == other_key, one == other && flow == other_flow);
        for (symbol, truth) in one.iter().enumerate() {
            prop_assert_eq!(key.truth(u16::try_from(symbol).unwrap()), *truth);
        }
    }

    /// A release makes a hold by its rules an allow, and nothing else of the decision milder.
    #[test]
    fn a_release_lifts_only_what_it_names(
        value in questions(),
        asked_abroad in any::<bool>(),
        rules in prop::sample::subsequence(vec!["R11", "R16", "R14", "R24"], 0..4),
        spoilt in prop::option::of(0..4usize),
    ) {
        let mut value = value;
        value["purpose"]["third_country_order"] = json!(asked_abroad);
        let before = decide(&BOOK, &read(&value)).unwrap();
        let question = read(&value);
        let mut release = json!({"id": "r", "rules": rules, "facts": verdict::held_digest(&question, &question.site),
            "bundle": BOOK.digest(), "valid_from": "2026-11-20", "valid_until": "2026-11-21"});
        match spoilt {
            Some(0) => release["facts"] = json!("sha256:00"),
            Some(1) => release["bundle"] = json!("sha256:00"),
            Some(2) => release["valid_until"] = json!("2026-11-19"),
            Some(_) => drop(release.as_object_mut().unwrap().remove("valid_from")),
            None => {}
        }
        value["releases"] = json!([release]);
        let after = decide(&BOOK, &read(&value)).unwrap();
        for (before, after) in before.cells.iter().zip(&after.cells) {
            let lifted = spoilt.is_none() && before.outcome == Outcome::Hold;
            let named = before.rules.iter().any(|rule| rules.contains(&rule.as_str()));
            if lifted && named {
                prop_assert!(after.outcome <= before.outcome);
            } else {
                prop_assert_eq!(after.outcome, before.outcome);
            }
        }
        let held = |decision: &Decision| -> Vec<String> {
            let held = decision.reasons.iter().filter(|why| why.code == Reason::HeldByRule);
            held.filter_map(|why| why.rule.clone()).collect()
        };
        if after.outcome == Outcome::Hold && spoilt.is_none() {
            prop_assert!(held(&after).iter().all(|rule| !rules.contains(&rule.as_str())));
        }
    }

    /// Reasons come in one order, whatever the order of what is on file.
    #[test]
    fn the_order_of_what_is_on_file_does_not_matter(value in questions()) {
        let mut turned = value.clone();
        turned["grounds"].as_array_mut().unwrap().reverse();
        let (one, other) = (decide(&BOOK, &read(&value)).unwrap(), decide(&BOOK, &read(&turned)).unwrap());
        let codes = |decision: &Decision| {
            let codes = decision.reasons.iter().map(|why| (why.code, why.rule.clone(), why.cell.clone()));
            codes.collect::<Vec<_>>()
        };
        prop_assert_eq!(codes(&one), codes(&other));
        prop_assert_eq!((one.outcome, one.cells), (other.outcome, other.cells));
    }
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    prop::collection::vec(prop::sample::select(vec![Truth::True, Truth::False, Truth::Unknown]), 3)
}

fn cell(truths: &[Truth], flow: usize) -> CellKey {
    let of = |wanted: Truth| {
        let symbols = truths.iter().enumerate().filter(|(_, truth)| **truth == wanted);
        symbols.map(|(symbol, _)| u16::try_from(symbol).unwrap()).collect()
    };
    CellKey {
        profile: Profile::Statutory,
        regime: "KR.PIPA".into(),
        flow: Flow::ALL[flow],
        holds: of(Truth::True),
        unknown: of(Truth::Unknown),
    }
}

/// The question as it is when somebody did what a remedy says.
fn follow(mut value: Value, remedy: &Remedy) -> Value {
    match remedy.kind {
        RemedyKind::RegisterGround => {
            let kind = BOOK.ground_type(&remedy.value).unwrap();
            let details = json!({"tia": {"outcome": "no_problem", "at": "2026-11-20"}, "info_provided": true,
                "disclosure_ref": "d", "statute_ref": "s", "checked_at": "2026-11-20", "approver": "a", "single": true,
                "approval_ref": "a", "layers": ["*"], "separate_consent": true, "impact_assessment_ref": "i",
                "licence_ref": "l", "instruction_ref": "i"});
            let mut ground = ground(&kind.regime, &remedy.value, &details);
            ground["id"] = json!(format!("remedy-{}", value["grounds"].as_array().unwrap().len()));
            ground["scope"] = serde_json::to_value(remedy.scope.as_ref().unwrap()).unwrap();
            value["grounds"].as_array_mut().unwrap().push(ground);
        }
        RemedyKind::SupplyFact => {
            let pointer = format!("/{}", remedy.value.replace(['.', '['], "/").replace(']', ""));
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let stated: Value = serde_json::from_str(remedy.example.as_ref().unwrap()).unwrap();
            value.pointer_mut(parent).unwrap()[key] = stated;
        }
        RemedyKind::AskApproval => {
            let question = read(&value);
            let rules: Vec<&str> = remedy.value.split(' ').collect();
            value["releases"] = json!([{"id": "r", "rules": rules, "bundle": BOOK.digest(),
                "facts": verdict::held_digest(&question, &question.site), "valid_from": "2026-11-20", "valid_until": "2026-11-21"}]);
        }
        RemedyKind::UseSite => unreachable!("there is one site only"),
    }
    value
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
