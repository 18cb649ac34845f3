//! The example configuration is the whole truth: it loads, it explains every key that any room reads, the defaults it
//! shows are the defaults, and a key that nobody reads refuses to start. And what its pools promise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use haetae::config::Config;
use toml::{Table, Value};

use crate::support::fresh_database;

const EXAMPLE: &str = include_str!("../../haetae.toml");

#[test]
fn the_example_loads_and_its_paths_are_meant_from_its_directory() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::read(&root.join("haetae.toml")).unwrap();
    assert_eq!(config.policy.dir, Some(root.join("policies")));
    assert_eq!(config.audit.key_file, root.join("secrets/log.key"));
    assert_eq!(config.listen.tls.unwrap().client_cas, [root.join("tls/clients.pem")]);
    assert_eq!(
        config.identity.issuers[1].jwks_file,
        Some(root.join("keys/tokens.example.de.json"))
    );
}

#[test]
fn a_default_that_the_example_shows_is_the_default() {
    let meant = format!("{:#?}", Config::parse(EXAMPLE).unwrap());
    let shown = format!("{:#?}", Config::parse(&every_key_live()).unwrap());
    let differences: Vec<_> = meant.lines().zip(shown.lines()).filter(|(a, b)| a != b).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(meant.lines().count(), shown.lines().count());
}

/// What a room reads is asked of the room: given a key that it does not know, it lists those that it does.
#[test]
fn the_example_has_every_key_that_is_read_and_any_other_is_refused_by_name() {
    let example: Value = every_key_live().parse::<Table>().unwrap().into();
    let mut tables = Vec::new();
    collect(&example, &mut Vec::new(), &mut tables);
    // one section may stand in the file several times (issuers, certificates): together they must show all of it
    let mut sections: BTreeMap<BTreeSet<String>, BTreeSet<String>> = BTreeMap::new();
    for path in &tables {
        let Some(known) = known_keys(&example, path) else { continue };
        let present = at(&mut example.clone(), path).keys().cloned().collect::<Vec<_>>();
        sections.entry(known).or_default().extend(present);
    }
    for (known, present) in &sections {
        let missing: Vec<_> = known.difference(present).collect();
        assert!(missing.is_empty(), "not in the example: {missing:?}");
    }
    let counts: Vec<usize> = sections.keys().map(BTreeSet::len).collect();
    // root, listen and console, tls, limits, database, identity, issuer, organisation and its claim, roles, actor kind,
    // certificate, policy, audit and its witnesses, privacy and its key, tiles and its reader, cosign and its witness, forward, gate,
    // webhooks, telemetry
    assert_eq!(counts.len(), 25, "{sections:#?}");
}

#[test]
fn beyond_this_machine_the_console_wants_client_certificates() {
    let console = |words: &str| {
        let (before, after) = EXAMPLE.split_once("[console]").unwrap();
        let (_, after) = after.split_once("address = \"127.0.0.1:8444\"").unwrap();
        Config::parse(&format!("{before}[console]\n{words}{after}"))
    };
    let tls = |wants: &str| {
        format!(
            "address = \"0.0.0.0:8444\"\ntls = {{ certificate = \"c.pem\", key = \"k.pem\", client_certificates = \"{wants}\" }}"
        )
    };
    console("address = \"[::1]:8444\"").unwrap();
    console(&tls("required")).unwrap();
    for open in ["address = \"0.0.0.0:8444\"".to_owned(), tls("none"), tls("optional")] {
        let error = console(&open).unwrap_err().to_string();
        assert!(error.contains("anybody who reaches it could read all decisions"), "{error}");
    }
}

