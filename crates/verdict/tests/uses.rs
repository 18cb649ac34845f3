//! Proves what a decision uses up and what persons may lift: slices and windows of thresholds, and releases of holds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it breaks")]

#[path = "reference/book.rs"]
mod book;

use book::{ground, question, rulebook};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;
use verdict::{
    Rulebook, decide,
    decision::Outcome,
    held_digest,
    question::{Question, Window},
    reason::Reason,
    rule::Measure,
    stamp::Stamp,
    volume::{self, Slice},
};

static BOOK: LazyLock<Rulebook> = LazyLock::new(rulebook);

/// American health data of so many persons, at a site in Seoul of which half belongs to a Chinese company.
fn bulk(subjects: u64) -> Value {
    let mut asked = question("US.28CFR202", "US", "KR");
    asked["components"][0]["categories"] = json!(["pd:Health"]);
    asked["components"][0]["subjects"] = json!(subjects);
    asked["site"]["operator"]["parents"] = json!([{"place": "CN", "share": 50}]);
    asked
}

fn read(asked: &Value) -> Question {
    serde_json::from_value(asked.clone()).unwrap()
}

fn slices(asked: &Value) -> Vec<Slice> {
    let question = read(asked);
    volume::slices(&BOOK, &question, &question.site, at(&question))
}

fn at(question: &Question) -> i64 {
    question.at.as_ref().unwrap().starts()
}

/// The same persons in two pieces.
fn split(mut asked: Value, one: u64, other: Option<u64>) -> Value {
    let mut second = asked["components"][0].clone();
    asked["components"][0]["subjects"] = json!(one);
    second["dataset"] = json!("second@1");
    second["subjects"] = json!(other);
    asked["components"].as_array_mut().unwrap().push(second);
    asked
}

#[test]
fn a_dataset_in_pieces_is_as_large_as_in_one() {
    let outcome = |asked: &Value| decide(&BOOK, &read(asked)).unwrap();
    assert_eq!(outcome(&split(bulk(0), 5_000, Some(5_000))).outcome, Outcome::Allow);
    let refused = outcome(&split(bulk(0), 5_000, Some(5_001)));
    assert_eq!(refused.outcome, Outcome::Deny);
    let facts = &refused.reasons[0].facts;
    for path in ["components[0].subjects", "components[1].subjects"] {
        assert!(facts.iter().any(|fact| fact.path == path), "{facts:?}");
    }
    // nobody knows how many there are in the other piece; one that is large enough does not need it
    let unknown = outcome(&split(bulk(0), 1, None));
    assert_eq!(unknown.outcome, Outcome::Deny);
    assert!(unknown.reasons.iter().any(|why| why.missing == ["components[1].subjects"]));
    let known = outcome(&split(bulk(0), 10_001, None));
    assert!(known.reasons.iter().any(|why| why.code == Reason::DeniedByRule));
    // a piece under another law, or of a kind that is not counted, does not add to it
    for (key, value) in [("regimes", json!(["US.HIPAA"])), ("categories", json!(["pd:General"]))] {
        let mut apart = split(bulk(0), 5_000, Some(5_001));
        apart["components"][1][key] = value;
        assert_eq!(outcome(&apart).outcome, Outcome::Allow, "{key}");
    }
    // each piece is used up once
    let used = slices(&split(bulk(0), 5_000, Some(5_001)));
    assert_eq!(
        used.iter().map(|slice| slice.subjects).collect::<Vec<_>>(),
        [Some(5_000), Some(5_001)]
    );
}

// ---- what is used up

#[test]
fn a_slice_says_whose_data_goes_where() {
    let slice = Slice {
        component: 0,
        regime: "US.28CFR202".into(),
        from: Some("US".into()),
        categories: vec!["pd:Health".into()],
        places: vec!["CN".into(), "KR".into()],
        subjects: Some(7),
        sensitive: Some(7),
    };
    assert_eq!(slices(&bulk(7)), [slice]);
}

#[test]
fn nothing_is_used_up_where_no_row_asks_for_a_volume() {
    // no covered person: the row cannot match whatever the volume
    let mut asked = bulk(7);
    asked["site"]["operator"]["parents"] = json!([{"place": "CN", "share": 49}]);
    assert_eq!(slices(&asked), []);
    // a category that no threshold counts
    let mut asked = bulk(7);
    asked["components"][0]["categories"] = json!(["pd:General"]);
    assert_eq!(slices(&asked), []);
    // another regime
    assert_eq!(slices(&question("KR.PIPA", "KR", "US")), []);
    // at home in China nothing is transferred
    assert_eq!(slices(&question("CN.PIPL", "CN", "CN")), []);
}

