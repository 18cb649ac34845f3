//! Proves that each slip in what a bundle asks for (`[obligations]`) and in what it no longer promises (`[[retired]]`) is refused
//! with its place, what was meant and its mend: one at a time, put at the end of the file, whose next line is the first below.

use super::Copy;

/// From line 577 of vocabulary.toml.
const OBLIGATIONS: &[(&str, &str)] = &[
    (
        "[obligations.\"FSS REPORT\"]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: `FSS REPORT` cannot be a code in a row: write it as rows do, as `FSS_REPORT`",
    ),
    (
        "[obligations.\"A,B\"]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: `A,B` cannot be a code in a row: write it as rows do, as `FSS_REPORT`",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"Do.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: obligation `X` lacks a text in both languages: write what is to be done: `en` in English, `ko` in Korean",
    ),
    (
        "[obligations.X]\nen = \" \"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: obligation `X` lacks a text in both languages: write what is to be done: `en` in English, `ko` in Korean",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \" \"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: obligation `X` has no source: write the article, notice or decision that it rests on",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: missing field `source`: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevry = \"once\"",
        "vocabulary.toml:591: unknown field `evry`, expected one of `en`, `ko`, `source`, `mark`, `every`, `due_days`, `check`: did you mean `every`?: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"mont\"",
        "vocabulary.toml:591: unknown variant `mont`, expected one of `once`, `year`, `month`: did you mean `month`?: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"sure\"\nevery = \"once\"",
        "vocabulary.toml:590: unknown variant `sure`, expected one of `V`, `M`, `V/M`: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"\ndue_days = -1",
        "vocabulary.toml:592: invalid value: integer `-1`, expected u16: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"\ndue_days = \"90\"",
        "vocabulary.toml:592: invalid type: string \"90\", expected u16: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"\ncheck = \"record\"",
        "vocabulary.toml:592: unknown variant `record`, expected one of `records`, `access_log`, `ground`: did you mean `records`?: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"\ncheck = { ground = { type = \"kr.concent\", detail = \"tia\" } }",
        "vocabulary.toml:586: ground `kr.concent` is not known: did you mean `kr.consent`?: write a ground of `[grounds]`",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"\ncheck = { ground = { type = \"kr.consent\", detail = \"disclosure_rev\" } }",
        "vocabulary.toml:592: unknown variant `disclosure_rev`, expected one of `disclosure_ref`, `info_provided`, `tia`, `approver`, `single`, `approval_ref`, `layers`, `separate_consent`, `impact_assessment_ref`, `instruction_ref`, `licence_ref`, `statute_ref`, `checked_at`, `single_use`: did you mean `disclosure_ref`?: see policies/README.md for what stands in this file",
    ),
    (
        "[obligations.X]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"\ncheck = \"access_log\"",
        "vocabulary.toml:586: obligation `X` is never over for its access log: write `every = \"month\"` or `\"year\"`: what serves once has no time that a log could cover",
    ),
    (
        "[obligations.FSS_REPORT]\nen = \"Do.\"\nko = \"한다.\"\nsource = \"s\"\nmark = \"M\"\nevery = \"once\"",
        "vocabulary.toml:586: duplicate key: see policies/README.md for what stands in this file",
    ),
];

/// From line 98 of canary.toml.
const RETIRED: &[(&str, &str)] = &[
    (
        "[[retired]]\ncanary = \"canary: of before\"\nwhy = \" \"",
        "canary.toml:98: canary `canary: of before` is retired without a reason: say why, in one sentence: approvers read it and it is recorded",
    ),
    (
        "[[retired]]\ncanary = \"canary: of before\"",
        "canary.toml:98: missing field `why`: see policies/README.md for what stands in this file",
    ),
    (
        "[[retired]]\nwhy = \"it is over\"",
        "canary.toml:98: missing field `canary`: see policies/README.md for what stands in this file",
    ),
    (
        "[[retired]]\ncanary = \"canary: of before\"\nwy = \"it is over\"",
        "canary.toml:100: unknown field `wy`, expected `canary` or `why`: did you mean `why`?: see policies/README.md for what stands in this file",
    ),
    (
        "[[retird]]\ncanary = \"canary: of before\"\nwhy = \"it is over\"",
        "canary.toml:98: unknown field `retird`, expected one of `base`, `case`, `access`, `retired`: did you mean `retired`?: see policies/README.md for what stands in this file",
    ),
    (
        "[[retired]]\ncanary = \"canary: an operator abroad is refused\"\nwhy = \"it is over\"",
        "canary.toml:98: canary `canary: an operator abroad is refused` is retired and stands here: remove the case, or do not retire it",
    ),
    (
        "[[retired]]\ncanary = \"canary: of before\"\nwhy = \"it is over\"\n[[retired]]\ncanary = \"canary: of before\"\nwhy = \"it is over\"",
        "canary.toml:101: canary `canary: of before` is retired twice: remove one of the two",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bundle_asks_for_is_said_in_full_or_refused_by_its_line() {
    each("vocabulary.toml", OBLIGATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bundle_no_longer_promises_is_said_with_its_reason_or_refused_by_its_line() {
    each("canary.toml", RETIRED).await;
    let copy = Copy::new();
    copy.append(
        "packs/kr.pipa/cases.toml",
        "[[retired]]\ncanary = \"canary: of before\"\nwhy = \"it is over\"",
    );
    copy.refuses(
        "packs/kr.pipa/cases.toml:472: a retired canary in a pack: write it into canary.toml",
    )
    .await;
    // what is right is taken
    let copy = Copy::new();
    copy.append("canary.toml", "[[retired]]\ncanary = \"canary: of before\"\nwhy = \"it is over\"");
    copy.load().await.unwrap();
}

async fn each(file: &str, slips: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (added, message) in slips {
        let copy = Copy::new();
        copy.append(file, added);
        let Err(error) = copy.load().await else {
            wrong.push(format!("{added}\nwas taken"));
            continue;
        };
        let faults: Vec<String> = error.faults.iter().map(ToString::to_string).collect();
        if !faults.iter().any(|fault| fault == message) {
            wrong.push(format!("wanted {message}\ngot {faults:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
