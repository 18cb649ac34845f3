//! Proves that symbol rows can say all 25 reference rules: each has one twin that passes and one that does not, differing
//! in a fact; and each fact that the passing twin needs, deleted in turn, refuses and is named.

#[path = "reference/book.rs"]
mod book;

use book::{ground, question, rulebook};
use serde_json::{Value, json};
use verdict::{
    decide,
    decision::{Decision, Outcome, Why},
    question::Question,
    reason::Reason,
};

use Outcome::{Allow, AllowWithObligations as Oblige, Deny, Hold};

/// Two questions, the second with one more change; what each gives; and the facts that the first needs.
struct Twin {
    rule: &'static str,
    base: Value,
    passes: Outcome,
    change: Vec<(&'static str, Value)>,
    refused: Outcome,
    needs: &'static [&'static str],
    /// The rule that the second names.
    names: &'static str,
}

fn twin(
    rule: &'static str,
    base: Value,
    passes: Outcome,
    change: Vec<(&'static str, Value)>,
    refused: Outcome,
    needs: &'static [&'static str],
) -> Twin {
    Twin { rule, base, passes, change, refused, needs, names: rule }
}

impl Twin {
    /// A rule that only opens, or only says which flows exist: what refuses in its place is another.
    fn named(self, names: &'static str) -> Self {
        Self { names, ..self }
    }
}

#[test]
fn each_rule_has_a_twin_and_names_its_missing_facts() {
    let mut judged = std::collections::BTreeSet::new();
    for twin in [korea(), korea_sectors(), europe(), elsewhere(), house()].into_iter().flatten() {
        let Twin { rule, base, passes, change, refused, needs, names } = twin;
        let passing = answer(&base);
        assert_eq!(passing.outcome, passes, "{rule} passes: {:#?}", passing.reasons);
        let changed = with(base.clone(), change);
        let refusing = answer(&changed);
        assert_eq!(refusing.outcome, refused, "{rule} refuses: {:#?}", refusing.reasons);
        let named =
            |why: &Why| why.rule.as_deref() == Some(names) && why.code != Reason::AllowedByRule;
        assert!(refusing.reasons.iter().any(named), "{names} is named: {:#?}", refusing.reasons);
        for path in needs {
            let decision = answer(&without(base.clone(), path));
            assert_eq!(decision.outcome, Deny, "{rule} without `{path}`");
            let missing: Vec<&String> =
                decision.reasons.iter().flat_map(|why| &why.missing).collect();
            assert!(
                missing.iter().any(|missing| missing == path),
                "{rule} without `{path}`: {missing:?}"
            );
        }
        judged.insert(rule);
    }
    let all: Vec<String> = (1..=25).map(|number| format!("R{number:02}")).collect();
    assert_eq!(judged.into_iter().collect::<Vec<_>>(), all);
}

