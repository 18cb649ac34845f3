//! Proves that a bundle says what it is meant to say, that a slip in its files is refused with the place and the mend and
//! never becomes a rule, and that casbin and the pure matcher give one answer for every cell that the bundle can meet.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use casbin::{CoreApi, DefaultModel, Enforcer, StringAdapter};
use haetae::cli::decide::{self, DECISION_SCHEMA, QUESTION_SCHEMA};
use haetae::policy::{Bundle, BundleError};
use serde_json::{Value, json};
use verdict::Rulebook;
use verdict::cell::CellKey;
use verdict::decision::{Flow, Outcome};
use verdict::facts::Facts;
use verdict::question::{Profile, Question};
use verdict::reason::Reason;
use verdict::rule::Book;
use verdict::stamp::Stamp;

/// 20 November 2026, 00:00 UTC.
const AT: i64 = 1_795_132_800;

#[tokio::test]
async fn every_case_of_every_pack_passes() {
    let bundle = Bundle::read(&policies(), AT).await.unwrap();
    let results = bundle.test();
    let failures: Vec<String> = results
        .iter()
        .filter_map(|result| Some(format!("{}: {}", result.name, result.failure.as_ref()?)))
        .collect();
    assert_eq!(failures, Vec::<String>::new());
    let packs: BTreeSet<&str> = results.iter().map(|result| result.pack.as_str()).collect();
    let mut folders: BTreeSet<String> = ["canary".to_owned()].into();
    for folder in fs::read_dir(policies().join("packs")).unwrap() {
        folders.insert(folder.unwrap().file_name().into_string().unwrap());
    }
    assert_eq!(packs, folders.iter().map(String::as_str).collect(), "a folder without cases");
    assert_eq!(bundle.memo().disagreements, 0);
}

#[tokio::test]
async fn the_seoul_example_is_allowed_and_a_login_from_india_is_not() {
    let bundle = bundle().await;
    let decision = bundle.decide(&question(&seoul())).unwrap();
    assert_eq!(decision.outcome, Outcome::Allow);
    assert_eq!(
        decision.reasons.iter().map(|why| why.rule.as_deref()).collect::<BTreeSet<_>>(),
        [Some("R02")].into()
    );

    let mut abroad = seoul();
    let desk = json!({"place": "IN", "entity": "in-desk", "plaintext": true});
    abroad["site"]["remote_access"].as_array_mut().unwrap().push(desk);
    let decision = bundle.decide(&question(&abroad)).unwrap();
    assert_eq!(decision.outcome, Outcome::Deny);
    let why = &decision.reasons[0];
    let cell = why.cell.as_ref().unwrap();
    assert_eq!(
        (why.rule.as_deref(), cell.flow, cell.to.as_str()),
        (Some("R04"), Flow::OperatorAccess, "IN")
    );
    assert_eq!(why.code, Reason::NoGround);
}

#[tokio::test]
async fn the_gateway_judges_all_sites_of_a_request_as_decide_judges_one() {
    let bundle = bundle().await;
    let mut question = question(&seoul());
    let at = question.at.take().unwrap().starts();
    let mut elsewhere = question.site.clone();
    elsewhere.id = Some("us-va-1".into());
    elsewhere.location = Some("US-VA".into());
    let sites = vec![std::mem::take(&mut question.site), elsewhere];
    question.id = None;
    let facts = Facts { question, sites, ..Facts::default() };
    let judgement = bundle.judge(&facts, at);
    assert_eq!(judgement.outcome, Outcome::Allow);
    assert_eq!(judgement.permitted, ["kr-seo-1"]);
    let outcomes: Vec<Outcome> =
        judgement.candidates.iter().map(|candidate| candidate.decision.outcome).collect();
    assert_eq!(outcomes, [Outcome::Allow, Outcome::Deny]);
    assert_eq!(judgement, bundle.judge(&facts, at), "from the memo");
    assert_eq!(judgement, verdict::judge(bundle.rules(), &facts, at), "by the pure matcher alone");
    assert!(bundle.memo().hits > 0);
}

// ---- the command line

