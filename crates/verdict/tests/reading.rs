//! Proves that questions are read strictly, with errors that say where; that the two published examples come out as
//! published; and that vocabulary is closed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it breaks")]

#[path = "reference/book.rs"]
mod book;

use book::{ground, question, rulebook};
use serde_json::{Value, json};
use verdict::{
    Rulebook, decide,
    decision::{CellRef, Decision, Flow, Outcome, RemedyKind},
    facts::{Facts, Gap},
    judge,
    question::Question,
    read::{is_list, read_questions},
    reason::Reason,
};

/// The published example, word for word but for its layout.
const SEOUL: &str = r#"{"id": "seoul, everything stays", "at": "2026-11-20", "profile": "statutory",
 "subject": {"org": "kr-retailer", "entity": "kr-retailer", "seat": "KR", "parents": [{"place": "KR", "share": 100}], "sectors": [], "actor_kind": "service", "place": "KR"},
 "purpose": {"code": "dpv:ServiceProvision", "workload": "train", "recurring": true, "third_country_order": false}, "role": "entrustment",
 "components": [{"dataset": "orders@1", "kind": "training", "regimes": ["KR.PIPA"], "origins": ["KR"], "categories": ["pd:General"], "class": "confidential", "identifiability": "personal", "encrypted": false, "subjects": 120000, "records": 900000, "stored": true}],
 "site": {"id": "kr-seo-1", "location": "KR-11", "operator": {"entity": "kr-op", "seat": "KR", "parents": [{"place": "KR", "share": 100}]}, "control_plane": ["KR"], "remote_access": [{"place": "KR", "entity": "kr-op", "plaintext": true}], "backups": ["KR"], "telemetry": ["KR"], "sub_processors": [], "certificates": [], "tee": {"verdict": "none"}, "keys": {"holder": "provider", "place": "KR", "layers": 1, "in_use": false}, "accelerators": [{"model": "H200", "eccn": "3A090"}], "via": []},
 "recipient": {"entity": "kr-retailer", "seat": "KR", "place": "KR", "same_entity": true},
 "grounds": [], "orders": [], "lists": [], "counters": []}"#;

const HOME: &str = r#"[{"place": "KR", "entity": "kr-op", "plaintext": true}]"#;
const HOME_AND_INDIA: &str = r#"[{"place": "KR", "entity": "kr-op", "plaintext": true}, {"place": "IN", "entity": "in-desk", "plaintext": true}]"#;

#[test]
fn seoul_and_everything_stays() {
    let decision = first(SEOUL);
    assert_eq!(decision.id.as_deref(), Some("seoul, everything stays"));
    assert_eq!(decision.outcome, Outcome::Allow);
    let rules: Vec<_> =
        decision.reasons.iter().map(|why| (why.code, why.rule.as_deref())).collect();
    assert_eq!(rules, [(Reason::AllowedByRule, Some("R02"))]);
    assert_eq!(decision.cells.len(), 6);
    assert_eq!((decision.remedy, decision.valid_until), (vec![], None));
}

#[test]
fn the_place_of_the_rack_is_not_enough() {
    let asked = SEOUL.replace(HOME, HOME_AND_INDIA);
    assert_ne!(asked, SEOUL);
    let decision = first(&asked);
    assert_eq!(decision.outcome, Outcome::Deny);
    let [why] = decision.reasons.as_slice() else { panic!("{:#?}", decision.reasons) };
    assert_eq!((why.code, why.rule.as_deref()), (Reason::NoGround, Some("R04")));
    let (component, regime) = ("orders@1".into(), "KR.PIPA".into());
    let cell = CellRef { component, regime, flow: Flow::OperatorAccess, to: "IN".into() };
    assert_eq!(why.cell, Some(cell));
    assert_eq!(why.basis, ["law"]);
    assert_eq!(
        why.text.en,
        "[`orders@1` KR.PIPA, operator_access -> IN] Nothing on file permits it. Sentence of R04."
    );
    let remedies: Vec<_> = decision.remedy.iter().map(|remedy| remedy.value.as_str()).collect();
    assert_eq!(
        remedies,
        ["kr.consent", "kr.treaty", "kr.certified_recipient", "kr.contract_disclosed"]
    );
    assert_eq!(
        decision.remedy[3].text.en,
        "Register a live `kr.contract_disclosed` (KR.PIPA) that covers `in-desk` in IN, with `disclosure_ref`."
    );
}

