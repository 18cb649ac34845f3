//! Proves that a bundle says what it is meant to say, that a slip in its files is refused with the place and the mend and
//! never becomes a rule, and that casbin and the pure matcher give one answer for every cell that the bundle can meet.

mod access;
mod asked;
pub mod command;
mod decide;
mod diff;
mod engines;
mod readings;
mod slips;
mod table;
mod traps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use haetae::policy::{Bundle, BundleError};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use verdict::decision::{Flow, Outcome};
use verdict::facts::Facts;
use verdict::question::Question;
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

// ---- helpers

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// The bundle as it stands, loaded once for all tests: its cases take a second in a test build.
pub async fn bundle() -> &'static Bundle {
    static BUNDLE: OnceCell<Bundle> = OnceCell::const_new();
    let load =
        || async { Bundle::load(&policies(), AT).await.unwrap_or_else(|error| panic!("{error}")) };
    BUNDLE.get_or_init(load).await
}

fn question(value: &Value) -> Question {
    serde_json::from_value(value.clone()).unwrap()
}

#[tokio::test]
async fn a_judgement_is_known_until_a_date_in_its_facts_and_no_longer() {
    let bundle = bundle().await;
    let mut asked = seoul();
    asked["site"]["telemetry"] = json!(["US"]);
    asked["grounds"] = json!([{"id": "consent-1", "regime": "KR.PIPA", "type": "kr.consent", "level": "verified",
        "scope": {"categories": ["*"], "roles": ["*"], "recipients": ["*"], "places": ["US"]}, "evidence": "e",
        "valid_from": "2026-01-01", "valid_until": "2026-12-31"}]);
    let mut question = question(&asked);
    (question.id, question.at) = (None, None);
    let sites = vec![std::mem::take(&mut question.site)];
    let facts = Facts { question, sites, ..Facts::default() };
    let outcome = |at: &str| {
        let at = Stamp::parse(at).unwrap().starts();
        let known = bundle.judge_known([7; 32], &facts, at);
        assert_eq!(*known, bundle.judge(&facts, at), "known and judged differ");
        known.outcome
    };
    assert_eq!(outcome("2026-11-20"), Outcome::Allow);
    assert_eq!(outcome("2026-12-31T23:59:59Z"), Outcome::Allow);
    assert_eq!(outcome("2027-01-01"), Outcome::Deny);
    assert_eq!(outcome("2026-11-20"), Outcome::Allow);
    assert_eq!(outcome("2025-12-31"), Outcome::Deny);
}

/// The example of the question format.
pub fn seoul() -> Value {
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
