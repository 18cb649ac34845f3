//! The 25 reference rules as symbol rows, and a question to begin from.

use serde_json::{Value, json};
use verdict::{
    Rulebook,
    decision::Text,
    question::{Profile, Role, Window},
    rule::{
        Basis, Book, Detail, GroundType, Group, Kind, Limits, Mark, Measure, Mode, Out, Regime,
        Row, RuleText, Threshold, Vocabulary,
    },
    stamp::Stamp,
};

/// Checked; panics with every problem otherwise.
pub fn rulebook() -> Rulebook {
    Rulebook::new(book()).unwrap()
}

pub fn book() -> Book {
    let rows = rows();
    let rule = |number: u16| {
        let id = format!("R{number:02}");
        RuleText {
            text: Text { en: format!("Sentence of {id}."), ko: format!("{id}의 문장.") },
            basis: if matches!(number, 1 | 17) { vec![Basis::House] } else { vec![Basis::Law] },
            citation: format!("citation of {id}"),
            mark: if number == 2 { Mark::V } else { Mark::VM },
            from: None,
            until: None,
            reviewed_on: None,
            persons: None,
            id,
        }
    };
    Book {
        name: "reference".into(),
        version: "1".into(),
        reviewed_on: None,
        missing_rule: Some("R01".into()),
        regimes: regimes(),
        groups: groups(),
        rules: (1..=25).map(rule).collect(),
        rows,
        vocabulary: vocabulary(),
        limits: limits(),
    }
}

/// One line a row: rule, kind, out, regime, flow, to, literals; after `=>` obligations. `house` rows are sovereign.
const ROWS: &str = "
R02 permit allow KR.PIPA * home
R03 permit allow KR.PIPA * KR.EQUIV !cat:kr:RRN !cat:kr:PersonalCreditInfo
R04 permit allow KR.PIPA * abroad ground:kr.consent
R04 permit allow KR.PIPA * abroad ground:kr.treaty
R04 permit allow KR.PIPA * abroad ground:kr.certified_recipient
R04 permit oblige KR.PIPA * abroad ground:kr.contract_disclosed => NOTIFY_SUBJECTS_ITEMS_28-8(2) AGREE_PROTECTIVE_MEASURES_28-8(4)
R05 restrict deny * * * cat:kr:RRN !to:KR
R05 restrict deny * * * cat:kr:RRN !ground:kr.rrn_statute
R06 restrict deny * compute * subject.sector:kr.finance cat_in:KR.FINANCIAL !to:KR
R06 restrict deny * copy * subject.sector:kr.finance cat_in:KR.FINANCIAL !to:KR
R06 restrict deny * control_plane * subject.sector:kr.finance cat_in:KR.FINANCIAL !to:KR
R06 restrict oblige * compute * subject.sector:kr.finance cat_in:KR.FINANCIAL => PROVIDER_ASSESSMENT FSS_REPORT
R07 restrict deny * compute * cat:kr:EMR component.stored !to:KR
R07 restrict deny * copy * cat:kr:EMR component.stored !to:KR
R08 restrict oblige * compute * cat:kr:NCT => PROVIDER_ACCESS_LOG DELETE_AND_CERTIFY
R09 restrict deny * * * cat:kr:HighPrecisionSpatial !to:KR !ground:kr.spatial_decision
R09 restrict hold * * * cat:kr:HighPrecisionSpatial !to:KR
R10 restrict deny * compute * subject.sector:kr.public !to:KR
R10 restrict deny * compute * subject.sector:kr.public !certificate:CSAP>=system_grade
R11 restrict deny * * * order:suspend
R11 restrict deny * * * order:prohibit
R11 restrict deny * * * order:restrict
R11 restrict hold * * * order:hold
R12 restrict deny * * * origins.unlisted
R13 permit allow EU.GDPR * home
R13 permit allow EU.GDPR * EU.ADEQUATE
R13 permit allow EU.GDPR * EU.ADEQUATE.KR !recipient.supervised_by:KR.FSC
R13 permit allow EU.GDPR * EU.ADEQUATE.KR !cat:kr:PersonalCreditInfo
R13 permit allow EU.GDPR * EU.ADEQUATE.JP recipient.regulated_under:APPI
R13 permit allow EU.GDPR * EU.ADEQUATE.CA recipient.regulated_under:PIPEDA
R13 permit allow EU.GDPR * EU.ADEQUATE.US recipient.dpf !cat_in:HR
R13 permit allow EU.GDPR * EU.ADEQUATE.US recipient.dpf_hr
R14 permit allow EU.GDPR * abroad ground:eu.A46-2-c/no_problem
R14 permit hold EU.GDPR * abroad ground:eu.A46-2-c/measure.tee tee.affirming keys.in:EEA30
R15 permit hold EU.GDPR * abroad ground:eu.A49-1-a !purpose.recurring
R16 restrict hold EU.DATA_ACT * * purpose.third_country_order
R16 restrict hold EU.GDPR * * purpose.third_country_order
R17 restrict deny * * * house class>=restricted operator.exposed:FOREIGN_LAW !keys.in_use
R17 restrict deny * * * house class>=restricted operator.exposed:FOREIGN_LAW !keys.in_origin
R18 restrict deny US.28CFR202 * * recipient.covered:US.COC volume:US.bulk !ground:us.cisa_controls
R18 restrict oblige US.28CFR202 * * recipient.covered:US.COC volume:US.bulk => RETAIN(10y)
R19 restrict deny * * * cat:us:PHI !operator.baa
R20 permit allow UK.GDPR * home
R20 permit allow UK.GDPR * UK.APPROVED
R20 permit allow UK.GDPR * abroad ground:uk.A46_tra
R21 permit allow CN.PIPL * home
R21 permit allow CN.PIPL * abroad ground:cn.assessment
R21 permit allow CN.PIPL * abroad ground:cn.scc !subject.critical_infrastructure !cat:cn:ImportantData !volume:CN.assessment
R22 permit allow JP.APPI * home
R22 permit allow JP.APPI * JP.DESIGNATED
R22 permit allow JP.APPI * abroad ground:jp.consent
R22 permit oblige JP.APPI * abroad ground:jp.equivalent_system => RECURRING_CHECK
R23 permit allow IN.DPDP * home
R23 permit allow IN.DPDP * abroad !to:IN.RESTRICTED !listed:restricted_places
R23 restrict deny IN.DPDP * * subject.sector:in.payments !to:IN
";

