//! The commands that show what rules say and what changes, as people type them: byte for byte what is expected, twice, with exit
//! codes that scripts can use.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::scratch;

#[test]
fn a_table_is_the_same_twice_and_says_what_the_rules_say() {
    let dir = Tiny::new();
    for format in ["text", "csv", "html"] {
        let words = ["table", &dir.path("tiny"), "--at", AT, "--format", format];
        let (first, again) = (run(&words), run(&words));
        assert_eq!(first.status.code(), Some(0), "{}", said(&first.stderr));
        assert!(!first.stdout.is_empty() && first.stdout == again.stdout, "{format}");
    }
    let text = said(&run(&["table", &dir.path("tiny"), "--at", AT]).stdout);
    let page = text.split("\n== ").find(|page| page.starts_with("KR.PIPA: ")).unwrap();
    assert_eq!(page, PAGE);
    let sheet = said(&run(&["table", &dir.path("tiny"), "--at", AT, "--format", "csv"]).stdout);
    let lines: Vec<&str> = sheet.lines().filter(|line| line.contains(",KR.PIPA,")).collect();
    assert_eq!(sheet.lines().next(), Some(HEAD));
    let without_digest = |line: &&str| line.split_once(',').unwrap().1.to_owned();
    assert_eq!(lines.iter().map(without_digest).collect::<Vec<_>>(), LINES);
    let wrong = run(&["table", &dir.path("tiny"), "--format", "pdf"]);
    assert_eq!(wrong.status.code(), Some(2), "the command line was wrong");
}

#[test]
fn a_diff_lists_what_becomes_allowed_first_and_says_by_its_code_whether_anything_does() {
    let dir = Tiny::new();
    let diff = |before, after| run(&["diff", &dir.path(before), &dir.path(after), "--at", AT]);
    let none = diff("tiny", "tiny");
    assert_eq!(none.status.code(), Some(0), "{}", said(&none.stderr));
    let some = diff("tiny", "milder");
    assert_eq!(some.status.code(), Some(1), "{}", said(&some.stderr));
    let text = said(&some.stdout);
    // Before it stand the two digests, which are those of the words of the reference bundle too.
    assert_eq!(text.split_once("\n\n").unwrap().1, DIFF);
    assert_eq!(some.stdout, diff("tiny", "milder").stdout);
}

/// Two bundles of one pack in the words of the reference bundle.
pub struct Tiny(PathBuf);

impl Tiny {
    pub fn new() -> Self {
        let dir = scratch("tiny");
        bundle(&dir.join("tiny"), "*", "cat:pd:Purchase");
        bundle(&dir.join("milder"), "home", "cat:pd:Purchase component.stored");
        Self(dir)
    }

    /// `tiny`, or `milder`: it lets pass what is not stored.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bundle(dir: &Path, to: &str, when: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for file in [
        "model/access.conf",
        "model/residency.conf",
        "access/floor.csv",
        "access/roles.csv",
        "groups.csv",
    ] {
        let text = std::fs::read_to_string(from.join(file)).unwrap();
        write(dir, file, &text);
    }
    // The rules that its regimes name are not here.
    let words = std::fs::read_to_string(from.join("vocabulary.toml")).unwrap();
    let words: Vec<&str> = words.lines().filter(|line| !line.starts_with("requires = ")).collect();
    write(dir, "vocabulary.toml", &words.join("\n"));
    write(dir, "bundle.toml", MANIFEST);
    let base = include_str!("../mandate/halt.toml").split("[[case]]").next().unwrap();
    write(dir, "canary.toml", &format!("{base}{CANARIES}"));
    let pack = dir.join("packs/tiny");
    write(&pack, "pack.toml", PACK);
    let rows = format!(
        "{COLUMNS}p, T01/1, permit, allow, KR.PIPA, *, {to}, -, -, *\np, T02/1, restrict, deny, *, compute, *, {when}, -, *\n"
    );
    write(&pack, "rules.csv", &rows);
    write(&pack, "texts.toml", TEXTS);
    write(&pack, "cases.toml", &format!("{base}{CASES}"));
    write(&pack, "README.md", "A test.\n");
}

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// `haetae policy <words>`.
pub fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_haetae")).arg("policy").args(words).output().unwrap()
}

