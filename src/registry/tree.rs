//! A directory of TOML and CSV files becomes a [`Tree`] of canonical documents, or every fault in it.
//!
//! ```text
//! organisations/*.toml            one organisation a file, its services inside
//! sites/*.toml, sites/*.pem       one site a file, and the certificates that vouch for it
//! datasets|grounds|outside/*.toml, *.csv
//! orders|lists/*.toml
//! ```
//! In CSV a dot in a header makes a table (`scope.places`), `;` parts the items of a list, `-` is the empty list and
//! an empty cell an absent key.
//!
//! *Invariant:* a tree exists only without faults: nothing is skipped, guessed or filled in.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value as Json;

use super::{
    RegistryError, Sort,
    check::{Check, Found},
    cross, shape, source, words,
};

pub use super::check::Problem;

/// The documents of a registry, by sort and id. Equal trees have equal bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    pub(super) documents: BTreeMap<(Sort, String), Json>,
}

/// Everything that is wrong with a directory, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct TreeError {
    pub problems: Vec<Problem>,
}

/// One document for a single change, with the file it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub sort: Sort,
    pub id: String,
    pub document: Json,
    /// What it names and must be registered already.
    needs: Vec<(Sort, String)>,
}

/// Reads a directory. Hidden files and `*.md` are passed over; any other file that has no place is a fault.
pub fn read(directory: &Path) -> Result<Tree, TreeError> {
    let mut files = BTreeMap::new();
    let mut problems = Vec::new();
    gather(directory, "", &mut files, &mut problems);
    if problems.is_empty() { parse(&files) } else { Err(TreeError { problems }) }
}

/// The same from memory: paths relative to the directory, with `/`, and their contents.
pub fn parse(files: &BTreeMap<String, String>) -> Result<Tree, TreeError> {
    let mut found = Found::default();
    let mut all = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| ending(path) != "pem") {
        match place_of(path) {
            Some(sort) => {
                all.extend(documents(sort, path, text, &pems_beside(path, files), &mut found));
            }
            None => found.problems.push(misplaced(path)),
        }
    }
    let mut tree = Tree::default();
    let mut first: BTreeMap<&(Sort, String), &Read> = BTreeMap::new();
    for read in &all {
        if let Some(first) = first.get(&read.key) {
            let (sort, id) = (read.key.0.name(), &read.key.1);
            let text =
                format!("{sort} `{id}` is given twice: first in {}:{}", first.file, first.line(""));
            found.problems.push(Problem { file: read.file.clone(), line: read.line(""), text });
        } else {
            first.insert(&read.key, read);
            tree.documents.insert(read.key.clone(), read.document.clone());
        }
    }
    found.problems.extend(dangling(&tree, &found));
    found.problems.extend(first.values().flat_map(|read| read.cross(&tree)));
    finish(tree, found)
}

/// One document of `sort` from one TOML file, for a single change.
pub fn read_one(sort: Sort, path: &Path) -> Result<Entry, TreeError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|fault| TreeError {
        problems: vec![Problem {
            file: file.clone(),
            line: 0,
            text: format!("cannot be read: {fault}"),
        }],
    })?;
    parse_one(sort, &file, &text)
}

/// The same from memory.
pub fn parse_one(sort: Sort, file: &str, text: &str) -> Result<Entry, TreeError> {
    one(sort, file, text, Found::default())
}

fn one(sort: Sort, file: &str, text: &str, mut found: Found) -> Result<Entry, TreeError> {
    let read = documents(sort, file, text, &BTreeMap::new(), &mut found).pop();
    found.problems.extend(read.iter().flat_map(|read| read.cross(&Tree::default())));
    let needs = found.references.iter().map(|one| (one.sort, one.id.clone())).collect();
    finish(Tree::default(), found)?;
    let Some(Read { key, document, .. }) = read else {
        let text = "there is nothing in this file".to_owned();
        return Err(TreeError { problems: vec![Problem { file: file.to_owned(), line: 0, text }] });
    };
    Ok(Entry { sort, id: key.1, document, needs })
}

/// One access entry from a JSON object, held to the same shape as a file. No fault repeats a word of it.
pub fn entry_of(sort: Sort, object: &Json) -> Result<Entry, TreeError> {
    let text = toml::to_string(object).map_err(|_| TreeError {
        problems: vec![Problem {
            file: "entry".into(),
            line: 0,
            text: "it holds what no key takes: leave out what is `null`".into(),
        }],
    })?;
    one(sort, "entry", &text, Found { quiet: true, ..Found::default() })
}

impl Entry {
    /// # Errors
    /// When something that it names is not registered.
    pub(super) fn needs_only(
        &self,
        is_registered: impl Fn(&(Sort, String)) -> bool,
    ) -> Result<(), RegistryError> {
        let missing = self.needs.iter().find(|key| !is_registered(key));
        missing.map_or(Ok(()), |(sort, id)| {
            Err(RegistryError::NotFound { sort: *sort, id: id.clone() })
        })
    }
}

impl Tree {
    /// `(sort, id, document)` in order.
    pub fn documents(&self) -> impl Iterator<Item = (Sort, &str, &Json)> {
        self.documents.iter().map(|((sort, id), document)| (*sort, id.as_str(), document))
    }

    /// Moves a site elsewhere: the demo and the tests run the example's sites on loopback addresses with certificates
    /// of their own. False when there is no such site.
    pub fn move_site(&mut self, id: &str, base_url: &str, ca_pem: &str) -> bool {
        let Some(Json::Object(site)) = self.documents.get_mut(&(Sort::Site, id.to_owned())) else {
            return false;
        };
        site.insert("base_url".into(), base_url.into());
        site.insert("ca".into(), ca_pem.into());
        true
    }