#[test]
fn what_nobody_knows_is_counted_as_it_may_be() {
    let mut asked = bulk(7);
    asked["site"]["operator"]["parents"] = json!([{"place": "CN"}]);
    assert_eq!(slices(&asked).len(), 1, "the share may be enough");
    asked["components"][0].as_object_mut().unwrap().remove("subjects");
    assert_eq!(slices(&asked)[0].subjects, None);
    // of whom the data is sensitive is not known: of all of them
    let mut asked = question("CN.PIPL", "CN", "DE");
    asked["components"][0]["subjects"] = json!(5);
    assert_eq!((slices(&asked)[0].subjects, slices(&asked)[0].sensitive), (Some(5), Some(5)));
    asked["components"][0]["sensitive_subjects"] = json!(2);
    assert_eq!(slices(&asked)[0].sensitive, Some(2));
}

#[test]
fn a_ground_on_file_changes_nothing_of_what_is_counted() {
    let plain = slices(&bulk(7));
    let mut asked = bulk(7);
    asked["grounds"] = json!([ground("US.28CFR202", "us.cisa_controls", &json!({}))]);
    assert_eq!(slices(&asked), plain);
}

#[test]
fn windows_begin_to_the_second_where_the_law_is() {
    let question = read(&bulk(7));
    let slices = volume::slices(&BOOK, &question, &question.site, at(&question));
    let countings = volume::countings(&BOOK, &slices, at(&question));
    let year_ago = at(&question) - 365 * 86_400 + 1;
    assert_eq!(countings.len(), 1);
    assert_eq!((countings[0].window, countings[0].since), (Window::Rolling365d, year_ago));
    assert_eq!(countings[0].measures, [Measure::Subjects]);

    let mut asked = self::question("CN.PIPL", "CN", "DE");
    for (instant, since) in [
        ("2026-11-20", "2025-12-31T16:00:00Z"),
        ("2025-12-31T15:59:59Z", "2024-12-31T16:00:00Z"),
        ("2025-12-31T16:00:00Z", "2025-12-31T16:00:00Z"),
    ] {
        asked["at"] = json!(instant);
        let question = read(&asked);
        let slices = volume::slices(&BOOK, &question, &question.site, at(&question));
        let countings = volume::countings(&BOOK, &slices, at(&question));
        assert_eq!((countings.len(), countings[0].window), (1, Window::CalendarYear));
        assert_eq!(countings[0].since, Stamp::parse(since).unwrap().starts(), "{instant}");
        assert_eq!(countings[0].measures, [Measure::Subjects, Measure::SensitiveSubjects]);
    }
    assert_eq!(volume::countings(&BOOK, &[], at(&read(&asked))), []);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Counted before plus now: refused from one more than the threshold on, whoever counted and in how many counters.
    #[test]
    fn a_threshold_is_exceeded_by_one_more(before in 0u64..20_000, split in 0u64..20_000, now in 0u64..20_000, this_year in 0u64..20_000) {
        let mut asked = bulk(now);
        let part = split.min(before);
        let counter = |amount: u64, window: &str| json!({"regime": "US.28CFR202", "category": "pd:Health",
            "from": "US", "to": "CN", "window": window, "amount_before": amount});
        asked["counters"] = json!([counter(part, "rolling_365d"), counter(before - part, "rolling_365d"), counter(this_year, "calendar_year")]);
        let refused = decide(&BOOK, &read(&asked)).unwrap().outcome == Outcome::Deny;
        prop_assert_eq!(refused, before.max(this_year) + now > 10_000);
    }

    /// What was counted elsewhere does not add up, and more of it before never allows.
    #[test]
    fn more_before_never_allows(before in 0u64..30_000, more in 0u64..30_000, to in prop::sample::select(vec!["CN", "KR", "DE", "*"])) {
        let outcome = |amount: u64| {
            let mut asked = bulk(5_000);
            asked["counters"] = json!([{"regime": "US.28CFR202", "category": "pd:Health", "from": "US", "to": to,
                "window": "rolling_365d", "amount_before": amount}]);
            decide(&BOOK, &read(&asked)).unwrap().outcome
        };
        prop_assert!(outcome(before + more) >= outcome(before));
        if to == "DE" {
            prop_assert_eq!(outcome(before), Outcome::Allow);
        }
    }
}

// ---- what persons may lift