#[test]
fn a_bad_item_does_not_spoil_the_others() {
    let list = format!("[{SEOUL}, {{\"id\": \"second\", \"sight\": {{}}}}, {SEOUL}]");
    let items = read_questions(list.as_bytes()).unwrap();
    assert!(is_list(list.as_bytes()) && !is_list(SEOUL.as_bytes()));
    assert_eq!(items.len(), 3);
    let (id, error) = items[1].clone().unwrap_err();
    assert_eq!((id.as_deref(), error.path.as_str()), (Some("second"), "sight"));
    assert!(items[0].is_ok() && items[2].is_ok());
}

#[test]
fn errors_name_the_path() {
    for (from, to, path, message) in [
        (
            "\"control_plane\"",
            "\"control_plain\"",
            "site.control_plain",
            "unknown field `control_plain`",
        ),
        (
            "\"KR\", \"share\": 100}], \"sectors\"",
            "\"KR\", \"stake\": 100}], \"sectors\"",
            "subject.parents[0].stake",
            "unknown field `stake`",
        ),
        (
            "\"entity\": \"kr-op\", \"plaintext\"",
            "\"entity\": {\"seats\": \"KR\"}, \"plaintext\"",
            "site.remote_access[0].entity.seats",
            "unknown field `seats`",
        ),
        (
            "\"location\": \"KR-11\"",
            "\"location\": \"KR-11\", \"location\": \"US\"",
            "site.location",
            "duplicate field `location`",
        ),
        (
            "\"class\": \"confidential\"",
            "\"class\": \"secret\"",
            "components[0].class",
            "unknown variant `secret`",
        ),
        ("\"at\": \"2026-11-20\"", "\"at\": \"2026-11-31\"", "at", "`2026-11-31` is no date"),
        (
            "\"subjects\": 120000",
            "\"subjects\": -1",
            "components[0].subjects",
            "invalid type: integer `-1`",
        ),
    ] {
        let text = SEOUL.replacen(from, to, 1);
        assert_ne!(text, SEOUL, "{from}");
        let (id, error) = read_questions(text.as_bytes()).unwrap().remove(0).unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.message.starts_with(message), "{error}");
        assert!(!error.message.contains(" at line "), "{error}");
        assert_eq!(id.as_deref(), Some("seoul, everything stays"));
    }
}

#[test]
fn what_is_no_question_is_an_error() {
    for text in ["", "3", "{", "[{}", "\"x\"", "{} {}", "\u{feff}{}"] {
        let read = read_questions(text.as_bytes());
        assert!(read.is_err() || read.unwrap()[0].is_err(), "{text:?}");
    }
    assert!(read_questions(&[b'{', 0xff, b'}']).is_err());
}

#[test]
fn an_unknown_term_is_an_error_that_names_it() {
    let order = json!([{"id": "o", "kind": "suspend", "match": {"categories": ["kr:RNR"]}}]);
    let scope = json!([{"type": "kr.consent", "scope": {"roles": ["processor"]}}]);
    for (pointer, value, error) in [
        (
            "/components/0/regimes",
            json!(["KR.PIPPA"]),
            "at `components[0].regimes[0]`: regime `KR.PIPPA` is not in the vocabulary of this bundle",
        ),
        (
            "/components/0/categories",
            json!(["pd:General", "kr:RNR"]),
            "at `components[0].categories[1]`: category `kr:RNR` is not in the vocabulary of this bundle",
        ),
        (
            "/purpose/code",
            json!("gdp:X"),
            "at `purpose.code`: purpose `gdp:X` is not in the vocabulary of this bundle",
        ),
        (
            "/subject/sectors",
            json!(["kr.banks"]),
            "at `subject.sectors[0]`: sector `kr.banks` is not in the vocabulary of this bundle",
        ),
        (
            "/site/operator/supervised_by",
            json!(["FSC"]),
            "at `site.operator.supervised_by[0]`: supervisor `FSC` is not in the vocabulary of this bundle",
        ),
        (
            "/site/location",
            json!("Seoul"),
            "at `site.location`: `Seoul` is not a place of ISO 3166: write one such as `KR` or `KR-11`",
        ),
        (
            "/grounds",
            json!([{"type": "kr.consents"}]),
            "at `grounds[0].type`: ground type `kr.consents` is not in the vocabulary of this bundle",
        ),
        (
            "/grounds",
            scope,
            "at `grounds[0].scope.roles[0]`: role `processor` is not in the vocabulary of this bundle",
        ),
        (
            "/orders",
            order,
            "at `orders[0].match.categories[0]`: category `kr:RNR` is not in the vocabulary of this bundle",
        ),
        (
            "/site/accelerators",
            json!([{"eccn": "EAR99"}, {"eccn": "3a090"}]),
            "at `site.accelerators[1].eccn`: `3a090` is no ECCN: write one such as `3A090`, `3A090.a` or `EAR99`",
        ),
        (
            "/counters",
            json!([{"window_days": 30}]),
            "at `counters[0].window_days`: a window in days is 365; write `window` for another",
        ),
    ] {
        let mut question: Value = serde_json::from_str(SEOUL).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        question.pointer_mut(parent).unwrap()[key] = value;
        let question: Question = serde_json::from_value(question).unwrap();
        assert_eq!(decide(&rulebook(), &question).unwrap_err().to_string(), error);
        // the same facts from a registry are a refusal, not a panic and not a miss
        let site = question.site.clone();
        let facts = Facts { question, sites: vec![site], ..Facts::default() };
        let judged = judge(&rulebook(), &facts, 0);
        assert_eq!(judged.outcome, Outcome::Deny);
        assert_eq!(judged.decision.reasons[0].missing, [error]);
    }
}

