//! The registry's files are read strictly, its changes are versioned and reach every replica, and an ask is resolved
//! from one snapshot without telling a caller what is not theirs.

mod altered;
mod changes;
mod command;
mod files;
mod judged;
mod orders;
mod resolve;
mod watching;
mod writers;

use std::collections::BTreeMap;
use std::path::Path;

use haetae::registry::Sort;
use haetae::registry::orders::store::Brought;
use haetae::registry::tree::{self, Tree};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

/// The example directory, as it is committed.
pub fn example() -> Tree {
    tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry-example")).unwrap()
}

/// The example's files, to break one of them.
fn example_files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry-example");
    let mut files = BTreeMap::new();
    for folder in std::fs::read_dir(&root).unwrap().map(Result::unwrap) {
        let Ok(entries) = std::fs::read_dir(folder.path()) else { continue };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.insert(path, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

/// The example with one piece of text replaced in one file.
fn example_with(file: &str, from: &str, to: &str) -> BTreeMap<String, String> {
    let mut files = example_files();
    let text = files.get_mut(file).unwrap();
    assert!(text.contains(from), "`{from}` does not stand in {file}");
    *text = text.replacen(from, to, 1);
    files
}

fn one_file(path: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(path.to_owned(), text.to_owned())])
}

/// As superuser: writes beside the newest change the digest of what is there now.
pub async fn vouch(pool: &PgPool) {
    let select = "select sort, id, document from registry_entry where version_until is null";
    let rows: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as(select).fetch_all(pool).await.unwrap();
    let entry = |(sort, id, document)| ((Sort::named(sort).unwrap(), id), document);
    let entries = rows.iter().map(|(sort, id, document)| entry((sort, id, document)));
    let mut hash = Sha256::new();
    for ((sort, id), document) in entries.collect::<BTreeMap<_, _>>() {
        hash.update(format!("{}\n{id}\n{document}\n", sort.name()));
    }
    let update = "update registry_version set digest = $1
                  where version = (select max(version) from registry_version)";
    let digest = hash.finalize().to_vec();
    let done = sqlx::query(update).bind(digest).execute(pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

/// An order without a signature, entered in 1970.
pub const BY_LEE: Brought<'static> = Brought { note: None, who: "lee", now: 0 };
