//! A bundle of evidence for some decisions: a directory that explains itself to who has never seen this program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;
use sqlx::PgPool;
use tlog::Hash;
use uuid::Uuid;
use verdict::decision::Text;

use super::UNCOVERED;
use crate::audit::{self, Case};
use crate::disk;

/// Writes the directory; nothing is left of it when something is missing.
pub(super) async fn write(pool: &PgPool, ids: &[Uuid], out: &Path) -> anyhow::Result<ExitCode> {
    let (mut files, mut vkeys) = (BTreeMap::new(), BTreeSet::new());
    let (mut rows, mut lacking) = (String::new(), Vec::new());
    for id in ids {
        let found = audit::case(pool, *id).await?;
        let case = found.with_context(|| {
            format!("the log has no decision `{id}`: rows follow it within a second")
        })?;
        add(&mut files, *id, &case, &mut rows)?;
        lacking.extend(lacks(*id, &case)?);
        vkeys.extend(case.vkeys);
    }
    let mut keys = String::new();
    for vkey in &vkeys {
        writeln!(keys, "{vkey}")?;
    }
    files.insert("vkeys.txt".to_owned(), keys.into_bytes());
    files.insert("verify.py".to_owned(), VERIFY.into());
    files.insert("verify_more.py".to_owned(), VERIFY_MORE.into());
    files.insert("README.md".to_owned(), readme(&rows, &lacking).into_bytes());
    put(out, &files)?;
    println!(
        "{} decisions in {} files are in `{}`: begin with its README.md",
        ids.len(),
        files.len(),
        out.display()
    );
    for lack in lacking {
        eprintln!("{}", lack.en);
    }
    Ok(ExitCode::SUCCESS)
}

fn add(
    files: &mut BTreeMap<String, Vec<u8>>,
    id: Uuid,
    case: &Case,
    rows: &mut String,
) -> anyhow::Result<()> {
    for (kind, proven) in &case.records {
        let proof = proven.self_contained().context(UNCOVERED)?;
        let name = format!("{id}/{kind}-{}-{}", proven.lane, proven.index);
        writeln!(
            rows,
            "| `{name}.json` | `{name}.tlog-proof` | {kind} | {} | {} |",
            proven.lane, proven.index
        )?;
        files.insert(format!("{name}.json"), proven.leaf.clone());
        files.insert(format!("{name}.tlog-proof"), proof.into_bytes());
    }
    for text in &case.texts {
        let name = format!("texts/{}-{}.json", text.kind, hex::encode(text.digest));
        files.insert(name, text.bytes.clone());
    }
    Ok(())
}

/// What belongs to the decision and was not found: whoever may delete rows can keep its end out of the bundle.
fn lacks(id: Uuid, case: &Case) -> anyhow::Result<Vec<Text>> {
    let of = |kind: &str| -> anyhow::Result<Option<Value>> {
        let found = case.records.iter().find(|(one, _)| one == kind);
        Ok(found.map(|(_, proven)| serde_json::from_slice(&proven.leaf)).transpose()?)
    };
    let (decision, started, ended) = (of("decision")?, of("started")?, of("ended")?);
    let says = |key: &str| decision.as_ref()?.get(key)?.as_str();
    let mut lacks = Vec::new();
    let allows = says("outcome").is_some_and(|outcome| outcome.starts_with("ALLOW"));
    if allows && ended.is_none() {
        lacks.push(Text {
            en: format!(
                "Of decision `{id}`, an allow, no `ended` was found: its answer was under way when this was made, or its row was \
                 deleted. The whole log shows which."
            ),
            ko: format!(
                "허용인 결정 `{id}`의 `ended`를 찾지 못했습니다. 이것을 만들 때 응답이 진행 중이었거나, 그 행이 삭제되었습니다. \
                 어느 쪽인지는 로그 전체에서 드러납니다."
            ),
        });
    }
    // A site that answered was reached.
    let answered = ended.is_some_and(|ended| ended.get("status").is_some());
    if answered && started.is_none() {
        lacks.push(Text {
            en: format!(
                "Of decision `{id}`, to which a site answered, no `started` was found: it was not written, or its row was deleted. \
                 The whole log shows which."
            ),
            ko: format!(
                "사이트가 응답한 결정 `{id}`의 `started`를 찾지 못했습니다. 기록되지 않았거나, 그 행이 삭제되었습니다. \
                 어느 쪽인지는 로그 전체에서 드러납니다."
            ),
        });
    }
    let is_here = |kind: &str| {
        let is_it = |digest| says(kind).is_some_and(|named| named == Hash(digest).to_string());
        case.texts.iter().any(|text| text.kind == kind && is_it(text.digest))
    };
    for kind in ["facts", "detail", "bundle"].into_iter().filter(|kind| !is_here(kind)) {
        lacks.push(Text {
            en: format!("The text `{kind}` of decision `{id}` is no longer kept."),
            ko: format!("결정 `{id}`의 텍스트 `{kind}`은(는) 더 이상 보관되지 않습니다."),
        });
    }
    Ok(lacks)
}