#[test]
fn an_eccn_is_written_as_the_list_writes_it() {
    for text in ["3A090", "4A090", "3A090.a", "4A090.a.1", "5A992.c", "9E991", "0A501.y.1", "EAR99"]
    {
        assert!(verdict::is_eccn(text), "{text}");
    }
    for text in [
        "",
        " 3A090",
        "3A090 ",
        "3a090",
        "3A90",
        "3A0900",
        "3F090",
        "AA090",
        "3A090a",
        "3A090.",
        "3A090..a",
        "3A090/4A090",
        "ECCN 3A090",
        "3\u{410}090",
        "banana",
        "EAR99.a",
        "ear99",
    ] {
        assert!(!verdict::is_eccn(text), "{text}");
    }
    let mut book = book::book();
    book.rows[0].when.push("accelerator:3a090".into());
    assert!(Rulebook::new(book).is_err());
}

#[test]
fn candidates_pins_and_gaps() {
    let mut question: Question = serde_json::from_value(question("KR.PIPA", "KR", "KR")).unwrap();
    let seoul = std::mem::take(&mut question.site);
    let mut virginia = seoul.clone();
    (virginia.id, virginia.location) = (Some("a-virginia".into()), Some("US-VA".into()));
    let facts = Facts { question, sites: vec![seoul, virginia], ..Facts::default() };
    let at = 1_795_000_000;
    let judged = judge(&rulebook(), &facts, at);
    assert_eq!(
        (judged.outcome, judged.permitted.as_slice()),
        (Outcome::Allow, &["site-1".to_owned()][..])
    );
    let sites: Vec<_> =
        judged.candidates.iter().map(|site| (site.site.as_str(), site.decision.outcome)).collect();
    assert_eq!(sites, [("a-virginia", Outcome::Deny), ("site-1", Outcome::Allow)]);

    let pinned = Facts { pinned: Some("a-virginia".into()), ..facts.clone() };
    let judged = judge(&rulebook(), &pinned, at);
    assert_eq!((judged.outcome, judged.permitted.len()), (Outcome::Deny, 0));
    let first = &judged.decision.remedy[0];
    assert_eq!((first.kind, first.value.as_str()), (RemedyKind::UseSite, "site-1"));

    let unknown = Facts { pinned: Some("nowhere".into()), ..facts.clone() };
    assert_eq!(judge(&rulebook(), &unknown, at).decision.reasons[0].code, Reason::PinRefused);
    let nowhere = Facts { sites: Vec::new(), ..facts.clone() };
    assert_eq!(judge(&rulebook(), &nowhere, at).decision.reasons[0].code, Reason::NoSite);
    let gap = Gap { reason: Reason::UnknownDataset, what: "secret@1".into() };
    let judged = judge(&rulebook(), &Facts { gaps: vec![gap], ..facts.clone() }, at);
    assert_eq!((judged.outcome, judged.candidates.len()), (Outcome::Deny, 0));
    assert_eq!(judged.decision.reasons[0].text.en, "The dataset is not known here. `secret@1`");
    let sentence = Gap { reason: Reason::UnknownDataset, what: "`secret@1` is not here".into() };
    let judged = judge(&rulebook(), &Facts { gaps: vec![sentence], ..facts }, at);
    let text = &judged.decision.reasons[0].text.en;
    assert_eq!(text, "The dataset is not known here. (`secret@1` is not here)");
}