fn korea() -> Vec<Twin> {
    let home = || question("KR.PIPA", "KR", "KR");
    let away = |country| question("KR.PIPA", "KR", country);
    let consent =
        || with(away("US"), vec![("grounds", json!([ground("KR.PIPA", "kr.consent", json!({}))]))]);
    let narrow = json!({"categories": ["pd:General"], "roles": ["entrustment"], "recipients": ["op"], "places": ["US"]});
    let rrn = |country, details| {
        with(
            away(country),
            vec![
                ("components[0].categories", json!(["kr:RRN"])),
                (
                    "grounds",
                    json!([
                        ground("KR.PIPA", "kr.rrn_statute", details),
                        ground("KR.PIPA", "kr.consent", json!({}))
                    ]),
                ),
            ],
        )
    };
    let order = |from: &str, kind: &str| {
        json!([{"id": "o", "authority": "PIPC", "kind": kind, "match": {"regimes": ["KR.PIPA"], "to": ["US"]},
            "effective_from": from, "until": null}])
    };
    vec![
        twin(
            "R01",
            home(),
            Allow,
            vec![("site.location", Value::Null)],
            Deny,
            &[
                "site.location",
                "recipient.place",
                "site.operator",
                "site.remote_access[0].place",
                "site.remote_access[0].entity",
                "components[0].dataset",
                "components",
                "profile",
                "at",
            ],
        ),
        twin("R02", home(), Allow, vec![("site.location", json!("JP-13"))], Deny, &[]).named("R04"),
        twin(
            "R25",
            home(),
            Allow,
            vec![("site.remote_access[0].place", json!("IN"))],
            Deny,
            &["site.remote_access[0].place"],
        )
        .named("R04"),
        twin("R03", away("DE"), Allow, vec![("at", json!("2025-09-15T14:59:59Z"))], Deny, &[])
            .named("R04"),
        twin(
            "R04",
            with(consent(), vec![("grounds[0].scope", narrow)]),
            Allow,
            vec![
                ("site.operator.entity", json!("other")),
                ("site.remote_access[0].entity", json!("other")),
            ],
            Deny,
            &[
                "grounds[0].valid_from",
                "grounds[0].valid_until",
                "grounds[0].regime",
                "site.operator.entity",
                "role",
            ],
        ),
        twin(
            "R04",
            with(
                away("US"),
                vec![(
                    "grounds",
                    json!([ground(
                        "KR.PIPA",
                        "kr.contract_disclosed",
                        json!({"disclosure_ref": "policy-7"})
                    )]),
                )],
            ),
            Oblige,
            vec![("role", json!("provision"))],
            Deny,
            &["grounds[0].details.disclosure_ref"],
        ),
        twin(
            "R05",
            rrn("KR", json!({"statute_ref": "Act 1, 2"})),
            Allow,
            vec![("site.backups[0]", json!("DE"))],
            Deny,
            &["grounds[0].details.statute_ref", "grounds[0].valid_until"],
        ),
        twin(
            "R11",
            with(consent(), vec![("orders", order("2026-11-20T12:00:01Z", "suspend"))]),
            Allow,
            vec![("at", json!("2026-11-20T12:00:01Z"))],
            Deny,
            &["orders[0].effective_from"],
        ),
        twin(
            "R11",
            with(consent(), vec![("orders", order("2026-11-21", "hold"))]),
            Allow,
            vec![("at", json!("2026-11-21"))],
            Hold,
            &[],
        ),
        twin(
            "R11",
            with(
                consent(),
                vec![
                    ("orders", order("2026-11-01", "suspend")),
                    ("orders[0].until", json!("2026-11-19")),
                ],
            ),
            Allow,
            vec![("orders[0].until", json!("2026-11-20"))],
            Deny,
            &["orders[0].until"],
        ),
    ]
}

fn korea_sectors() -> Vec<Twin> {
    let home = || question("KR.PIPA", "KR", "KR");
    let finance = with(
        home(),
        vec![
            ("subject.sectors", json!(["kr.finance"])),
            ("components[0].categories", json!(["kr:PersonalCreditInfo"])),
        ],
    );
    let records = with(
        question("KR.PIPA", "KR", "KR"),
        vec![
            ("components[0].categories", json!(["kr:EMR"])),
            ("grounds", json!([ground("KR.PIPA", "kr.consent", json!({}))])),
        ],
    );
    let technology = |country| {
        with(
            question("KR.ITA", "KR", country),
            vec![
                ("components[0].categories", json!(["kr:NCT"])),
                ("components[0].identifiability", json!("non_personal")),
                ("components[0].encrypted", json!(true)),
                ("site.keys.holder", json!("customer")),
            ],
        )
    };
    let approved = with(
        technology("US"),
        vec![(
            "grounds",
            json!([ground("KR.ITA", "kr.nct_approval", json!({"approval_ref": "MOTIE-1"}))]),
        )],
    );
    let maps = with(
        question("KR.SPATIAL", "KR", "US"),
        vec![
            ("components[0].categories", json!(["kr:HighPrecisionSpatial"])),
            ("components[0].identifiability", json!("non_personal")),
            ("components[0].layers", json!(["roads"])),
            (
                "grounds",
                json!([ground(
                    "KR.SPATIAL",
                    "kr.spatial_decision",
                    json!({"layers": ["roads", "relief"]})
                )]),
            ),
        ],
    );
    let public = with(
        home(),
        vec![
            ("subject.sectors", json!(["kr.public"])),
            ("subject.system_grade", json!("mid")),
            (
                "site.certificates",
                json!([{"scheme": "CSAP", "grade": "mid", "valid_until": "2026-11-20"}]),
            ),
        ],
    );
    vec![
        twin(
            "R06",
            finance,
            Oblige,
            vec![
                ("site.control_plane", json!(["DE"])),
                ("components[0].categories", json!(["kr:UniqueId"])),
            ],
            Deny,
            &["site.location"],
        ),
        twin("R07", records, Allow, vec![("site.backups[0]", json!("US"))], Deny, &[]),
        twin(
            "R08",
            technology("KR"),
            Oblige,
            vec![("site.operator.parents[0].place", json!("US"))],
            Deny,
            &["site.operator.seat", "site.operator.parents[0].place", "site.keys.holder"],
        ),
        twin(
            "R08",
            approved,
            Hold,
            vec![("grounds[0].suspended", json!(true))],
            Deny,
            &["grounds[0].details.approval_ref"],
        ),
        twin(
            "R09",
            maps,
            Hold,
            vec![("components[0].layers", json!(["roads", "bases"]))],
            Deny,
            &["components[0].layers", "grounds[0].valid_from"],
        ),
        twin(
            "R10",
            public,
            Allow,
            vec![("subject.system_grade", json!("high"))],
            Deny,
            &[
                "subject.system_grade",
                "site.certificates[0].scheme",
                "site.certificates[0].grade",
                "site.certificates[0].valid_until",
            ],
        ),
        twin("R12", home(), Allow, vec![("components[0].origins", json!(["KR", "DE"]))], Deny, &[]),
        twin(
            "R12",
            with(
                home(),
                vec![(
                    "onward",
                    json!([{"place": "DE", "entity": "search", "what": "tool:web_search"}]),
                )],
            ),
            Allow,
            vec![("onward[0].place", json!("SG"))],
            Deny,
            &["onward[0].place", "onward[0].entity"],
        )
        .named("R04"),
    ]
}

