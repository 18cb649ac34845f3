//! The arrow table: which room may import which. A forbidden import fails, so does a room without a row and a row
//! without a room. SQL is only in files called `store.rs`, and one crypto library is in the whole tree.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// (room, what it may import), read from the bottom up: a row may only name rows above it, so no circle can be
/// written. `audit::Permit` is that item alone; `*::Config` is every room's `Config`; `*` is everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("byte_sequence", &[]),
    ("clock", &[]),
    ("telemetry", &[]),
    ("listen", &[]),
    ("postgres", &[]),
    ("failover", &[]),
    ("dial", &[]),
    ("disk", &[]),
    ("remote", &["dial", "tlog"]),
    ("caller", &["dial", "verdict", "clock"]),
    ("workload", &["verdict", "clock"]),
    ("registry", &["verdict", "tlog", "clock"]),
    ("policy", &["verdict", "clock", "registry::access"]),
    ("access", &["registry", "policy"]),
    ("reserve", &["verdict", "clock"]),
    ("privacy", &[]),
    ("program", &[]),
    ("audit", &["byte_sequence", "disk", "privacy", "program", "verdict", "tlog", "clock"]),
    ("tiles", &["tlog", "caller", "audit", "clock", "listen::Config"]),
    ("hold", &["verdict", "audit::Act", "audit::ActKind"]),
    ("obligation", &["verdict", "clock", "audit::Act", "audit::ActKind"]),
    ("cosign", &["dial", "tlog", "audit", "clock"]),
    ("mandate", &["registry", "policy", "audit::Audit", "verdict", "tlog", "clock"]),
    ("shadow", &["registry::store", "policy", "mandate", "verdict", "clock"]),
    ("webhook", &["dial", "registry", "obligation", "verdict", "clock"]),
    ("forward", &["audit::Permit", "audit::Proof", "audit::Grade", "audit::Target"]),
    (
        "gate",
        &[
            "caller",
            "workload",
            "registry",
            "policy",
            "access",
            "reserve",
            "hold",
            "obligation",
            "audit",
            "webhook",
            "shadow",
            "forward",
            "verdict",
            "clock",
        ],
    ),
    ("console", &["registry", "policy", "audit"]),
    (
        "guard",
        &[
            "listen::Config",
            "telemetry::Config",
            "telemetry::Why",
            "dial",
            "disk",
            "remote",
            "byte_sequence",
            "workload",
            "tlog",
            "clock",
        ],
    ),
    (
        "witness",
        &[
            "listen::Config",
            "telemetry::Config",
            "telemetry::Why",
            "disk",
            "program",
            "remote",
            "verdict",
            "tlog",
            "haetae_verify",
            "clock",
        ],
    ),
    ("config", &["*::Config", "failover::Host", "failover::Servers"]),
    ("app", &["*"]),
    ("demo", &["*"]),
    ("cli", &["*"]),
];

/// The same for the inner crates, by folder.
const CRATES: [(&str, &[&str]); 3] =
    [("verdict", &[]), ("tlog", &[]), ("verifier", &["verdict", "tlog"])];

/// The inner crates as they are named in paths.
const CRATE_NAMES: [&str; 3] = ["verdict", "tlog", "haetae_verify"];

#[test]
fn every_import_stands_in_the_table() {
    let rows = ARROWS.iter().copied().collect::<BTreeMap<_, _>>();
    let mut forbidden = Vec::new();
    for file in rust_files(Path::new("src")) {
        let Some(room) = room_of(&file) else { continue };
        let allowed = rows.get(room.as_str()).copied().unwrap_or_default();
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        for import in imports(&text, &room, module_depth(&file), &children(&room)) {
            if !import.is_allowed(allowed) {
                forbidden.push(format!("{}: {room} -> {import}", file.display()));
            }
        }
    }
    assert_eq!(forbidden, Vec::<String>::new());
}