#[test]
fn a_contradiction_about_who_receives_refuses() {
    let mut asked = question("KR.PIPA", "KR", "KR");
    asked["recipient"]["entity"] = json!("somebody else");
    let decision = decide(&rulebook(), &serde_json::from_value(asked).unwrap()).unwrap();
    assert_eq!(
        (decision.outcome, decision.reasons[0].code),
        (Outcome::Deny, Reason::Contradiction)
    );
}

/// American health data of which the result goes back to the subject.
fn returned() -> Value {
    let mut asked = question("US.28CFR202", "US", "US");
    asked["components"][0]["categories"] = json!(["pd:Health"]);
    asked["components"][0]["subjects"] = json!(20_000);
    asked["purpose"]["workload"] = json!("etl");
    asked
}

/// The subject is in China and gets the result as an American: whether it is a covered person depends on which is true,
/// and no remedy is to state the other.
#[test]
fn one_entity_in_two_places_refuses_where_a_rule_asks_where_it_is() {
    let mut asked = returned();
    let decide = |asked: &Value| {
        decide(&rulebook(), &serde_json::from_value(asked.clone()).unwrap()).unwrap()
    };
    assert_eq!(decide(&asked).outcome, Outcome::Allow);
    asked["subject"]["seat"] = json!("CN");
    for (of_recipient, code) in
        [(json!("US"), Reason::Contradiction), (Value::Null, Reason::DeniedByRule)]
    {
        asked["recipient"]["seat"] = of_recipient;
        let decision = decide(&asked);
        assert_eq!(decision.outcome, Outcome::Deny);
        let said = |rule: &str| {
            decision.reasons.iter().any(|why| (why.code, why.rule.as_deref()) == (code, Some(rule)))
        };
        assert!(said(if code == Reason::Contradiction { "R01" } else { "R18" }));
        assert!(
            decision.remedy.iter().all(|remedy| !remedy.value.contains("seat")),
            "{:?}",
            decision.remedy
        );
    }
    // another entity is another
    asked["recipient"] =
        json!({"entity": "other", "seat": "US", "place": "US", "same_entity": false});
    assert_eq!(decide(&asked).outcome, Outcome::Allow);
    // a flag of who receives that the subject lacks
    let mut asked = question("CN.PIPL", "CN", "KR");
    asked["purpose"]["workload"] = json!("etl");
    asked["grounds"] = json!([ground(
        "CN.PIPL",
        "cn.scc",
        &json!({"separate_consent": true, "impact_assessment_ref": "p"})
    )]);
    asked["components"][0]["sensitive_subjects"] = json!(0);
    assert_eq!(decide(&asked).outcome, Outcome::Allow);
    asked["recipient"]["critical_infrastructure"] = json!(true);
    let decision = decide(&asked);
    assert_eq!((decision.outcome, decision.reasons[0].code), (Outcome::Deny, Reason::NoGround));
    assert_eq!(decision.reasons[0].missing, ["recipient.critical_infrastructure"]);
    assert!(decision.reasons.iter().any(|why| why.code == Reason::Contradiction));
}

#[test]
fn one_id_is_one_ground() {
    let mut asked = question("KR.PIPA", "KR", "US");
    let decide = |asked: &Value| {
        decide(&rulebook(), &serde_json::from_value(asked.clone()).unwrap()).unwrap()
    };
    let consent = ground("KR.PIPA", "kr.consent", &json!({}));
    let mut suspended = consent.clone();
    suspended["suspended"] = json!(true);
    asked["grounds"] = json!([consent, consent]);
    assert_eq!(decide(&asked).outcome, Outcome::Allow);
    for grounds in [json!([consent, suspended]), json!([suspended, consent])] {
        asked["grounds"] = grounds;
        let decision = decide(&asked);
        assert_eq!(
            (decision.outcome, decision.reasons[0].code),
            (Outcome::Deny, Reason::Contradiction)
        );
    }
    suspended["id"] = json!("another");
    asked["grounds"] = json!([consent, suspended]);
    assert_eq!(decide(&asked).outcome, Outcome::Allow);
}