#[tokio::test]
async fn a_bad_question_in_a_list_leaves_the_others_judged() {
    let bundle = bundle().await;
    let mut typo = seoul();
    typo["id"] = json!("typo");
    typo["sight"] = json!({});
    let mut term = seoul();
    term["id"] = json!("term");
    term["components"][0]["categories"] = json!(["pd:Helth"]);
    let list = json!([typo, seoul(), term]).to_string();
    let answers = decide::decide(&bundle, &list).unwrap();
    assert!(answers.any_decided());
    let answers = serde_json::to_value(&answers).unwrap();
    assert_eq!(answers[0]["id"], "typo");
    assert!(answers[0]["error"].as_str().unwrap().contains("unknown field `sight`"));
    assert_eq!(answers[1]["outcome"], "ALLOW");
    assert_eq!(answers[2]["id"], "term");
    assert!(answers[2]["error"].as_str().unwrap().contains("pd:Helth"), "{}", answers[2]);
}

#[tokio::test]
async fn one_question_gives_one_object_and_a_broken_file_gives_none() {
    let bundle = bundle().await;
    let answer = decide::decide(&bundle, &seoul().to_string()).unwrap();
    assert_eq!(serde_json::to_value(&answer).unwrap()["id"], "seoul, everything stays");
    assert!(decide::decide(&bundle, "{\"at\": ").is_err());
    let twice = r#"{"id": "x", "at": "2026-11-20", "at": "2026-11-21"}"#;
    let answer = decide::decide(&bundle, twice).unwrap();
    assert!(!answer.any_decided());
    assert!(
        serde_json::to_value(&answer).unwrap()["error"]
            .as_str()
            .unwrap()
            .contains("duplicate field")
    );
}

#[tokio::test]
async fn the_schemas_fit_what_is_read_and_written() {
    let schema: Value = serde_json::from_str(QUESTION_SCHEMA).unwrap();
    assert_eq!(misfit(&schema, &schema, &seoul(), "question"), None);
    let mut typo = seoul();
    typo["site"]["locaton"] = json!("KR");
    assert!(misfit(&schema, &schema, &typo, "question").unwrap().contains("locaton"));

    let bundle = bundle().await;
    let schema: Value = serde_json::from_str(DECISION_SCHEMA).unwrap();
    let mut refused = seoul();
    refused["site"]["location"] = json!("US-VA");
    refused["site"]["telemetry"] = json!(["KR", "US"]);
    for asked in [seoul(), refused] {
        let answer = decide::decide(&bundle, &asked.to_string()).unwrap();
        let answer = serde_json::to_value(&answer).unwrap();
        assert_eq!(misfit(&schema, &schema, &answer, "decision"), None);
    }
}

// ---- the digest and dates

#[tokio::test]
async fn the_digest_is_of_the_content_and_not_of_the_files() {
    let plain = bundle().await;
    let moved = Copy::new();
    moved.edit("packs/kr.pipa/rules.csv", |text| {
        let (head, rows): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| !line.starts_with("p, R"));
        let rows: Vec<&str> = rows.into_iter().rev().collect();
        format!("{}\n# a remark\n\n{}\n", head.join("\n"), rows.join("\n").replace(",  ", ", "))
    });
    moved.edit("groups.csv", |text| {
        let (head, rows): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| !line.starts_with("g, E") && !line.starts_with("g, KR"));
        format!("{}\n{}\n", head.join("\n"), rows.into_iter().rev().collect::<Vec<_>>().join("\n"))
    });
    let moved_bundle = moved.load().await.unwrap();
    assert_eq!(moved_bundle.digest(), plain.digest());
    assert_eq!(moved_bundle.texts(), plain.texts());
    assert_eq!(plain.digest(), verdict::digest(plain.texts()));
    let book: Book = serde_json::from_slice(plain.texts()).unwrap();
    assert_eq!(verdict::Rulebook::new(book).unwrap(), *plain.rules());

    let other = Copy::new();
    other.edit("packs/kr.pipa/texts.toml", |text| {
        text.replace("never leaves Korea", "does not leave Korea")
    });
    assert_ne!(other.load().await.unwrap().digest(), plain.digest());
}

