//! The tamper matrix: somebody with every right on the database, or with the log's own key, changes it; processes are stopped,
//! doubled and cut off. Each row of docs/tamper.md is a test here of that name, and what the table says that each observer says is
//! what it said.

mod database;
mod facts;
mod key;
mod lanes;
mod processes;
mod unread;
mod written;

use std::collections::BTreeSet;

/// Holds what observers said, in order, against the row of that name in docs/tamper.md.
fn row(name: &str, said: &[(&str, String)]) {
    let cell = |(who, text): &(&str, String)| format!("**{who}**: `{}`", normal(text));
    let cells = said.iter().map(cell).collect::<Vec<_>>().join("<br>");
    let table = table();
    let line = table.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
    let fits = line.is_some_and(|line| line.ends_with(&format!("| {cells} |")));
    assert!(fits, "docs/tamper.md has another row for `{name}` than what was said:\n{cells}");
}

#[test]
fn every_row_of_the_table_is_a_test_and_every_test_a_row() {
    let named = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let rows: Vec<String> = table().lines().filter_map(named).collect();
    let sources = [
        include_str!("tamper/database.rs"),
        include_str!("tamper/facts.rs"),
        include_str!("tamper/key.rs"),
        include_str!("tamper/lanes.rs"),
        include_str!("tamper/processes.rs"),
        include_str!("tamper/unread.rs"),
    ];
    let tests: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| source.split("#[tokio::test").skip(1))
        .filter_map(|test| Some(test.split_once("async fn ")?.1.split_once('(')?.0.to_owned()))
        .collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), tests);
    assert_eq!(rows.len(), tests.len(), "a row stands twice");
}

/// Read when the test runs, so that a word in it builds nothing anew.
fn table() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tamper.md")).unwrap()
}

/// Without what differs from run to run: ids of records and digests.
fn normal(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c));
        if bare.parse::<uuid::Uuid>().is_ok() {
            word.replace(bare, "ID")
        } else if bare.parse::<tlog::Hash>().is_ok() {
            word.replace(bare, "HASH")
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ").replace('|', "/").replace('`', "'")
}