fn europe() -> Vec<Twin> {
    let away = |country| question("EU.GDPR", "DE", country);
    let tool = |tia| {
        with(
            away("US"),
            vec![("grounds", json!([ground("EU.GDPR", "eu.A46-2-c", json!({"tia": tia}))]))],
        )
    };
    let confidential = with(
        tool(json!({"outcome": "problematic", "measures": ["tee"], "at": "2026-01-01"})),
        vec![
            (
                "site.tee",
                json!({"verdict": "affirming", "at": "2026-11-20T11:00:00Z", "nonce_ok": true}),
            ),
            ("site.keys.place", json!("FR")),
        ],
    );
    let derogation = with(
        away("US"),
        vec![
            ("purpose.recurring", json!(false)),
            (
                "grounds",
                json!([ground(
                    "EU.GDPR",
                    "eu.A49-1-a",
                    json!({"approver": "dpo", "single": true})
                )]),
            ),
        ],
    );
    let listed = json!({"active_until": "2026-11-20", "hr": false});
    vec![
        twin(
            "R13",
            with(away("US"), vec![("site.operator.dpf", listed.clone())]),
            Allow,
            vec![("components[0].categories", json!(["pd:EmploymentHistory"]))],
            Deny,
            &["site.operator.dpf", "site.operator.dpf.active_until"],
        )
        .named("R14"),
        twin(
            "R13",
            with(away("KR"), vec![("site.operator.supervised_by", json!(["KR.FSC"]))]),
            Allow,
            vec![("components[0].categories", json!(["kr:PersonalCreditInfo"]))],
            Deny,
            &[],
        )
        .named("R14"),
        twin(
            "R13",
            with(away("JP"), vec![("site.operator.regulated_under", json!(["APPI"]))]),
            Allow,
            vec![("site.operator.regulated_under", json!([]))],
            Deny,
            &[],
        )
        .named("R14"),
        twin("R13", away("GB"), Allow, vec![("at", json!("2031-12-28"))], Deny, &[]).named("R14"),
        twin(
            "R14",
            tool(json!({"outcome": "no_problem", "at": "2025-11-20T12:00:00Z"})),
            Allow,
            vec![("at", json!("2026-11-20T12:00:01Z"))],
            Deny,
            &[
                "grounds[0].details.tia",
                "grounds[0].details.tia.outcome",
                "grounds[0].details.tia.at",
            ],
        ),
        twin(
            "R14",
            confidential,
            Hold,
            vec![("site.tee.at", json!("2026-11-20T10:59:59Z"))],
            Deny,
            &["site.tee", "site.tee.verdict", "site.tee.at", "site.keys.place"],
        ),
        twin(
            "R15",
            derogation,
            Hold,
            vec![("purpose.recurring", json!(true))],
            Deny,
            &["grounds[0].details.approver", "grounds[0].details.single"],
        ),
        twin(
            "R16",
            with(
                question("EU.DATA_ACT", "DE", "US"),
                vec![("components[0].identifiability", json!("non_personal"))],
            ),
            Allow,
            vec![("purpose.third_country_order", json!(true))],
            Hold,
            &[],
        ),
    ]
}