fn rows() -> Vec<Row> {
    let mut lines: Vec<String> =
        ROWS.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    // approved or reported instead of kept at home is held; neither is refused
    for (flow, broken) in [
        ("compute", "!to:KR"),
        ("copy", "!to:KR"),
        ("operator_access", "!to:KR"),
        ("compute", "!component.encrypted"),
        ("compute", "!keys.holder:customer"),
        ("compute", "operator.outside:KR"),
    ] {
        lines.push(format!("R08 restrict hold * {flow} * cat:kr:NCT {broken}"));
        lines.push(format!(
            "R08 restrict deny * {flow} * cat:kr:NCT {broken} !ground:kr.nct_approval !ground:kr.nct_report"
        ));
    }
    for eccn in ["3A090", "4A090"] {
        let tenant = format!("accelerator:{eccn} subject.ultimate:EAR.HQ");
        lines.push(format!(
            "R24 restrict deny * compute * {tenant} workload:train !ground:us.licence"
        ));
        lines.push(format!(
            "R24 restrict deny * compute * {tenant} workload:fine_tune !ground:us.licence"
        ));
        lines.push(format!("R24 restrict hold * compute * {tenant} workload:infer"));
    }
    lines.iter().enumerate().map(|(number, line)| row(number, line)).collect()
}

fn row(number: usize, line: &str) -> Row {
    let (line, obligations) = line.split_once("=>").unwrap_or((line, ""));
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap().to_owned();
    let (rule, kind, out) = (next(), next(), next());
    let (regime, flow, to) = (next(), next(), next());
    let mut when: Vec<String> = words.map(str::to_owned).collect();
    let house = when.first().is_some_and(|word| word == "house");
    if house {
        when.remove(0);
    }
    Row {
        rule,
        number: u16::try_from(number).unwrap(),
        kind: if kind == "permit" { Kind::Permit } else { Kind::Restrict },
        out: match out.as_str() {
            "allow" => Out::Allow,
            "oblige" => Out::Oblige,
            "hold" => Out::Hold,
            _ => Out::Deny,
        },
        regime,
        flow,
        to,
        when,
        obligations: obligations.split_whitespace().map(str::to_owned).collect(),
        profiles: if house {
            vec![Profile::Sovereign]
        } else {
            vec![Profile::Statutory, Profile::Sovereign]
        },
    }
}

