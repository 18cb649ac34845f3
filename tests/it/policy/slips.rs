//! Proves that each slip that casbin would pass over in silence, and each of our own, is refused with its place and its mend.

use std::fs;

use super::Copy;

#[tokio::test]
async fn an_outcome_with_a_capital_is_refused() {
    let copy = Copy::new();
    copy.replace(
        "packs/kr.pipa/rules.csv",
        "restrict, deny,   *,       *,    *,        cat:kr:RRN !to:KR",
        "restrict, Deny,   *,       *,    *,        cat:kr:RRN !to:KR",
    );
    copy.refuses("packs/kr.pipa/rules.csv:10: outcome `Deny` is not known: did you mean `deny`?: write `allow`, `oblige`, `hold` or `deny`").await;
    let copy = Copy::new();
    copy.replace("access/floor.csv", "p, F01, deny,", "p, F01, Deny,");
    copy.refuses("access/floor.csv:5: outcome `Deny` is not known: did you mean `deny`?: write `allow`, `delegate` or `deny`: another word would silently not count").await;
}

#[tokio::test]
async fn a_row_of_an_unknown_section_is_refused() {
    let copy = Copy::new();
    copy.append("packs/kr.pipa/rules.csv", "p2, R05/3, restrict, deny, *, *, *, cat:kr:RRN, -, *");
    copy.refuses("packs/kr.pipa/rules.csv:12: section `p2` is not known: did you mean `p`?: begin the row with `p`: a row of another section would vanish").await;
}

#[tokio::test]
async fn a_short_row_is_refused() {
    let copy = Copy::new();
    copy.append("packs/kr.pipa/rules.csv", "p, R05/3, restrict, deny, *, *, *, cat:kr:RRN");
    copy.refuses("packs/kr.pipa/rules.csv:12: a row of `p` with 7 cells instead of 9: give one cell for each of id, kind, out, regime, flow, to, when, obligations, profiles").await;
}

#[tokio::test]
async fn a_comment_inside_a_row_is_refused() {
    let copy = Copy::new();
    copy.append(
        "packs/kr.pipa/rules.csv",
        "p, R05/3, restrict, deny, *, *, *, cat:kr:RRN, -, * # why",
    );
    copy.refuses("packs/kr.pipa/rules.csv:12: a `#` inside a row would be read as part of the cell, not as a comment: put the comment on a line of its own").await;
}

#[tokio::test]
async fn a_comment_inside_a_matcher_is_refused() {
    let copy = Copy::new();
    copy.replace("model/residency.conf", " && when(r.holds", " # && when(r.holds");
    copy.refuses("model/residency.conf:18: a `#` inside a definition: put the comment on a line of its own: the engine drops the rest of this one").await;
}

#[tokio::test]
async fn an_effect_that_casbin_does_not_know_is_refused() {
    let copy = Copy::new();
    copy.replace(
        "model/access.conf",
        "e = some(where (p.eft == allow))",
        "e = some(where (p.eft == permit))",
    );
    copy.refuses("model/access.conf:16: `e = some(where (p.eft == permit))`: write `e = some(where (p.eft == allow))`").await;
}

#[tokio::test]
async fn a_second_role_graph_is_refused() {
    let copy = Copy::new();
    copy.replace("model/access.conf", "g = _, _, _", "g = _, _, _\ng3 = _, _, _");
    copy.refuses("model/access.conf:14: definition `[role_definition] g3` is not known: did you mean `[role_definition] g`?: define only `[request_definition] r`, `[policy_definition] p`, `[role_definition] g`, `[policy_effect] e` or `[matchers] m`").await;
}

#[tokio::test]
async fn an_empty_sheet_is_refused() {
    let copy = Copy::new();
    copy.edit("access/floor.csv", |text| {
        text.lines().filter(|line| !line.starts_with("p, F")).collect::<Vec<_>>().join("\n")
    });
    copy.refuses("access/floor.csv: the sheet has no rows: write at least one row, or remove the file: an empty policy can allow").await;
}

#[tokio::test]
async fn a_number_in_a_cell_is_refused() {
    let copy = Copy::new();
    copy.append("packs/kr.pipa/rules.csv", "p, R05/3, restrict, deny, *, *, *, 100000, -, *");
    copy.refuses("packs/kr.pipa/rules.csv:12: column `when` holds the number `100000`: write a symbol of the vocabulary: the engine does not compare numbers, facts are made symbols before").await;
}

#[tokio::test]
async fn a_repeated_row_and_a_repeated_id_are_refused() {
    let copy = Copy::new();
    copy.append("packs/kr.pipa/rules.csv", "p, R02/1, permit, allow, KR.PIPA, *, home, -, -, *");
    copy.refuses("packs/kr.pipa/rules.csv:12: this row repeats line 4: remove one of the two")
        .await;
    let copy = Copy::new();
    copy.append("packs/kr.pipa/rules.csv", "p, R02/1, permit, allow, KR.PIPA, *, abroad, -, -, *");
    copy.refuses("packs/kr.pipa/rules.csv:12: row `R02/1` stands on line 4 already: give each row a number of its own").await;
}