#[test]
fn inner_crates_import_nothing_of_ours_but_each_other_as_listed() {
    let mut forbidden = Vec::new();
    for (name, allowed) in CRATES {
        forbidden.extend(foreign_paths(name, allowed));
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
        for dependency in manifest["dependencies"].as_table().unwrap().keys() {
            let ours = ["verdict", "tlog", "haetae", "haetae-verify"].contains(&&**dependency);
            assert!(!ours || allowed.contains(&&**dependency), "{name} depends on {dependency}");
        }
    }
    assert_eq!(forbidden, Vec::<String>::new());
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let rooms: BTreeSet<String> =
        rust_files(Path::new("src")).iter().filter_map(|file| room_of(file)).collect();
    let rows: BTreeSet<String> = ARROWS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, rows);
    let crates: BTreeSet<String> = entries(&root().join("crates")).collect();
    assert_eq!(crates, CRATES.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn a_row_names_only_rows_above_it() {
    let mut above: Vec<&str> = CRATE_NAMES.to_vec();
    for (room, allowed) in ARROWS {
        for name in allowed.iter().map(|name| name.split("::").next().unwrap()) {
            assert!(
                name == "*" || above.contains(&name),
                "{room} names {name}, which is not above"
            );
        }
        above.push(room);
    }
}

#[test]
fn sql_is_only_in_files_called_store() {
    let mut strays = Vec::new();
    for file in rust_files(Path::new("src")).into_iter().filter(|file| !file.ends_with("store.rs"))
    {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        for path in source::paths(&text) {
            let speaks = path[0] == "sqlx" && path[1..].iter().any(|name| speaks_sql(name));
            if speaks {
                strays.push(format!("{}: {}", file.display(), path.join("::")));
            }
        }
    }
    assert_eq!(strays, Vec::<String>::new());
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = ["utils.rs", "common.rs", "helpers.rs", "types.rs", "models.rs", "mod.rs"];
    let all = ["src", "crates", "tests"].iter().flat_map(|dir| rust_files(Path::new(dir)));
    let found: Vec<PathBuf> =
        all.filter(|file| drawers.iter().any(|name| file.ends_with(name))).collect();
    assert_eq!(found, Vec::<PathBuf>::new());
}

#[test]
fn one_crypto_library_is_in_the_tree() {
    // Cargo.lock names packages that no feature of ours turns on, so the tree that is really built is asked.
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--offline", "--prefix", "none"])
        .args(["--edges", "normal,build,dev", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let built: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(built.contains("aws-lc-rs"));
    for other in ["ring", "openssl", "openssl-sys", "native-tls", "rsa", "boring-sys"] {
        assert!(!built.contains(other), "{other} is built into the tree");
    }
}

#[test]
fn the_reader_sees_groups_and_supers_and_ignores_comments_and_strings() {
    let text = r##"
        //! uses crate::gate for nothing
        use crate::{audit::{Permit, store as s}, caller};
        /* crate::config /* nested */ crate::cli */
        fn f<'a>(x: &'a str) -> crate::clock::Clock { let c = '"'; g("crate::app", r#"crate::demo"#) }
        use super::super::policy::Bundle;
        use super::engine::Engine;
        use verdict::judge;
        let verdict = 1; self.tlog::<u8>();
    "##;
    let seen = |text, depth| -> Vec<String> {
        let found = imports(text, "registry", depth, &["engine".to_owned()]);
        found.iter().map(ToString::to_string).collect()
    };
    let expected = [
        "audit::Permit",
        "audit::store",
        "caller",
        "clock::Clock",
        "policy::Bundle",
        "verdict::judge",
    ];
    assert_eq!(seen(text, 2), expected);

    // in the room's own file `super` is the crate, unless it is the room seen from its tests
    let own = "use super::gate::handle; mod tests { use super::*; use super::engine::Engine; }";
    assert_eq!(seen(own, 1), ["gate::handle"]);
}

#[test]
fn permission_for_one_item_is_not_permission_for_a_room() {
    let import = |path: &str| Import(path.split("::").map(str::to_owned).collect());
    assert!(import("audit::Permit").is_allowed(&["audit::Permit"]));
    assert!(!import("audit::Draft").is_allowed(&["audit::Permit"]));
    assert!(!import("audit::*").is_allowed(&["audit::Permit"]));
    assert!(!import("caller").is_allowed(&["audit::Permit"]));

    // through the room's name no more can be had
    let through =
        "use crate::{audit, listen::{self, Peer}}; fn f(c: audit::Config, d: listen::Config) {}";
    let refused: Vec<String> = imports(through, "config", 1, &[])
        .iter()
        .filter(|import| !import.is_allowed(&["*::Config"]))
        .map(ToString::to_string)
        .collect();
    assert_eq!(refused, ["listen::Peer"]);
    assert!(import("listen::Config").is_allowed(&["*::Config"]));
    assert!(!import("listen::Peer").is_allowed(&["*::Config"]));
    assert!(import("gate::handle").is_allowed(&["*"]));
    assert!(!import("gate::handle").is_allowed(&[]));
}

/// Paths into our other crates that an inner crate's sources name and may not.
fn foreign_paths(name: &str, allowed: &[&str]) -> Vec<String> {
    let ours = |first: &str| first == "haetae" || CRATE_NAMES.contains(&first);
    let own = |first: &str| first == name || (first == "haetae_verify" && name == "verifier");
    let mut found = Vec::new();
    for file in rust_files(&Path::new("crates").join(name).join("src")) {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        let foreign = source::paths(&text).into_iter().filter(|path| {
            let first = path[0].as_str();
            path.len() > 1 && ours(first) && !own(first) && !allowed.contains(&first)
        });
        found.extend(foreign.map(|path| format!("{}: {}", file.display(), path.join("::"))));
    }
    found
}

/// What a file takes from another room or inner crate: its name, then the item.
struct Import(Vec<String>);

impl Import {
    /// Permission for one item covers the room's name too: what is reached through the name is judged by itself.
    fn is_allowed(&self, allowed: &[&str]) -> bool {
        let item = self.0.get(1).map(String::as_str);
        allowed.iter().any(|entry| match entry.split_once("::") {
            None => *entry == "*" || *entry == self.0[0],
            Some((room, only)) => {
                (room == "*" || room == self.0[0]) && (self.is_whole() || item == Some(only))
            }
        })
    }

    /// `use crate::room;` or `use crate::room::{self, ..};`
    fn is_whole(&self) -> bool {
        self.0.len() == 1 || self.0[1] == "self"
    }
}

impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("::"))
    }
}

/// `depth` is 1 for `src/room.rs` and 2 for `src/room/part.rs`; `children` are the room's own modules. A room that is
/// imported by its name alone is followed to every path that begins with that name.
fn imports(text: &str, room: &str, depth: usize, children: &[String]) -> Vec<Import> {
    let paths = source::paths(text);
    let taken = |path: &Vec<String>| {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let from_root = match path[0].as_str() {
            "crate" => &path[1..],
            "super" if supers >= depth && !children.contains(path.get(supers)?) => &path[supers..],
            name if CRATE_NAMES.contains(&name) && path.len() > 1 => &path[..],
            _ => return None,
        };
        let first = from_root.first()?;
        let known = CRATE_NAMES.contains(&&**first) || ARROWS.iter().any(|(name, _)| name == first);
        (known && *first != room).then(|| Import(from_root.to_vec()))
    };
    let mut found: Vec<Import> = paths.iter().filter_map(taken).collect();
    let whole: BTreeSet<String> =
        found.iter().filter(|one| one.is_whole()).map(|one| one.0[0].clone()).collect();
    let through = paths.into_iter().filter(|path| path.len() > 1 && whole.contains(&path[0]));
    found.extend(through.map(Import));
    found
}

/// The ways by which sqlx is handed a statement.
fn speaks_sql(name: &str) -> bool {
    name.starts_with("query")
        || ["raw_sql", "QueryBuilder", "AssertSqlSafe", "Executor"].contains(&name)
}

/// `src/gate.rs` and `src/gate/answer.rs` are the room `gate`; `lib.rs` and `main.rs` are no room.
fn room_of(file: &Path) -> Option<String> {
    let first = file.components().nth(1)?;
    let name = Path::new(first.as_os_str()).file_stem()?.to_str()?.to_owned();
    (name != "lib" && name != "main").then_some(name)
}

fn module_depth(file: &Path) -> usize {
    file.components().count() - 1
}

/// The names of a room's own modules, at any depth.
fn children(room: &str) -> Vec<String> {
    let files = rust_files(&Path::new("src").join(room));
    files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect()
}

/// Every `.rs` file under `dir`, relative to the root, in order.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in entries(&root().join(dir)) {
        let path = dir.join(&name);
        if root().join(&path).is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn entries(dir: &Path) -> impl Iterator<Item = String> {
    let listed = std::fs::read_dir(dir).into_iter().flatten().flatten();
    listed.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