fn readme(rows: &str, lacking: &[Text]) -> String {
    let said = |none: &str, of: fn(&Text) -> &str| {
        if lacking.is_empty() {
            return none.to_owned();
        }
        format!("\n\n- {}", lacking.iter().map(of).collect::<Vec<_>>().join("\n- "))
    };
    let en = said(" Each allow has its `ended` here, and each decision its texts.", |one| &one.en);
    let ko = said(" 모든 허용에 `ended`가 있고, 모든 결정에 그 텍스트가 있습니다.", |one| &one.ko);
    README
        .replace("{rows}", rows)
        .replace("{lacks.en}", &en)
        .replace("{lacks.ko}", &ko)
        .replace("{verify}", &VERIFY.lines().count().to_string())
        .replace("{more}", &VERIFY_MORE.lines().count().to_string())
}

/// Whatever lies in a directory that is there already would be handed out with these files: it may be another organisation's.
fn put(out: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    if out.exists() {
        bail!("`{}` is there already: name a directory that can be made", out.display());
    }
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let cannot = || format!("cannot make `{}`", part.display());
    std::fs::create_dir_all(out.parent().unwrap_or(out)).with_context(cannot)?;
    match std::fs::create_dir(part) {
        Ok(()) => {}
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => bail!(
            "`{}` is there already: an export that was stopped left it, one is under way, or it is something else of yours. \
             Remove it when you know that nobody needs it, or name another directory",
            part.display()
        ),
        Err(cause) => return Err(cause).with_context(cannot),
    }
    for (name, bytes) in files {
        let path = part.join(name);
        let cannot = || format!("cannot write `{}`", path.display());
        disk::make_directory(path.parent().unwrap_or(part)).with_context(cannot)?;
        disk::replace(&path, bytes).with_context(cannot)?;
    }
    // If we stop here, the part directory is left, nothing looks complete, and the next export does not touch it.
    disk::rename(part, out).with_context(|| format!("cannot write `{}`", out.display()))
}

/// Independent verifiers go along; the second imports the first.
const VERIFY: &str = include_str!("../../../docs/verify.py");
const VERIFY_MORE: &str = include_str!("../../../docs/verify_more.py");
const README: &str = include_str!("case.md");

#[cfg(test)]
mod tests {
    //! Who reads one language is told what who reads the other is.

    use std::collections::BTreeSet;

    use super::{README, VERIFY, VERIFY_MORE, readme};

    /// What stands between backticks: commands, files, keys.
    fn code(text: &str) -> BTreeSet<String> {
        let spans = text.split('`').skip(1).step_by(2);
        let joined = |span: &str| span.split_whitespace().collect::<Vec<_>>().join(" ");
        spans.map(|span| joined(span).replace("공개 키", "public key")).collect()
    }

    #[test]
    fn both_languages_name_the_same_files_commands_and_codes() {
        let (english, korean) = README.split_once("## 한국어").unwrap();
        let english = english.split_once("## English").unwrap().1;
        assert_eq!(code(english), code(korean));
        let shape = |text: &str| {
            let starts = |with| text.lines().filter(|line: &&str| line.starts_with(with)).count();
            [
                starts("- "),
                starts("| "),
                starts("### "),
                starts("1. "),
                starts("4. "),
                starts("    "),
            ]
        };
        assert_eq!(shape(english), shape(korean));
    }

    #[test]
    fn it_counts_the_lines_of_its_programs_and_leaves_nothing_open() {
        let text = readme("", &[]);
        for program in [VERIFY, VERIFY_MORE] {
            assert!(text.contains(&format!("({} lines)", program.lines().count())), "{text}");
        }
        assert!(!text.contains(['{', '}']), "{text}");
        assert!(text.contains("Each allow has its `ended` here"), "{text}");
    }
}