/// German letters for an order of a third country: held by R16, and nothing else is wrong.
fn held() -> Value {
    let mut asked = question("EU.GDPR", "DE", "DE");
    asked["purpose"]["third_country_order"] = json!(true);
    asked
}

fn release(asked: &Value) -> Value {
    let question = read(asked);
    json!({"id": "r-1", "hold": "d-1", "rules": ["R16"], "facts": held_digest(&question, &question.site),
        "bundle": BOOK.digest(), "valid_from": "2026-11-20T11:00:00Z", "valid_until": "2026-11-20T13:00:00Z"})
}

fn outcome(asked: &Value) -> Outcome {
    decide(&BOOK, &read(asked)).unwrap().outcome
}

#[test]
fn a_release_makes_the_held_an_allow_and_says_so_first() {
    let mut asked = held();
    assert_eq!(outcome(&asked), Outcome::Hold);
    asked["releases"] = json!([release(&asked)]);
    let decision = decide(&BOOK, &read(&asked)).unwrap();
    assert_eq!(decision.outcome, Outcome::Allow);
    assert_eq!(
        (decision.reasons[0].code, decision.reasons[0].ground.as_deref()),
        (Reason::Released, Some("r-1"))
    );
    assert_eq!(decision.valid_until.unwrap().as_str(), "2026-11-20T13:00:00Z");
}

#[test]
fn a_release_holds_from_its_first_second_and_not_in_its_last() {
    let mut asked = held();
    asked["releases"] = json!([release(&asked)]);
    for (instant, wanted) in [
        ("2026-11-20T10:59:59Z", Outcome::Hold),
        ("2026-11-20T11:00:00Z", Outcome::Allow),
        ("2026-11-20T12:59:59Z", Outcome::Allow),
        ("2026-11-20T13:00:00Z", Outcome::Hold),
    ] {
        asked["at"] = json!(instant);
        assert_eq!(outcome(&asked), wanted, "{instant}");
    }
}

#[test]
fn a_release_of_other_facts_another_bundle_or_another_rule_lifts_nothing() {
    let mut asked = held();
    asked["releases"] = json!([release(&asked)]);
    for (pointer, value) in [
        ("/components/0/subjects", json!(1)),
        ("/site/location", json!("FR")),
        ("/recipient/entity", json!("tenant-2")),
        ("/subject/entity", json!("tenant-2")),
        ("/purpose/workload", json!("infer")),
        ("/releases/0/bundle", json!("sha256:00")),
        ("/releases/0/facts", json!("sha256:00")),
        ("/releases/0/rules", json!(["R15"])),
        ("/releases/0/rules", json!([])),
        ("/releases/0/valid_from", Value::Null),
        ("/releases/0/valid_until", Value::Null),
    ] {
        let mut other = asked.clone();
        *other.pointer_mut(pointer).unwrap() = value.clone();
        assert!(outcome(&other) >= Outcome::Hold, "{pointer} {value}");
    }
    // what differs from one asking to the next is no other fact
    let mut same = asked.clone();
    same["id"] = json!("another");
    same["at"] = json!("2026-11-20T12:30:00Z");
    same["counters"] = json!([{"regime": "US.28CFR202", "amount_before": 5}]);
    assert_eq!(outcome(&same), Outcome::Allow);
}

#[test]
fn a_release_lifts_no_refusal_and_no_missing_fact() {
    let mut refused = held();
    refused["orders"] = json!([{"id": "o", "authority": "DPA", "kind": "suspend", "match": {},
        "effective_from": "2026-01-01", "until": null}]);
    let mut unknown = held();
    unknown["site"].as_object_mut().unwrap().remove("location");
    let mut abroad = held();
    abroad["site"]["backups"] = json!(["US"]);
    for mut asked in [refused, unknown, abroad] {
        let mut all = release(&asked);
        all["rules"] = json!(["R11", "R14", "R16", "R01"]);
        asked["releases"] = json!([all]);
        assert_eq!(outcome(&asked), Outcome::Deny);
    }
}

#[test]
fn two_releases_lift_two_holds_and_one_does_not() {
    let mut asked = held();
    asked["orders"] = json!([{"id": "o", "authority": "DPA", "kind": "hold", "match": {}, "effective_from": "2026-01-01", "until": null}]);
    let first = release(&asked);
    let mut second = first.clone();
    second["rules"] = json!(["R11"]);
    asked["releases"] = json!([first]);
    assert_eq!(outcome(&asked), Outcome::Hold);
    asked["releases"] = json!([first, second]);
    assert_eq!(outcome(&asked), Outcome::Allow);
}