pub fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const AT: &str = "2026-11-20";
const PAGE: &str = "KR.PIPA: every flow needs something that permits it
combinations: DENY 2; ALLOW 16
  to elsewhere: every place that is not named
   1  DENY T02 DENIED_BY_RULE  [both profiles; compute; to any place]
      cat:pd:Purchase
      decides 2
   2  ALLOW T01 ALLOWED_BY_RULE  [both profiles; every flow; to any place]
      otherwise
      decides 16
";
const HEAD: &str = "bundle,regime,line,outcome,reason,rule,profiles,flows,destinations,when,obligations,combinations";
const LINES: [&str; 2] = [
    "KR.PIPA,1,DENY,DENIED_BY_RULE,T02,both profiles,compute,elsewhere (every place that is not named),cat:pd:Purchase,,2",
    "KR.PIPA,2,ALLOW,ALLOWED_BY_RULE,T01,both profiles,every flow,elsewhere (every place that is not named),otherwise,,16",
];
const DIFF: &str = "== from 2026-11-20T00:00:00Z on: outcomes change in 3 ways
DENY -> ALLOW: 2 combinations
    before  T02 DENIED_BY_RULE
    after   - ALLOWED_BY_RULE
    in      - [both profiles; compute; to any place]
    e.g.    cat:pd:Purchase and identifiability:non_personal and not component.stored
DENY -> ALLOW: 2 combinations
    before  T02 DENIED_BY_RULE
    after   T01 ALLOWED_BY_RULE
    in      KR.PIPA [both profiles; compute; to (home)]
    e.g.    cat:pd:Purchase and not component.stored
ALLOW -> DENY: 18 combinations
    before  T01 ALLOWED_BY_RULE
    after   - NO_GROUND
    in      KR.PIPA [both profiles; every flow; to (elsewhere)]
    e.g.    whatever the facts

== what is written otherwise: 2
~ rows T01/1 to: * -> home
+ rows T02/1 when component.stored
";
const MANIFEST: &str = "name = \"tiny\"\nversion = \"1\"\ndated = \"2026-11-20\"\npacks = [\"tiny\"]\nreview = \"a test\"\n";
const PACK: &str = "name = \"tiny\"\ntitle = { en = \"Tiny\", ko = \"작은 묶음\" }\nregimes = [\"KR.PIPA\"]\nreviewed_on = \"2026-11-20\"\n";
const COLUMNS: &str = "p, id, kind, out, regime, flow, to, when, obligations, profiles\n";
const TEXTS: &str = r#"
[T01]
en = "Everything may go."
ko = "모두 허용합니다."
citation = "a test"
basis = ["house"]
mark = "V"
from = "2020-01-01T00:00:00+09:00"
reviewed_on = "2026-11-20"

[T02]
en = "Nothing about purchases is computed."
ko = "구매 정보는 처리하지 않습니다."
citation = "a test"
basis = ["house"]
mark = "V"
from = "2020-01-01T00:00:00+09:00"
reviewed_on = "2026-11-20"
"#;
const CANARIES: &str = r#"
[[case]]
name = "canary: orders"
base = "seoul"
change = { "components.0.categories" = ["pd:General"] }
expect = "ALLOW"

[[case]]
name = "canary: purchases"
base = "seoul"
expect = "DENY"

[[access]]
name = "canary: a user submits"
org = "kr-retailer"
roles = ["user"]
service = "m"
operation = "submit"
expect = "allow"

[[access]]
name = "canary: nobody does not"
org = "kr-retailer"
roles = []
service = "m"
operation = "submit"
expect = "deny"
"#;
const CASES: &str = r#"
[[case]]
rule = "T01"
name = "orders"
base = "seoul"
change = { "components.0.categories" = ["pd:General"] }
expect = "ALLOW"
[case.twin]
name = "purchases"
change = { "components.0.categories" = ["pd:Purchase"] }
expect = "DENY"
by = "T02"

[[case]]
rule = "T02"
name = "purchases are stopped"
base = "seoul"
expect = "DENY"
[case.twin]
name = "no purchases"
change = { "components.0.categories" = ["pd:General"] }
expect = "ALLOW"
by = "T01"
"#;