fn elsewhere() -> Vec<Twin> {
    let bulk = with(
        question("US.28CFR202", "US", "US"),
        vec![
            ("components[0].categories", json!(["pd:MedicalHealth"])),
            ("components[0].identifiability", json!("pseudonymised")),
            ("components[0].subjects", json!(4_000)),
            ("site.operator.parents", json!([{"place": "HK", "share": 50}])),
            (
                "counters",
                json!([{"regime": "US.28CFR202", "category": "pd:Health", "to": "US", "window_days": 365,
            "amount_before": 6_000}]),
            ),
        ],
    );
    let controlled = with(
        bulk.clone(),
        vec![
            ("counters[0].amount_before", json!(6_001)),
            ("grounds", json!([ground("US.28CFR202", "us.cisa_controls", json!({}))])),
        ],
    );
    let health = with(
        question("US.HIPAA", "US", "DE"),
        vec![
            ("components[0].categories", json!(["us:PHI"])),
            ("site.operator.baa", json!({"valid_until": "2026-11-20"})),
            ("grounds", json!([ground("US.HIPAA", "us.baa", json!({}))])),
        ],
    );
    // a Chinese tenant does not train on 3A090 (R24): other work, so that only R21 speaks
    let china = |country| {
        with(question("CN.PIPL", "CN", country), vec![("purpose.workload", json!("etl"))])
    };
    let contract = with(
        china("SG"),
        vec![
            ("components[0].subjects", json!(400_000)),
            ("components[0].sensitive_subjects", json!(0)),
            (
                "counters",
                json!([{"regime": "CN.PIPL", "category": "pd:General", "to": "US", "window": "calendar_year",
            "amount_before": 600_000}]),
            ),
            (
                "grounds",
                json!([ground(
                    "CN.PIPL",
                    "cn.scc",
                    json!({"separate_consent": true, "impact_assessment_ref": "pia-1"})
                )]),
            ),
        ],
    );
    let japan = |kind, details| {
        with(
            question("JP.APPI", "JP", "US"),
            vec![("grounds", json!([ground("JP.APPI", kind, details)]))],
        )
    };
    let india = question("IN.DPDP", "IN", "SG");
    let notified = json!([{"regime": "IN.DPDP", "kind": "restricted_places", "places": ["SG"],
        "valid_from": "2026-11-20", "valid_until": null}]);
    let tenant = |workload| {
        with(
            question("KR.PIPA", "KR", "KR"),
            vec![
                ("purpose.workload", json!(workload)),
                ("subject.parents", json!([{"place": "CN", "share": 50}])),
            ],
        )
    };
    let licensed = with(
        tenant("train"),
        vec![("grounds", json!([ground("EAR", "us.licence", json!({"licence_ref": "BIS-1"}))]))],
    );
    vec![
        twin(
            "R18",
            bulk,
            Allow,
            vec![("components[0].subjects", json!(4_001))],
            Deny,
            &["components[0].subjects"],
        ),
        twin(
            "R18",
            controlled,
            Oblige,
            vec![("grounds[0].valid_until", json!("2026-11-19"))],
            Deny,
            &["grounds[0].valid_until"],
        ),
        twin(
            "R19",
            health.clone(),
            Allow,
            vec![("site.operator.baa.valid_until", json!("2026-11-19"))],
            Deny,
            &["site.operator.baa", "site.operator.baa.valid_until"],
        ),
        twin("R19", health, Allow, vec![("grounds[0].suspended", json!(true))], Deny, &[]),
        twin(
            "R20",
            question("UK.GDPR", "GB", "KR"),
            Allow,
            vec![("site.backups", json!(["BR"]))],
            Deny,
            &[],
        ),
        twin(
            "R21",
            contract,
            Allow,
            vec![("counters[0].amount_before", json!(600_001))],
            Deny,
            &[
                "components[0].subjects",
                "grounds[0].details.separate_consent",
                "grounds[0].details.impact_assessment_ref",
            ],
        ),
        twin("R21", china("CN"), Allow, vec![("site.location", json!("CN-HK"))], Deny, &[]),
        twin(
            "R22",
            japan("jp.consent", json!({"info_provided": true})),
            Allow,
            vec![("grounds[0].scope.places", json!([]))],
            Deny,
            &["grounds[0].details.info_provided"],
        ),
        twin(
            "R22",
            japan("jp.equivalent_system", json!({"checked_at": "2025-11-21"})),
            Oblige,
            vec![("grounds[0].details.checked_at", json!("2025-11-19"))],
            Deny,
            &["grounds[0].details.checked_at"],
        ),
        twin("R23", india.clone(), Allow, vec![("lists", notified)], Deny, &[]),
        twin("R23", india, Allow, vec![("subject.sectors", json!(["in.payments"]))], Deny, &[]),
        twin(
            "R24",
            licensed,
            Allow,
            vec![("grounds[0].valid_until", json!("2026-11-01"))],
            Deny,
            &["grounds[0].details.licence_ref"],
        ),
        twin(
            "R24",
            with(tenant("train"), vec![("subject.parents[0].share", json!(49))]),
            Allow,
            vec![("subject.parents[0].share", json!(50)), ("purpose.workload", json!("infer"))],
            Hold,
            &["subject.parents[0].share", "subject.seat"],
        ),
    ]
}