/// A ground that is live and does not carry the cell: the reason says what else the rule asks for.
#[test]
fn what_a_live_ground_lacks_is_said() {
    let said = |asked: &Value| {
        let question: Question = serde_json::from_value(asked.clone()).unwrap();
        let decision = decide(&rulebook(), &question).unwrap();
        assert_eq!(decision.outcome, Outcome::Deny);
        let facts = decision.reasons.iter().flat_map(|why| &why.facts);
        let grounds = facts.filter(|fact| fact.path == "grounds[0]").map(|fact| fact.value.clone());
        grounds.collect::<std::collections::BTreeSet<_>>()
    };
    let details = json!({"separate_consent": true, "impact_assessment_ref": "p"});
    let mut asked = question("CN.PIPL", "CN", "KR");
    asked["grounds"] = json!([ground("CN.PIPL", "cn.scc", &details)]);
    asked["subject"]["critical_infrastructure"] = json!(true);
    asked["components"][0]["sensitive_subjects"] = json!(0);
    let lacks = "g-cn.scc: live, but this does not hold: `!subject.critical_infrastructure`";
    assert_eq!(said(&asked), [lacks.to_owned()].into());
    let mut asked = question("EU.GDPR", "DE", "IN");
    asked["grounds"] =
        json!([ground("EU.GDPR", "eu.A49-1-a", &json!({"approver": "a", "single": true}))]);
    asked["purpose"]["recurring"] = json!(true);
    let lacks = "g-eu.A49-1-a: live, but this does not hold: `!purpose.recurring`";
    assert_eq!(said(&asked), [lacks.to_owned()].into());
    let tia = |measures: Value| json!({"tia": {"outcome": "problematic", "measures": measures, "at": "2026-11-01"}});
    asked["grounds"] = json!([ground("EU.GDPR", "eu.A46-2-c", &tia(json!([])))]);
    let lacks = "g-eu.A46-2-c: its assessment does not carry this";
    assert_eq!(said(&asked), [lacks.to_owned()].into());
    asked["grounds"] = json!([ground("EU.GDPR", "eu.A46-2-c", &tia(json!(["tee"])))]);
    let lacks = "g-eu.A46-2-c: live, but this does not hold: `tee.affirming`, `keys.in:EEA30`";
    assert_eq!(said(&asked), [lacks.to_owned()].into());
}

/// Only a floor applies to health records: `non_personal` contradicts the category, and to leave it out is no way round.
#[test]
fn personal_data_under_a_floor_alone_must_say_what_it_is() {
    let code = |identifiability: Value| {
        let mut asked = question("US.HIPAA", "US", "KR");
        asked["components"][0]["categories"] = json!(["kr:EMR"]);
        asked["components"][0]["identifiability"] = identifiability;
        let decision = decide(&rulebook(), &serde_json::from_value(asked).unwrap()).unwrap();
        let refused = (decision.outcome == Outcome::Deny).then(|| &decision.reasons[0]);
        refused.map(|why| (why.code, why.missing.clone()))
    };
    let path = "components[0].identifiability";
    assert_eq!(code(json!("personal")), None);
    assert_eq!(code(json!("non_personal")).map(|why| why.0), Some(Reason::Contradiction));
    assert_eq!(code(Value::Null), Some((Reason::MissingFact, vec![path.to_owned()])));
}

#[test]
fn a_result_for_another_is_provision_and_disclosure_does_not_carry_it() {
    let mut asked = question("KR.PIPA", "KR", "KR");
    asked["recipient"] = json!({"entity": "partner", "seat": "US", "place": "US", "same_entity": false, "role": "entrustment"});
    asked["grounds"] =
        json!([ground("KR.PIPA", "kr.contract_disclosed", &json!({"disclosure_ref": "p"}))]);
    let decide = |asked: &Value| {
        decide(&rulebook(), &serde_json::from_value(asked.clone()).unwrap()).unwrap()
    };
    assert_eq!(decide(&asked).outcome, Outcome::Deny);
    asked["recipient"] =
        json!({"entity": "tenant", "seat": "US", "place": "US", "same_entity": true});
    assert_eq!(decide(&asked).outcome, Outcome::AllowWithObligations);
}

