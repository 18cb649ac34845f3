//! Proves that symbol rows can say all 25 reference rules: each has twins, one that passes and one that does not, a fact
//! apart; and each fact that the passing one needs, deleted in turn, refuses and is named.
#![expect(clippy::unwrap_used, reason = "a test stops where it breaks")]

#[path = "reference/book.rs"]
mod book;

use std::{collections::BTreeSet, sync::LazyLock};

use book::{ground, question};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use verdict::{
    Rulebook, decide,
    decision::{Decision, Outcome, Why},
    question::Question,
    reason::Reason,
};

/// Two questions, the second with one more change; what each gives; and the facts that the first needs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Twin {
    rule: String,
    /// Regime, origin and the country of the site.
    base: String,
    /// Regime, type and details of grounds with the widest scope.
    #[serde(default)]
    grounds: Vec<(String, String, Value)>,
    /// Paths and what stands there in both; `null` deletes.
    #[serde(default)]
    set: Map<String, Value>,
    gives: Outcome,
    change: Map<String, Value>,
    then: Outcome,
    /// The rule that the second names, where it is another: some only open, or only say which flows exist.
    names: Option<String>,
    #[serde(default)]
    needs: Vec<String>,
}

static BOOK: LazyLock<Rulebook> = LazyLock::new(book::rulebook);

#[test]
fn each_rule_has_twins_and_names_its_missing_facts() {
    let twins: Vec<Twin> = serde_json::from_str(include_str!("reference/twins.json")).unwrap();
    let mut judged = BTreeSet::new();
    for Twin { rule, base, grounds, set, gives, change, then, names, needs } in twins {
        let mut place = base.split(' ');
        let mut next = || place.next().unwrap();
        let mut passing = question(next(), next(), next());
        passing["grounds"] =
            grounds.iter().map(|(regime, kind, details)| ground(regime, kind, details)).collect();
        let passing = with(passing, &set);
        let decision = answer(&passing);
        assert_eq!(decision.outcome, gives, "{rule}: {:#?}", decision.reasons);

        let decision = answer(&with(passing.clone(), &change));
        assert_eq!(decision.outcome, then, "{rule} and {change:?}: {:#?}", decision.reasons);
        let names = names.as_ref().unwrap_or(&rule);
        let refuses =
            |why: &Why| why.rule.as_ref() == Some(names) && why.code != Reason::AllowedByRule;
        assert!(decision.reasons.iter().any(refuses), "{names}: {:#?}", decision.reasons);

        for path in &needs {
            let decision = answer(&without(passing.clone(), path));
            assert_eq!(decision.outcome, Outcome::Deny, "{rule} without `{path}`");
            let missing: BTreeSet<_> =
                decision.reasons.iter().flat_map(|why| &why.missing).collect();
            assert!(missing.contains(path), "{rule} without `{path}`: {missing:?}");
        }
        judged.insert(rule);
    }
    let all: BTreeSet<String> = (1..=25).map(|number| format!("R{number:02}")).collect();
    assert_eq!(judged, all);
}

#[test]
fn what_a_refusal_rests_on_refuses_also_when_it_is_unknown() {
    let mut refused = question("KR.PIPA", "KR", "KR");
    refused["subject"]["parents"] = json!([{"place": "CN", "share": 50}]);
    for path in [
        "purpose.workload",
        "site.accelerators[0].eccn",
        "subject.parents[0].place",
        "subject.parents[0].share",
    ] {
        let decision = answer(&without(refused.clone(), path));
        let first = &decision.reasons[0];
        assert_eq!((decision.outcome, first.code), (Outcome::Deny, Reason::MissingFact), "{path}");
        assert_eq!(
            (first.rule.as_deref(), first.missing.as_slice()),
            (Some("R24"), &[path.into()][..])
        );
        let last = decision.reasons.last().unwrap();
        assert_eq!((last.code, last.rule.as_deref()), (Reason::MissingFact, Some("R01")));
    }
}

fn answer(question: &Value) -> Decision {
    let question: Question = serde_json::from_value(question.clone()).unwrap();
    decide(&BOOK, &question).unwrap()
}

/// The question with these paths set; `null` deletes.
fn with(mut question: Value, changes: &Map<String, Value>) -> Value {
    for (path, value) in changes {
        if value.is_null() {
            question = without(question, path);
            continue;
        }
        let pointer = pointer(path);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match question.pointer_mut(parent).unwrap() {
            Value::Object(parent) => drop(parent.insert(key.into(), value.clone())),
            parent => parent[key.parse::<usize>().unwrap()] = value.clone(),
        }
    }
    question
}

fn without(mut question: Value, path: &str) -> Value {
    let pointer = pointer(path);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = question.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    assert!(parent.remove(key).is_some(), "`{path}` is there");
    question
}

/// `a.b[0].c` as RFC 6901 `/a/b/0/c`.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace(']', "").replace(['.', '['], "/"))
}