fn regimes() -> Vec<Regime> {
    let regime = |(id, mode, territory, requires): (&str, Mode, &str, &str)| Regime {
        id: id.into(),
        mode,
        territory: Some(territory.into()),
        requires: Some(requires.to_owned()).filter(|rule| !rule.is_empty()),
    };
    [
        ("KR.PIPA", Mode::Transfer, "KR", "R04"),
        ("KR.ITA", Mode::Floor, "KR", ""),
        ("KR.SPATIAL", Mode::Floor, "KR", ""),
        ("EU.GDPR", Mode::Transfer, "EEA30", "R14"),
        ("EU.DATA_ACT", Mode::Floor, "EEA30", ""),
        ("UK.GDPR", Mode::Transfer, "GB", "R20"),
        ("JP.APPI", Mode::Transfer, "JP", "R22"),
        ("CN.PIPL", Mode::Transfer, "CN", "R21"),
        ("IN.DPDP", Mode::Transfer, "IN", "R23"),
        ("US.28CFR202", Mode::Floor, "US", ""),
        ("US.HIPAA", Mode::Floor, "US", ""),
    ]
    .map(regime)
    .into()
}

const EEA30: &str =
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE NO IS LI";

fn groups() -> Vec<Group> {
    let group = |(id, places, from, until): (&str, &str, &str, &str)| Group {
        id: id.into(),
        regime: "*".into(),
        places: places.split_whitespace().map(str::to_owned).collect(),
        from: Stamp::parse(from).ok(),
        until: Stamp::parse(until).ok(),
        mark: Mark::V,
        citation: String::new(),
    };
    [
        ("EEA30", EEA30, "", ""),
        ("KR.EQUIV", EEA30, "2025-09-16T00:00:00+09:00", ""),
        ("EU.ADEQUATE", "GB", "2021-06-28", "2031-12-27"),
        ("EU.ADEQUATE", "BR", "2026-01-27", ""),
        ("EU.ADEQUATE", "CH NZ", "", ""),
        ("EU.ADEQUATE.KR", "KR", "2021-12-17", ""),
        ("EU.ADEQUATE.JP", "JP", "2019-01-23", ""),
        ("EU.ADEQUATE.CA", "CA", "2001-12-20", ""),
        ("EU.ADEQUATE.US", "US", "2023-07-10", ""),
        ("UK.APPROVED", "AT DE FR JP KR", "", ""),
        ("JP.DESIGNATED", EEA30, "", ""),
        ("JP.DESIGNATED", "GB", "", ""),
        ("IN.RESTRICTED", "", "", ""),
        ("US.COC", "CN HK MO CU IR KP RU VE", "", ""),
        ("EAR.HQ", "CN RU MO", "", ""),
        ("FOREIGN_LAW", "US CN", "", ""),
    ]
    .map(group)
    .into()
}

fn vocabulary() -> Vocabulary {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Vocabulary {
        categories: words(
            "pd:* dpv:NonPersonalData kr:RRN kr:UniqueId kr:PersonalCreditInfo kr:EMR kr:NCT \
             kr:HighPrecisionSpatial kr:LocationInfo us:PHI cn:ImportantData",
        ),
        broader: [("pd:MedicalHealth".to_owned(), "pd:Health".to_owned())].into(),
        category_sets: [
            ("KR.FINANCIAL".to_owned(), words("kr:PersonalCreditInfo kr:UniqueId")),
            ("HR".to_owned(), words("pd:EmploymentHistory")),
        ]
        .into(),
        impersonal: words(
            "pd:General dpv:NonPersonalData kr:NCT kr:HighPrecisionSpatial cn:ImportantData",
        ),
        purposes: words("dpv:*"),
        purpose_sets: [("HR".to_owned(), words("dpv:PersonnelManagement"))].into(),
        sectors: words("kr.finance kr.public kr.medical us.health in.payments"),
        supervisors: words("KR.FSC"),
        laws: words("APPI PIPEDA GDPR"),
        schemes: words("CSAP"),
        measures: words("tee"),
        grounds: grounds(),
        obligations: Vec::new(),
    }
}