#[test]
fn every_key_of_the_example_has_its_comment() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let bare = lines.windows(2).filter(|pair| {
        let is_key = is_default(pair[1]) || pair[1].starts_with(|c: char| c.is_ascii_lowercase());
        let explained = pair[0].starts_with("# ") || pair[1].contains(" # ");
        is_key && !explained
    });
    // `key` beside `certificate`, `client_key` beside `client_certificate`, and what a second block repeats
    let bare: Vec<&str> = bare.map(|pair| pair[1].split(' ').next().unwrap()).collect();
    let elsewhere =
        ["key", "client_key", "issuer", "audiences", "algorithms", "organisation", "roles"];
    for key in &bare {
        assert!(elsewhere.contains(key), "`{key}` is not explained");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let text = EXAMPLE.replace("#queue_max = 8192", "que_max = 8192");
    let line = 1 + text.lines().position(|line| line == "que_max = 8192").unwrap();
    let error = format!("{:#}", Config::parse(&text).unwrap_err());
    assert!(error.contains("unknown field `que_max`"), "{error}");
    assert!(error.contains(&format!("line {line}")), "{error}");
}

/// The example with the `#` taken away from each line that shows a default.
fn every_key_live() -> String {
    let live = |line: &str| {
        format!("{}\n", line.strip_prefix(if is_default(line) { "#" } else { "" }).unwrap())
    };
    EXAMPLE.lines().map(live).collect()
}

/// `#key = value`, without a space after the `#`.
fn is_default(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

enum Step {
    Key(String),
    Item(usize),
}

/// Paths to all tables in the value, the outermost first.
fn collect(value: &Value, path: &mut Vec<Step>, tables: &mut Vec<Vec<Step>>) {
    let clone = |path: &[Step]| {
        let step = |step: &Step| match step {
            Step::Key(key) => Step::Key(key.clone()),
            Step::Item(index) => Step::Item(*index),
        };
        path.iter().map(step).collect()
    };
    match value {
        Value::Table(table) => {
            tables.push(clone(path));
            for (key, inner) in table {
                path.push(Step::Key(key.clone()));
                collect(inner, path, tables);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                path.push(Step::Item(index));
                collect(inner, path, tables);
                path.pop();
            }
        }
        _ => {}
    }
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Table {
    let found = path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Item(index) => &mut value[*index],
    });
    found.as_table_mut().unwrap()
}

/// The keys that may stand in this table, by what the reader says of one that may not; `None`: any key may.
fn known_keys(example: &Value, path: &[Step]) -> Option<BTreeSet<String>> {
    let refusal = |keep: bool| {
        let mut value = example.clone();
        let table = at(&mut value, path);
        if !keep {
            table.clear();
        }
        table.insert(STRANGER.to_owned(), Value::from("x"));
        Config::parse(&toml::to_string(&value).unwrap()).err().map(|error| format!("{error:#}"))
    };
    let mut said = refusal(true)?;
    if !said.contains(", expected ") && !said.contains(AVAILABLE) {
        said = refusal(false)?; // one of several forms: only one key may stand there at all
    }
    assert!(said.contains(STRANGER), "{said}");
    if let Some((_, keys)) = said.split_once(AVAILABLE) {
        return Some(keys.trim().split(", ").map(str::to_owned).collect());
    }
    let (_, keys) = said.split_once(", expected ").unwrap_or_else(|| panic!("{said}"));
    Some(keys.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

const STRANGER: &str = "zzz_stranger";
/// How the toml crate says it of a variant's keys.
const AVAILABLE: &str = ", available keys: ";

/// A process that is stopped within a transaction holds its locks for some seconds, and not until somebody continues it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_transaction_gives_back_what_it_locked() {
    let fresh = fresh_database().await;
    let options = fresh.pool.connect_options();
    let (name, socket) = (options.get_database().unwrap(), options.get_socket().unwrap().display());
    let url = format!("postgres://postgres@localhost/{name}?host={socket}");
    let pool = haetae::config::Database::at(url).pool().await.unwrap();
    let mut silent = pool.begin().await.unwrap();
    let lock = "select version from fact_head for update";
    sqlx::query(lock).execute(&mut *silent).await.unwrap();
    // Waits for the lock, without a limit of its own.
    sqlx::query("update fact_head set version = version + 1").execute(&fresh.pool).await.unwrap();
    assert!(sqlx::query("select 1").execute(&mut *silent).await.is_err(), "its session is over");
}