#[tokio::test]
async fn a_chain_of_ten_roles_is_refused_and_one_of_nine_works() {
    let chain = |links: usize| {
        let head = "p, id, out, role, org, service, operation\np, D01, allow, role:top, org:deep, *, cancel\ng, member, group, org";
        let inner = (1..links).map(|link| format!("g, role:r{link}, role:r{}, org:deep", link + 1));
        let last = format!("g, role:r{links}, role:top, org:deep");
        std::iter::once(head.to_owned()).chain(inner).chain([last]).collect::<Vec<_>>().join("\n")
    };
    let copy = Copy::new();
    fs::write(copy.path().join("access/deep.csv"), chain(10)).unwrap();
    copy.refuses("access/deep.csv: the chain of roles from `role:r1` has more than 9 links: shorten it: the engine silently stops following a longer chain").await;
    fs::write(copy.path().join("access/deep.csv"), chain(9)).unwrap();
    let bundle = copy.load().await.unwrap();
    assert!(bundle.access("deep", &["r1".into()], "m", "cancel").is_ok());
}

#[tokio::test]
async fn words_outside_the_vocabulary_are_refused_with_the_nearest_word() {
    for (from, to, message) in [
        (
            "!cat:kr:RRN !cat:kr:PersonalCreditInfo",
            "!cat:kr:RNR !cat:kr:PersonalCreditInfo",
            "packs/kr.pipa/rules.csv:5: category `kr:RNR` is not known: did you mean `kr:RRN`?: write a category of vocabulary.toml",
        ),
        (
            "ground:kr.consent",
            "ground:kr.concent",
            "packs/kr.pipa/rules.csv:6: ground `kr.concent` is not known: did you mean `kr.consent`?: write a ground of vocabulary.toml",
        ),
        (
            "ground:kr.consent",
            "gruond:kr.consent",
            "packs/kr.pipa/rules.csv:6: predicate `gruond:kr.consent` is not known: did you mean `ground:kr.consent`?: see the list of predicates in policies/README.md",
        ),
        (
            "KR.EQUIV,",
            "KR.EQIUV,",
            "packs/kr.pipa/rules.csv:5: place `KR.EQIUV` is not known: did you mean `KR.EQUIV`?: write a place, a group of groups.csv, `home`, `abroad` or `*`",
        ),
        (
            "p, R02/1",
            "p, R20/1",
            "packs/kr.pipa/rules.csv:4: rule `R20` is not known: did you mean `R02`?: give it a text in texts.toml",
        ),
    ] {
        let copy = Copy::new();
        copy.replace("packs/kr.pipa/rules.csv", from, to);
        copy.refuses(message).await;
    }
}

#[tokio::test]
async fn a_rule_without_a_case_a_korean_text_or_a_zone_is_refused() {
    let copy = Copy::new();
    copy.edit("packs/eu.gdpr/cases.toml", |text| {
        text.replace("rule = \"EU.HOME\"", "rule = \"R13\"")
    });
    copy.refuses("packs/eu.gdpr/cases.toml: rule `EU.HOME` has no case: write one that it decides, with a twin that differs by one fact").await;
    let copy = Copy::new();
    copy.edit("packs/eu.gdpr/texts.toml", |text| {
        text.lines()
            .map(|line| if line.starts_with("ko") { "ko = \"none\"" } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    });
    copy.refuses("packs/eu.gdpr/texts.toml:4: rule `EU.HOME` lacks a text in both languages or a basis: write `en`, `ko` in Korean, and at least one `basis`").await;
    let copy = Copy::new();
    copy.replace("packs/kr.pipa/texts.toml", "2025-09-16T00:00:00+09:00", "2025-09-16");
    copy.refuses("packs/kr.pipa/texts.toml:13: `2025-09-16` has no zone: write midnight where the law is, as `2025-09-16T00:00:00+09:00`").await;
}

#[tokio::test]
async fn a_misnamed_file_and_an_unknown_key_are_refused() {
    let copy = Copy::new();
    fs::rename(
        copy.path().join("packs/kr.pipa/rules.csv"),
        copy.path().join("packs/kr.pipa/rule.csv"),
    )
    .unwrap();
    copy.refuses("packs/kr.pipa/rules.csv: the file is missing: see policies/README.md for the files of a bundle").await;
    let copy = Copy::new();
    copy.replace("bundle.toml", "review =", "reviewed =");
    copy.refuses("bundle.toml:12: unknown field `reviewed`, expected one of `name`, `version`, `dated`, `packs`, `review`: did you mean `review`?: see policies/README.md for what stands in this file").await;
}

#[tokio::test]
async fn a_bundle_whose_case_or_canary_fails_is_not_used() {
    let copy = Copy::new();
    copy.replace("packs/kr.pipa/rules.csv", "cat:kr:RRN !to:KR,", "cat:kr:RRN to:KR,");
    let error = copy.load().await.unwrap_err();
    assert!(error.to_string().contains("case `a resident registration number does not leave Korea, whatever is on file` fails: expected DENY by R05 in compute US-VA as DENIED_BY_RULE, got DENY by DENIED_BY_RULE R05 in KR.PIPA result KR"), "{error}");
    let copy = Copy::new();
    copy.replace(
        "access/floor.csv",
        "p, F01, deny, *,    *,   *,       admin",
        "p, F01, deny, *,    *,   *,       cancel",
    );
    copy.append("access/roles.csv", "p, A99, allow, role:admin, *, *, admin");
    let error = copy.load().await.unwrap_err();
    assert!(error.to_string().contains("case `canary: nobody administers a site through the gateway` fails: expected a refusal, got leave"), "{error}");
}