#[test]
fn personal_data_without_a_regime_is_an_unknown_fact() {
    let mut asked = question("KR.PIPA", "KR", "US");
    asked["components"][0]["regimes"] = json!([]);
    let decide = |asked: &Value| {
        decide(&rulebook(), &serde_json::from_value(asked.clone()).unwrap()).unwrap()
    };
    let refused = decide(&asked);
    assert_eq!(refused.reasons[0].missing, ["components[0].regimes"]);
    assert_eq!((refused.outcome, refused.reasons.len()), (Outcome::Deny, 1));
    assert_eq!(refused.cells[0].at.regime, "-");
    asked["components"][0]["identifiability"] = json!("non_personal");
    assert_eq!(decide(&asked).outcome, Outcome::Allow);
    asked["components"][0]["categories"] = json!(["pd:Health"]);
    let refused = decide(&asked);
    assert_eq!(
        (refused.outcome, refused.reasons[0].code),
        (Outcome::Deny, Reason::Contradiction),
        "health is about persons"
    );
}

#[test]
fn a_rule_is_closed_outside_its_dates() {
    let mut book = book::book();
    let rule = book.rules.iter_mut().find(|rule| rule.id == "R02").unwrap();
    rule.until = Some(serde_json::from_value(json!("2026-11-20")).unwrap());
    let rulebook = Rulebook::new(book).unwrap();
    let mut asked = question("KR.PIPA", "KR", "KR");
    let decide =
        |asked: &Value| decide(&rulebook, &serde_json::from_value(asked.clone()).unwrap()).unwrap();
    let decision = decide(&asked);
    assert_eq!(decision.outcome, Outcome::Allow);
    assert_eq!(decision.valid_until.unwrap().as_str(), "2026-11-21T00:00:00Z");
    asked["at"] = json!("2026-11-21");
    assert_eq!(decide(&asked).outcome, Outcome::Deny);
}

#[test]
fn a_book_with_a_typo_does_not_load() {
    let problem = |change: &dyn Fn(&mut verdict::rule::Book)| {
        let mut book = book::book();
        change(&mut book);
        Rulebook::new(book).unwrap_err().problems.join("; ")
    };
    for (row, problem_of) in [
        (
            "cat:kr:RNR",
            "row R02/0: `cat:kr:RNR` names something this book does not have: write what its vocabulary, or its groups for this regime, have",
        ),
        ("catt:kr:RRN", "row R02/0: `catt:kr:RRN` is no predicate"),
        (
            "to:EEA31",
            "row R02/0: `to:EEA31` names something this book does not have: write what its vocabulary, or its groups for this regime, have",
        ),
        (
            "ground:kr.consentt",
            "row R02/0: `ground:kr.consentt` names something this book does not have: write what its vocabulary, or its groups for this regime, have",
        ),
        ("in_force:R02", "row R02/0: `in_force:R02` is no predicate"),
    ] {
        assert_eq!(problem(&|book| book.rows[0].when.push(row.into())), problem_of);
    }
    assert_eq!(
        problem(&|book| book.rows[0].out = verdict::rule::Out::Deny),
        "row R02/0: a permit cannot deny and a restriction cannot allow: write `restrict` for what refuses and `permit` for what allows"
    );
    assert_eq!(
        problem(&|book| book.rows[0].regime = "*".into()),
        "row R02/0: a permit names one transfer regime: write that regime, one row for each; row R02/0: `to:home` names something this book does not have: write what its vocabulary, or its groups for this regime, have"
    );
    assert_eq!(
        problem(&|book| book.rows[0].flow = "up".into()),
        "row R02/0: flow `up` is not known"
    );
    assert_eq!(
        problem(&|book| book.rows[0].rule = "R99".into()),
        "row R99/0: its rule has no text"
    );
    assert_eq!(
        problem(&|book| book.rules[0].text.ko.clear()),
        "rule `R01` needs a basis and a text in both languages"
    );
}

#[test]
fn a_rulebook_reads_back_from_its_own_bytes() {
    let rulebook = rulebook();
    let bytes = verdict::canonical(&rulebook).unwrap();
    let again: Rulebook = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(again, rulebook);
    assert_eq!(rulebook.digest(), verdict::digest(&bytes));
    let unknown = String::from_utf8(bytes).unwrap().replacen("\"limits\"", "\"limit\"", 1);
    assert!(serde_json::from_str::<Rulebook>(&unknown).is_err());
}

fn first(text: &str) -> Decision {
    let question = read_questions(text.as_bytes()).unwrap().remove(0).unwrap();
    decide(&rulebook(), &question).unwrap()
}