fn grounds() -> Vec<GroundType> {
    use Detail::{
        ApprovalRef, Approver, CheckedAt, DisclosureRef, ImpactAssessmentRef, InfoProvided,
        InstructionRef, Layers, LicenceRef, SeparateConsent, Single, StatuteRef, Tia,
    };
    let kind = |(id, regime, details): (&str, &str, &[Detail])| GroundType {
        id: id.into(),
        regime: regime.into(),
        details: details.into(),
        onward_details: if regime == "EU.GDPR" { vec![InstructionRef] } else { Vec::new() },
        never_roles: if id == "kr.contract_disclosed" { vec![Role::Provision] } else { Vec::new() },
        to_subject: id == "us.licence",
    };
    [
        ("kr.consent", "KR.PIPA", &[][..]),
        ("kr.treaty", "KR.PIPA", &[]),
        ("kr.certified_recipient", "KR.PIPA", &[]),
        ("kr.contract_disclosed", "KR.PIPA", &[DisclosureRef]),
        ("kr.rrn_statute", "KR.PIPA", &[StatuteRef]),
        ("kr.nct_approval", "KR.ITA", &[ApprovalRef]),
        ("kr.nct_report", "KR.ITA", &[]),
        ("kr.spatial_decision", "KR.SPATIAL", &[Layers]),
        ("eu.A46-2-c", "EU.GDPR", &[Tia]),
        ("eu.A49-1-a", "EU.GDPR", &[Approver, Single]),
        ("uk.A46_tra", "UK.GDPR", &[]),
        ("jp.consent", "JP.APPI", &[InfoProvided]),
        ("jp.equivalent_system", "JP.APPI", &[CheckedAt]),
        ("cn.assessment", "CN.PIPL", &[SeparateConsent, ImpactAssessmentRef]),
        ("cn.scc", "CN.PIPL", &[SeparateConsent, ImpactAssessmentRef]),
        ("us.cisa_controls", "US.28CFR202", &[]),
        ("us.licence", "EAR", &[LicenceRef]),
        ("us.baa", "US.HIPAA", &[]),
    ]
    .map(kind)
    .into()
}

fn limits() -> Limits {
    let threshold = |(id, window, measure, categories, over): (&str, _, _, &str, _)| Threshold {
        id: id.into(),
        regime: if id == "US.bulk" { "US.28CFR202".into() } else { "CN.PIPL".into() },
        window,
        measure,
        categories: vec![categories.into()],
        over,
        by_place: id == "US.bulk",
        zone: (window == Window::CalendarYear).then(|| "+08:00".into()),
    };
    let (year, calendar) = (Window::Rolling365d, Window::CalendarYear);
    Limits {
        tia_age_s: 365 * 86_400,
        check_age_s: 365 * 86_400,
        attestation_age_s: 3_600,
        exposure_share: 25,
        control_share: 50,
        thresholds: [
            ("US.bulk", year, Measure::Subjects, "pd:Health", 10_000),
            ("US.bulk", year, Measure::Subjects, "pd:Biometric", 1_000),
            ("CN.assessment", calendar, Measure::Subjects, "*", 1_000_000),
            ("CN.assessment", calendar, Measure::SensitiveSubjects, "pd:Health", 9_999),
        ]
        .map(threshold)
        .into(),
    }
}

/// Ordinary personal data of one origin, everything at one site in `country`, the result back to the subject.
pub fn question(regime: &str, origin: &str, country: &str) -> Value {
    json!({
        "id": "q", "at": "2026-11-20T12:00:00Z", "profile": "statutory",
        "subject": {"org": "tenant", "entity": "tenant", "seat": origin,
            "parents": [{"place": origin, "share": 100}], "actor_kind": "service", "place": origin},
        "purpose": {"code": "dpv:ServiceProvision", "workload": "train", "recurring": true},
        "role": "entrustment",
        "components": [{"dataset": "orders@1", "kind": "training", "regimes": [regime],
            "origins": [origin], "categories": ["pd:General"], "class": "confidential",
            "identifiability": "personal", "subjects": 120_000, "records": 900_000, "stored": true}],
        "site": {"id": "site-1", "location": country,
            "operator": {"entity": "op", "seat": country, "parents": [{"place": country, "share": 100}]},
            "control_plane": [country], "backups": [country], "telemetry": [country],
            "remote_access": [{"place": country, "entity": "op", "plaintext": true}],
            "tee": {"verdict": "none"},
            "keys": {"holder": "provider", "place": country, "layers": 1, "in_use": false},
            "accelerators": [{"model": "H200", "eccn": "3A090"}]},
        "recipient": {"entity": "tenant", "seat": origin, "place": origin, "same_entity": true}
    })
}

/// A ground that covers everything its type may cover, from the start of 2026 without end.
pub fn ground(regime: &str, kind: &str, details: &Value) -> Value {
    json!({"id": format!("g-{kind}"), "regime": regime, "type": kind, "level": "verified",
        "scope": {"categories": ["*"], "roles": ["*"], "recipients": ["*"], "places": ["*"]},
        "valid_from": "2026-01-01", "valid_until": null, "suspended": false, "details": details})
}