#[tokio::test]
async fn a_rule_past_its_end_is_closed_and_an_old_review_warns() {
    let copy = Copy::new();
    copy.edit("packs/common/texts.toml", |text| {
        text.replacen(
            "reviewed_on = \"2026-11-20\"\n\n[R25]",
            "until = \"2027-06-01T00:00:00+09:00\"\nreviewed_on = \"2026-11-20\"\n\n[R25]",
            1,
        )
    });
    let bundle = copy.load().await.unwrap();
    assert!(
        bundle.warnings().iter().all(|warning| !warning.starts_with("rule ")),
        "{:?}",
        bundle.warnings()
    );
    let later = Stamp::parse("2027-06-02").unwrap().starts();
    let bundle = Bundle::load(copy.path(), later).await.unwrap();
    let about_r11: Vec<&String> =
        bundle.warnings().iter().filter(|warning| warning.starts_with("rule R11 ")).collect();
    assert_eq!(
        about_r11,
        [
            "rule R11 is closed since 2027-06-01T00:00:00+09:00",
            "rule R11 was last reviewed on 2026-11-20, over 180 days ago"
        ]
    );
    let mut ordered = seoul();
    ordered["orders"] = json!([{"id": "o", "authority": "PIPC", "kind": "suspend", "match": {},
        "effective_from": "2026-01-01", "until": null}]);
    let outcome = |at: &str| {
        let mut asked = ordered.clone();
        asked["at"] = json!(at);
        bundle.decide(&question(&asked)).unwrap().outcome
    };
    assert_eq!(outcome("2027-05-31T23:59:59+09:00"), Outcome::Deny);
    assert_eq!(outcome("2027-06-01T00:00:00+09:00"), Outcome::Allow);
}

// ---- slips: each with the message it must give

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
    copy.refuses("access/floor.csv:3: outcome `Deny` is not known: did you mean `deny`?: write `allow` or `deny`: another word would silently not count").await;
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
        let mut sheet = String::from(
            "p, id, out, role, org, service, operation\np, D01, allow, role:top, org:deep, *, cancel\ng, member, group, org\n",
        );
        for link in 1..links {
            sheet += &format!("g, role:r{link}, role:r{}, org:deep\n", link + 1);
        }
        sheet += &format!("g, role:r{links}, role:top, org:deep\n");
        sheet
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
    copy.refuses("bundle.toml:9: unknown field `reviewed`, expected one of `name`, `version`, `dated`, `packs`, `review`: see policies/README.md for what stands in this file").await;
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
    copy.append("access/roles.csv", "p, A09, allow, role:admin, *, *, admin");
    let error = copy.load().await.unwrap_err();
    assert!(error.to_string().contains("case `canary: nobody administers a site through the gateway` fails: expected a refusal, got leave"), "{error}");
}

// ---- access

/// The trap itself: in casbin a row of another graph makes mallory an admin. Shown so that an update which mends it is
/// noticed.
#[tokio::test]
async fn casbin_keeps_all_role_graphs_in_one() {
    let model = DefaultModel::from_str(
        "[request_definition]\nr = sub, obj\n[policy_definition]\np = sub, obj\n[role_definition]\ng = _, _\ng2 = _, _\ng3 = _, _\n\
         [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj",
    )
    .await
    .unwrap();
    let rows = StringAdapter::new("p, admin, vault\ng, alice, admin\ng3, mallory, admin\n");
    let enforcer = Enforcer::new(model, rows).await.unwrap();
    assert!(enforcer.enforce(("alice", "vault")).unwrap());
    assert!(enforcer.enforce(("mallory", "vault")).unwrap(), "casbin no longer shares the graph");
}

#[tokio::test]
async fn no_sheet_reaches_into_another_graph_or_organisation() {
    let copy = Copy::new();
    let sheet = |rows: &str| {
        let head = "p, id, out, role, org, service, operation\np, K01, allow, role:vault, org:kr-bank, *, cancel\ng, member, group, org\ng, role:teller, role:vault, org:kr-bank\n";
        fs::write(copy.path().join("access/kr-bank.csv"), format!("{head}{rows}\n")).unwrap();
    };
    sheet("g3, role:mallory, role:vault, org:kr-bank");
    copy.refuses("access/kr-bank.csv:5: section `g3` is not known: did you mean `g`?: begin the row with `p` or `g`: a row of another section would vanish").await;
    sheet("g, mallory, role:vault, org:kr-bank");
    copy.refuses("access/kr-bank.csv:5: member `mallory` has no prefix: write `role:mallory`")
        .await;
    sheet("g, role:mallory, role:vault, org:kr-retailer");
    copy.refuses("access/kr-bank.csv:5: domain `org:kr-retailer` in the sheet of `kr-bank`: write `org:kr-bank`: an organisation grants only in its own domain").await;
    sheet("");
    let bundle = copy.load().await.unwrap();
    let may = |org: &str, role: &str| bundle.access(org, &[role.into()], "m", "cancel").is_ok();
    assert!(may("kr-bank", "teller"));
    assert!(!may("kr-bank", "mallory"));
    assert!(!may("kr-retailer", "teller"), "the link holds in its own domain only");
}