    pub(super) fn ids(&self, sort: Sort) -> impl Iterator<Item = &str> {
        self.documents.keys().filter_map(move |(other, id)| (*other == sort).then_some(id.as_str()))
    }
}

/// A document and where it stands.
struct Read {
    key: (Sort, String),
    file: String,
    lines: BTreeMap<String, usize>,
    document: Json,
    /// Nothing in it was refused: only then do faults between its keys mean anything.
    clean: bool,
}

impl Read {
    fn line(&self, pointer: &str) -> usize {
        self.lines.get(pointer).copied().unwrap_or(1)
    }

    /// What no single key can say.
    fn cross(&self, tree: &Tree) -> Vec<Problem> {
        if !self.clean {
            return Vec::new();
        }
        let faults = cross::faults(self.key.0, &self.document, tree);
        faults
            .into_iter()
            .map(|(pointer, text)| Problem {
                file: self.file.clone(),
                line: self.line(&pointer),
                text,
            })
            .collect()
    }
}

fn documents(
    sort: Sort,
    file: &str,
    text: &str,
    pems: &BTreeMap<String, String>,
    found: &mut Found,
) -> Vec<Read> {
    let in_csv = ending(file) == "csv";
    let (values, slips) = if in_csv {
        source::csv(text)
    } else {
        let (value, slips) = source::toml(text);
        (vec![value], slips)
    };
    let mut check = Check { file, pems, found, pointer: String::new(), lines: BTreeMap::new() };
    let broken = !slips.is_empty();
    for (line, text) in slips {
        check.wrong(line, text);
    }
    // A text that is not TOML has no keys worth complaining about.
    if broken && !in_csv {
        return Vec::new();
    }
    values
        .iter()
        .filter_map(|value| {
            let before = check.found.problems.len();
            let (document, lines) = check.document(shape::of(sort), value);
            let clean = check.found.problems.len() == before;
            let id = document.get(sort.id_key())?.as_str()?.to_owned();
            Some(Read { key: (sort, id), file: file.to_owned(), lines, document, clean })
        })
        .collect()
}

fn dangling(tree: &Tree, found: &Found) -> Vec<Problem> {
    found
        .references
        .iter()
        .filter(|one| !tree.documents.contains_key(&(one.sort, one.id.clone())))
        .map(|one| {
            let hint = words::hint(&one.id, tree.ids(one.sort));
            let text = format!("{} `{}` is not registered{hint}", one.sort.name(), one.id);
            Problem { file: one.file.clone(), line: one.line, text }
        })
        .collect()
}

fn finish(tree: Tree, found: Found) -> Result<Tree, TreeError> {
    let problems: BTreeSet<Problem> = found.problems.into_iter().collect();
    if problems.is_empty() {
        Ok(tree)
    } else {
        Err(TreeError { problems: problems.into_iter().collect() })
    }
}

/// The sort of documents in this file, by its folder and ending.
fn place_of(path: &str) -> Option<Sort> {
    let (folder, name) = path.split_once('/')?;
    let sort = Sort::ALL.into_iter().find(|sort| sort.folder() == folder)?;
    let ending = ending(name);
    (!name.contains('/') && (ending == "toml" || (ending == "csv" && sort.in_csv())))
        .then_some(sort)
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn misplaced(path: &str) -> Problem {
    let folder = path.split_once('/').map_or("", |(folder, _)| folder);
    let known = Sort::ALL.into_iter().find(|sort| sort.folder() == folder);
    let text = match known {
        Some(sort) if sort.in_csv() => format!("files in `{folder}/` end in `.toml` or `.csv`"),
        Some(_) => format!("files in `{folder}/` end in `.toml`"),
        None => {
            let folders = || Sort::ALL.into_iter().map(Sort::folder);
            let hint = words::hint(folder, folders());
            let all = folders().collect::<Vec<_>>().join(", ");
            format!("there is no place for this file: folders are {all}{hint}")
        }
    };
    Problem { file: path.to_owned(), line: 0, text }
}

fn pems_beside(path: &str, files: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let folder = path.split_once('/').map_or("", |(folder, _)| folder);
    files
        .iter()
        .filter_map(|(other, text)| {
            let name = other.strip_prefix(folder)?.strip_prefix('/')?;
            (ending(name) == "pem").then(|| (name.to_owned(), text.clone()))
        })
        .collect()
}

fn gather(
    directory: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    let mut wrong = |path: &str, fault: &std::io::Error| {
        let file = if path.is_empty() { directory.display().to_string() } else { path.to_owned() };
        problems.push(Problem { file, line: 0, text: format!("cannot be read: {fault}") });
    };
    let entries = match std::fs::read_dir(directory.join(prefix)) {
        Ok(entries) => entries,
        Err(fault) => return wrong(prefix, &fault),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(fault) => return wrong(prefix, &fault),
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if name.starts_with('.') || ending(&name) == "md" {
            continue;
        }
        if entry.path().is_dir() && prefix.is_empty() {
            folders.push(path);
            continue;
        }
        match std::fs::read_to_string(entry.path()) {
            Ok(text) => drop(files.insert(path, text)),
            Err(fault) => wrong(&path, &fault),
        }
    }
    for folder in folders {
        gather(directory, &folder, files, problems);
    }
}
