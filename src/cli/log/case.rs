//! A bundle of evidence for some decisions: a directory that explains itself to who has never seen this program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sqlx::PgPool;
use uuid::Uuid;

use super::UNCOVERED;
use crate::audit::{self, Case};

/// Writes the directory; nothing is left of it when something is missing.
pub(super) async fn write(pool: &PgPool, ids: &[Uuid], out: &Path) -> anyhow::Result<ExitCode> {
    let mut files = BTreeMap::new();
    let (mut vkeys, mut rows) = (BTreeSet::new(), String::new());
    for id in ids {
        let found = audit::case(pool, *id).await?;
        let case = found.with_context(|| {
            format!("the log has no decision `{id}`: rows follow it within a second")
        })?;
        add(&mut files, *id, &case, &mut rows)?;
        vkeys.extend(case.vkeys);
    }
    let mut keys = String::new();
    for vkey in &vkeys {
        writeln!(keys, "{vkey}")?;
    }
    files.insert("vkeys.txt".to_owned(), keys.into_bytes());
    files.insert("verify.py".to_owned(), VERIFY.into());
    files.insert("README.md".to_owned(), README.replace("{rows}", &rows).into_bytes());
    if out.exists() {
        bail!("`{}` is there already: name a directory that can be made", out.display());
    }
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    for (name, bytes) in &files {
        let path = part.join(name);
        let cannot = || format!("cannot write `{}`", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(part)).with_context(cannot)?;
        std::fs::write(&path, bytes).with_context(cannot)?;
    }
    // If we stop here, the part directory is left and nothing looks complete.
    std::fs::rename(part, out).with_context(|| format!("cannot write `{}`", out.display()))?;
    println!(
        "{} decisions in {} files are in `{}`: begin with its README.md",
        ids.len(),
        files.len(),
        out.display()
    );
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

/// The independent verifier goes along.
const VERIFY: &str = include_str!("../../../docs/verify.py");
const README: &str = include_str!("case.md");