#[tokio::test]
async fn the_floor_refuses_what_an_organisation_grants() {
    let copy = Copy::new();
    let sheet = "p, id, out, role, org, service, operation\np, K01, allow, role:root, org:kr-bank, *, *\np, K02, deny, role:root, org:kr-bank, secret-model, submit\n";
    fs::write(copy.path().join("access/kr-bank.csv"), sheet).unwrap();
    let bundle = copy.load().await.unwrap();
    let ask = |service: &str, operation: &str| {
        let roles: [Arc<str>; 1] = ["root".into()];
        // asked twice: the second answer comes from the memo
        let first = bundle.access("kr-bank", &roles, service, operation);
        assert_eq!(first, bundle.access("kr-bank", &roles, service, operation));
        first.map_err(|why| (why.code, why.rule))
    };
    assert_eq!(ask("m", "upload"), Ok(()));
    assert_eq!(ask("m", "admin"), Err((Reason::AccessDenied, Some("F01".into()))));
    assert_eq!(ask("secret-model", "submit"), Err((Reason::AccessDenied, Some("K02".into()))));
    assert_eq!(ask("m", "submit"), Ok(()));
    let nobody = bundle.access("kr-bank", &[], "m", "submit").unwrap_err();
    assert_eq!((nobody.code, nobody.rule), (Reason::AccessDenied, None));
}

// ---- two engines

/// A row's match is a function of its own predicates. So for each (profile, regime, flow) and each row: every assignment
/// of true, false and unknown to its predicates, with all others true, false and unknown.
#[tokio::test]
async fn casbin_and_the_pure_matcher_agree_over_the_whole_table() {
    let bundle = bundle().await;
    let rules = bundle.rules();
    let regimes = rules.book().regimes.iter().map(|regime| regime.id.clone()).chain(["-".into()]);
    let mut asked = 0;
    let mut matched = BTreeSet::new();
    for regime in regimes {
        for flow in FLOWS {
            for profile in [Profile::Statutory, Profile::Sovereign] {
                for holds in cells(rules, profile, &regime, flow) {
                    let found =
                        bundle.match_cell(&holds).unwrap_or_else(|it| panic!("{}", it.what));
                    asked += 1;
                    matched.extend(found.sure);
                }
            }
        }
    }
    assert_eq!(matched.len(), rules.book().rows.len(), "a row that no cell reaches");
    assert!(asked > 1_000, "{asked}");
}

fn cells(rules: &Rulebook, profile: Profile, regime: &str, flow: Flow) -> BTreeSet<CellKey> {
    let all = rules.symbols(profile, regime, flow);
    let mut cells = BTreeSet::new();
    for row in rules.rows(profile, regime, flow) {
        let own: Vec<u16> = rules.literals(*row).iter().map(|literal| literal.symbol).collect();
        for background in 0..3 {
            for assignment in 0..3_u32.pow(u32::try_from(own.len()).unwrap()) {
                let value = |symbol: &u16| match own.iter().position(|own| own == symbol) {
                    Some(index) => assignment / 3_u32.pow(u32::try_from(index).unwrap()) % 3,
                    None => background,
                };
                let of = |wanted: u32| all.iter().copied().filter(|s| value(s) == wanted).collect();
                let regime = regime.to_owned();
                cells.insert(CellKey { profile, regime, flow, holds: of(1), unknown: of(2) });
            }
        }
    }
    cells
}

