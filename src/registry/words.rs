//! The closed words of the registry, and what somebody may have meant.
//!
//! Regimes, categories, sectors and ground types are those of the question format. What a rule makes of a word is the
//! policy's business; that a word exists at all is checked here, so that a slip is an error and not a rule that
//! silently never matches.

/// The candidate nearest to `text`, if it is near enough to be a slip.
pub(super) fn meant<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_max = text.chars().count().div_ceil(3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            (distance(&text.to_ascii_lowercase(), &candidate.to_ascii_lowercase()), candidate)
        })
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `: did you mean ..?`, or nothing.
pub(super) fn hint<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    meant(text, candidates).map_or_else(String::new, |word| format!(": did you mean `{word}`?"))
}

/// Levenshtein's distance in characters.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut corner = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (right, above) in to.iter().zip(row.iter().skip(1)) {
            let cost = (corner + usize::from(left != *right)).min(above + 1).min(before + 1);
            corner = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Regimes that a data component can be under.
pub(super) const REGIMES: &[&str] = &[
    "KR.PIPA",
    "KR.ITA",
    "KR.SPATIAL",
    "EU.GDPR",
    "EU.DATA_ACT",
    "UK.GDPR",
    "JP.APPI",
    "CN.PIPL",
    "IN.DPDP",
    "US.28CFR202",
    "US.HIPAA",
];

/// Regimes that a ground, an order or a list can name: also those that apply by party and accelerator.
pub(super) const ALL_REGIMES: &[&str] = &[
    "KR.PIPA",
    "KR.ITA",
    "KR.SPATIAL",
    "EU.GDPR",
    "EU.DATA_ACT",
    "UK.GDPR",
    "JP.APPI",
    "CN.PIPL",
    "IN.DPDP",
    "US.28CFR202",
    "US.HIPAA",
    "EAR",
];

pub(super) const SECTORS: &[&str] =
    &["kr.finance", "kr.public", "kr.medical", "us.health", "in.payments"];

pub(super) const SUPERVISORS: &[&str] = &["KR.FSC"];

/// General data-protection laws that a party answers to.
pub(super) const LAWS: &[&str] =
    &["APPI", "DPDP", "GDPR", "HIPAA", "PIPA", "PIPEDA", "PIPL", "UK-GDPR"];

pub(super) const SCHEMES: &[&str] = &["CSAP", "NIS"];

/// A type of ground, the regime it serves, and the keys of `details` without which a ground of that type is not live.
pub(super) struct GroundType {
    pub name: &'static str,
    pub regime: &'static str,
    pub details: &'static [&'static str],
}

pub(super) fn ground_type(name: &str) -> Option<&'static GroundType> {
    GROUND_TYPES.iter().find(|one| one.name == name)
}

pub(super) fn ground_types() -> impl Iterator<Item = &'static str> + Clone {
    GROUND_TYPES.iter().map(|one| one.name)
}

const fn ground(
    name: &'static str,
    regime: &'static str,
    details: &'static [&'static str],
) -> GroundType {
    GroundType { name, regime, details }
}

/// An assessment of the transfer, for safeguards under Article 46; who approved it and that it is single, for
/// derogations under Article 49; separate consent and an assessment, for PIPL, Articles 39 and 55.
const GROUND_TYPES: &[GroundType] = &[
    ground("kr.consent", "KR.PIPA", &[]),
    ground("kr.treaty", "KR.PIPA", &[]),
    ground("kr.contract_disclosed", "KR.PIPA", &["disclosure_ref"]),
    ground("kr.certified_recipient", "KR.PIPA", &[]),
    ground("kr.equivalency", "KR.PIPA", &[]),
    ground("kr.rrn_statute", "KR.PIPA", &["statute_ref"]),
    ground("kr.nct_approval", "KR.ITA", &["approval_ref"]),
    ground("kr.nct_report", "KR.ITA", &[]),
    ground("kr.spatial_decision", "KR.SPATIAL", &["layers"]),
    ground("eu.A45-3", "EU.GDPR", &[]),
    ground("eu.A46-2-a", "EU.GDPR", &["tia"]),
    ground("eu.A46-2-b", "EU.GDPR", &["tia"]),
    ground("eu.A46-2-c", "EU.GDPR", &["tia"]),
    ground("eu.A46-2-d", "EU.GDPR", &["tia"]),
    ground("eu.A46-2-e", "EU.GDPR", &["tia"]),
    ground("eu.A46-2-f", "EU.GDPR", &["tia"]),
    ground("eu.A46-3-a", "EU.GDPR", &["tia"]),
    ground("eu.A46-3-b", "EU.GDPR", &["tia"]),
    ground("eu.A49-1-a", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-1-b", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-1-c", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-1-d", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-1-e", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-1-f", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-1-g", "EU.GDPR", &["approver", "single"]),
    ground("eu.A49-2", "EU.GDPR", &["approver", "single"]),
    ground("uk.A45A", "UK.GDPR", &[]),
    ground("uk.A46_tra", "UK.GDPR", &[]),
    ground("uk.A49", "UK.GDPR", &[]),
    ground("jp.consent", "JP.APPI", &["info_provided"]),
    ground("jp.designated", "JP.APPI", &[]),
    ground("jp.equivalent_system", "JP.APPI", &["checked_at"]),
    ground("cn.assessment", "CN.PIPL", &["separate_consent", "impact_assessment_ref"]),
    ground("cn.scc", "CN.PIPL", &["separate_consent", "impact_assessment_ref"]),
    ground("cn.certification", "CN.PIPL", &["separate_consent", "impact_assessment_ref"]),
    ground("cn.exempt", "CN.PIPL", &[]),
    ground("in.not_restricted", "IN.DPDP", &[]),
    ground("us.exempt", "US.28CFR202", &[]),
    ground("us.cisa_controls", "US.28CFR202", &[]),
    ground("us.licence", "EAR", &["licence_ref"]),
    ground("us.baa", "US.HIPAA", &[]),
];
