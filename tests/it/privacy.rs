//! The commands by which what is kept of people is shown and destroyed, on a running gateway, as persons type them; and what a
//! reader does with what was shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use haetae::audit::Key;
use haetae_verify::{Trust, disclosed, single};
use serde_json::Value;

use crate::support::python::python;
use crate::support::stage::{CHAT, Stage, chat, eventually, leaves};

/// What a command of the gateway's machine says, and whether it succeeded.
fn haetae(stage: &Stage, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
    let output =
        command.args(["audit"]).args(words).current_dir(&stage.world.dir).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_shown_to_one_reader_then_erased_by_two_persons() {
    let stage = Stage::shared().await;
    let name = "ha-eun.seo@kr-retailer.example";
    let answer = stage
        .person("kr-retailer", name, &["user"])
        .post(CHAT, &[], chat().to_string().as_bytes())
        .await;
    let id = answer.header("haetae-decision").unwrap().to_owned();
    let parts = stage.console("/readyz").await.json();
    let part =
        parts["parts"].as_array().unwrap().iter().find(|part| part["name"] == "privacy").unwrap();
    assert!(
        part["cause"].as_str().unwrap().ends_with("sealed under the master key `demo`"),
        "{part}"
    );

    // Shown, once the record is under a checkpoint: and that it was shown is in the log.
    let dir = stage.world.dir.join("case-17");
    let out = dir.to_str().unwrap();
    let disclose = [
        "--by",
        "kim",
        "disclose",
        &id,
        "--field",
        "actor",
        "--to",
        "inspector@pipc.example",
        "--reason",
        "case 2026-17",
        "--out",
        out,
    ];
    eventually("the record can be proven", async || haetae(stage, &disclose).0).await;
    assert!(!haetae(stage, &disclose).0, "a directory that is there is not written into");
    let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "no other login of the machine looks into it");
    let record = a_reader_opens(stage, &dir, &id, name);
    the_log_says_so(stage, &record).await;

    two_erase(stage, name).await;
    let again = [&disclose[..11], &["case-18"]].concat();
    let (shown, said) = haetae(stage, &again);
    assert!(!shown && said.contains("nothing is kept behind the digest"), "{said}");
    let (done, said) = haetae(stage, &["--by", "kim", "rewrap"]);
    assert!(done && said.contains("0 data keys are wrapped anew"), "{said}");
    let forget = ["--by", "kim", "forget", "--master", "demo", "--reason", "leaked, incident 9"];
    let (done, said) = haetae(stage, &forget);
    assert!(done && said.contains("no key is kept as it was under `demo`"), "{said}");
}

/// What a reader does with what was shown, in two implementations; gives the record.
fn a_reader_opens(stage: &Stage, dir: &Path, id: &str, name: &str) -> Value {
    let (proof, document) = (dir.join("record.tlog-proof"), dir.join("actor.json"));
    let text = std::fs::read_to_string(&proof).unwrap();
    let leaf = single::leaf(&text).unwrap();
    let record: Value = serde_json::from_slice(&leaf).unwrap();
    let lane = u16::try_from(record["lane"].as_u64().unwrap()).unwrap();
    let key = Key::read(&stage.world.dir.join("log.key")).unwrap();
    let vkey = key.vkey(haetae::demo::gateway::ORIGIN, lane).unwrap();
    assert_eq!(single::check(&text, &Trust::Keys(vec![vkey.parse().unwrap()])).unwrap().id, id);
    let shown = disclosed::check(&std::fs::read(&document).unwrap(), &leaf).unwrap();
    assert_eq!((&*shown.id, &shown.values[..]), (id, &[name.to_owned()][..]));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify_more.py");
    let second = |document: &Path| {
        let output = Command::new(python())
            .args([script, "disclosed"])
            .arg(document)
            .arg(&proof)
            .arg(&vkey)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    assert!(second(&document).0 && second(&document).1.contains(name), "{:?}", second(&document));
    let plain = std::fs::read_to_string(&document).unwrap();
    std::fs::write(&document, plain.replace("\"v\":1", "\"v\":2")).unwrap();
    assert!(second(&document).1.contains("no disclosure of version 1"), "{:?}", second(&document));
    let changed = plain.replace("ha-eun", "ha-yun");
    std::fs::write(&document, changed).unwrap();
    assert!(!second(&document).0, "{:?}", second(&document));
    record
}

async fn the_log_says_so(stage: &Stage, record: &Value) {
    let pool = stage.pool().await;
    let told = async |kind: &str| -> Vec<Value> {
        leaves(&pool).await.into_iter().filter(|leaf| leaf["kind"] == kind).collect()
    };
    // Whoever fetches records over HTTP is told as well.
    let disclosed_ones = async || -> Vec<Value> {
        told("read").await.into_iter().filter(|leaf| leaf["act"] == "disclosed").collect()
    };
    eventually("the disclosure is recorded", async || disclosed_ones().await.len() == 1).await;
    let read = disclosed_ones().await.remove(0);
    assert_eq!((&read["record"], &read["field"]), (&record["id"], &"actor".into()));
    assert_eq!(read["people"].as_array().unwrap().len(), 2);
}

/// One asks, another confirms with a login of her own; everything else is refused, or is nothing.
async fn two_erase(stage: &Stage, name: &str) {
    let pool = stage.pool().await;
    let login = "create role lee login in role haetae_privacy";
    sqlx::query(login).execute(&pool).await.unwrap();
    let options = pool.connect_options();
    let (database, socket) =
        (options.get_database().unwrap(), options.get_socket().unwrap().display());
    let hers = format!("postgres://lee@localhost/{database}?host={socket}");
    let subject = ["--subject", name, "--org", "kr-retailer"];
    let ask = [&["--by", "kim", "erase"][..], &subject, &["--reason", "request 31"]].concat();
    let (asked, said) = haetae(stage, &ask);
    let erasure = said
        .split("erasure ")
        .nth(1)
        .and_then(|rest| rest.get(..36))
        .unwrap_or_default()
        .to_owned();
    assert!(asked && erasure.len() == 36, "{said}");
    let confirm = |login: &[&str], by: &str| {
        let act = ["--by", by, "erase"];
        let words = [login, &act, &subject, &["--confirm", &erasure, "--later"]].concat();
        haetae(stage, &words)
    };
    let (done, said) = confirm(&[], "lee");
    assert!(!done && said.contains("with another login"), "{said}");
    let hers = ["--database", &hers];
    let (done, said) = confirm(&hers, "kim");
    assert!(!done && said.contains("somebody else must"), "{said}");
    let (done, said) = confirm(&hers, "lee");
    assert!(done && said.contains("erased: 1 values and 1 data keys"), "{said}");
    let (done, said) = confirm(&hers, "lee");
    assert!(done && said.contains("erased already"), "{said}");
    let (done, said) = haetae(stage, &ask);
    assert!(done && said.contains("nothing was done"), "{said}");
}