const FLOWS: [Flow; 8] = [
    Flow::Compute,
    Flow::Copy,
    Flow::Telemetry,
    Flow::ControlPlane,
    Flow::OperatorAccess,
    Flow::SubProcessor,
    Flow::Result,
    Flow::Onward,
];

// ---- helpers

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

async fn bundle() -> Bundle {
    Bundle::load(&policies(), AT).await.unwrap_or_else(|error| panic!("{error}"))
}

fn question(value: &Value) -> Question {
    serde_json::from_value(value.clone()).unwrap()
}

/// The example of the question format.
fn seoul() -> Value {
    json!({"id": "seoul, everything stays", "at": "2026-11-20", "profile": "statutory",
     "subject": {"org": "kr-retailer", "entity": "kr-retailer", "seat": "KR", "parents": [{"place": "KR", "share": 100}], "sectors": [], "actor_kind": "service", "place": "KR"},
     "purpose": {"code": "dpv:ServiceProvision", "workload": "train", "recurring": true, "third_country_order": false}, "role": "entrustment",
     "components": [{"dataset": "orders@1", "kind": "training", "regimes": ["KR.PIPA"], "origins": ["KR"], "categories": ["pd:General"], "class": "confidential", "identifiability": "personal", "encrypted": false, "subjects": 120_000, "records": 900_000, "stored": true}],
     "site": {"id": "kr-seo-1", "location": "KR-11", "operator": {"entity": "kr-op", "seat": "KR", "parents": [{"place": "KR", "share": 100}]}, "control_plane": ["KR"], "remote_access": [{"place": "KR", "entity": "kr-op", "plaintext": true}], "backups": ["KR"], "telemetry": ["KR"], "sub_processors": [], "certificates": [], "tee": {"verdict": "none"}, "keys": {"holder": "provider", "place": "KR", "layers": 1, "in_use": false}, "accelerators": [{"model": "H200", "eccn": "3A090"}], "via": []},
     "recipient": {"entity": "kr-retailer", "seat": "KR", "place": "KR", "same_entity": true},
     "grounds": [], "orders": [], "lists": [], "counters": []})
}

/// A copy of the policies to spoil.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(&policies(), dir.path());
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn edit(&self, file: &str, edit: impl FnOnce(&str) -> String) {
        let path = self.path().join(file);
        let before = fs::read_to_string(&path).unwrap();
        let after = edit(&before);
        assert_ne!(before, after, "the edit of {file} changes nothing");
        fs::write(path, after).unwrap();
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        self.edit(file, |text| text.replacen(from, to, 1));
    }

    fn append(&self, file: &str, row: &str) {
        self.edit(file, |text| format!("{}\n{row}\n", text.trim_end()));
    }

    async fn load(&self) -> Result<Bundle, BundleError> {
        Bundle::load(self.path(), AT).await
    }

    /// The bundle is refused, and this is one of the faults.
    async fn refuses(&self, message: &str) {
        let error = self.load().await.unwrap_err();
        let faults: Vec<String> = error.faults.iter().map(ToString::to_string).collect();
        assert!(faults.iter().any(|fault| fault == message), "wanted {message}\ngot {faults:#?}");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Why `value` does not fit `schema`, for the part of JSON Schema that ours use.
fn misfit(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return misfit(root, &root["$defs"][name], value, path);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| misfit(root, choice, value, path).is_none());
        return (!fits).then(|| format!("{path}: {value} fits no choice"));
    }
    if let Some(words) = schema["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{path}: {value} is none of {words:?}"));
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("null") => value.is_null(),
        _ => panic!("{path}: the schema has no type"),
    };
    if !right {
        return Some(format!("{path}: {value} is not of type {}", schema["type"]));
    }
    if let Some(members) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten() {
            if members.get(required.as_str().unwrap()).is_none() {
                return Some(format!("{path}: {required} is missing"));
            }
        }
        for (key, member) in members {
            let Some(schema) = schema["properties"].get(key) else {
                return Some(format!("{path}: key {key} is not known"));
            };
            if let Some(found) = misfit(root, schema, member, &format!("{path}.{key}")) {
                return Some(found);
            }
        }
    }
    let items = value.as_array().into_iter().flatten();
    items
        .enumerate()
        .find_map(|(index, item)| misfit(root, &schema["items"], item, &format!("{path}[{index}]")))
}