fn house() -> Vec<Twin> {
    let sealed = with(
        question("KR.PIPA", "KR", "KR"),
        vec![
            ("profile", json!("sovereign")),
            ("components[0].class", json!("restricted")),
            ("site.operator.parents", json!([{"place": "US", "share": 25}])),
            (
                "site.keys",
                json!({"holder": "customer", "place": "KR", "layers": 2, "in_use": true}),
            ),
        ],
    );
    vec![
        twin(
            "R17",
            sealed.clone(),
            Allow,
            vec![("site.keys.in_use", json!(false))],
            Deny,
            &["site.keys", "site.keys.place", "site.keys.holder"],
        ),
        twin(
            "R17",
            with(
                sealed,
                vec![
                    ("components[0].class", json!("confidential")),
                    ("site.keys.in_use", json!(false)),
                ],
            ),
            Allow,
            vec![("components[0].class", json!("state"))],
            Deny,
            &["components[0].class"],
        ),
    ]
}

#[test]
fn what_a_refusal_rests_on_refuses_also_when_it_is_unknown() {
    let refused = with(
        question("KR.PIPA", "KR", "KR"),
        vec![("subject.parents", json!([{"place": "CN", "share": 50}]))],
    );
    for path in [
        "purpose.workload",
        "site.accelerators[0].eccn",
        "subject.parents[0].place",
        "subject.parents[0].share",
    ] {
        let decision = answer(&without(refused.clone(), path));
        let first = &decision.reasons[0];
        assert_eq!((decision.outcome, first.code), (Deny, Reason::MissingFact), "{path}");
        assert_eq!(
            (first.rule.as_deref(), first.missing.as_slice()),
            (Some("R24"), &[path.to_owned()][..])
        );
        let last = decision.reasons.last().unwrap();
        assert_eq!((last.code, last.rule.as_deref()), (Reason::MissingFact, Some("R01")));
    }
}

fn answer(question: &Value) -> Decision {
    let question: Question = serde_json::from_value(question.clone()).unwrap();
    decide(&rulebook(), &question).unwrap()
}

/// The question with these paths set; `null` deletes.
fn with(mut question: Value, changes: Vec<(&str, Value)>) -> Value {
    for (path, value) in changes {
        if value.is_null() {
            question = without(question, path);
            continue;
        }
        let pointer = pointer(path);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match question.pointer_mut(parent).unwrap() {
            Value::Object(parent) => drop(parent.insert(key.into(), value)),
            parent => parent[key.parse::<usize>().unwrap()] = value,
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
