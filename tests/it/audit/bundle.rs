//! A bundle of evidence holds what was asked for and nothing else, says what it lacks, and what a person reads in it a program checks:
//! `docs/verify_more.py`, which lies in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use haetae::audit::Ended;
use sqlx::PgPool;

use super::believed::run;
use super::lab::{Lab, ORIGIN};
use super::shown::{database_url, written};
use crate::support::{fresh_database, python::python};

/// A bundle of these decisions, as it is typed; what was said.
fn exported(pool: &PgPool, ids: &[&str], out: &Path) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
    command.args(["log", "--database", &database_url(pool), "export", "--out"]).arg(out);
    command.args(ids.iter().flat_map(|id| ["--case", id]));
    let ran = command.output().unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    if ran.status.success() { Ok(said) } else { Err(said) }
}

/// Files by their names in a directory.
type Files = BTreeMap<String, Vec<u8>>;

fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if entry.is_dir() {
            found.extend(
                files(&entry).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            found.insert(name, std::fs::read(entry).unwrap());
        }
    }
    found
}

/// What the program in a bundle says of it.
fn checked(bundle: &Files, vkeys: &[String]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in bundle {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut command = Command::new(python());
    command.current_dir(&dir).args(["verify_more.py", "case", "."]).args(vkeys);
    let ran = command.output().unwrap();
    assert_eq!(files(dir.path()).len(), bundle.len(), "nothing is added to evidence");
    (ran.status.code(), String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap())
}

/// The only name that begins and ends so.
fn named(bundle: &Files, begins: &str, ends: &str) -> String {
    let fits = |name: &&String| name.starts_with(begins) && name.ends_with(ends);
    let found: Vec<&String> = bundle.keys().filter(fits).collect();
    assert_eq!(found.len(), 1, "{begins} {ends}: {found:?}");
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_reads_in_a_bundle_a_program_checks() {
    let (lab, decision) = written().await;
    let vkeys = [0, 1].map(|lane| lab.key.vkey(ORIGIN, lane).unwrap());
    let other = haetae::audit::Key::generate().unwrap();
    let strangers = [0, 1].map(|lane| other.vkey(ORIGIN, lane).unwrap());
    let (pool, dir, id) = (lab.stop().await, tempfile::tempdir().unwrap(), decision.to_string());
    exported(&pool, &[&id], &dir.path().join("case")).unwrap();
    let bundle = files(&dir.path().join("case"));
    let (code, said) = checked(&bundle, &vkeys);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "decision: outcome ALLOW, reason ALLOWED_BY_RULE, site kr-seo-1",
        "started: identity spiffe://kr-op.example/site/kr-seo-1",
        "ended: how not_forwarded, why test",
    ] {
        assert!(said.contains(&format!("{id}: {line}\n")), "{said}");
    }
    assert!(said.contains("right: 3 records of 1 decisions, with their texts"), "{said}");
    let (code, said) = checked(&bundle, &strangers);
    assert!(code == Some(1) && said.contains("no key given here signed"), "{said}");

    let record = named(&bundle, &format!("{id}/decision-"), ".json");
    let facts = named(&bundle, "texts/facts-", ".json");
    let end = named(&bundle, &format!("{id}/ended-"), ".json");
    let proof = end.replace(".json", ".tlog-proof");
    let change = |change: &dyn Fn(&mut Files)| {
        let mut changed = bundle.clone();
        change(&mut changed);
        checked(&changed, &vkeys)
    };
    let replaced = |name: &str, from: &str, to: &str| {
        change(&|files| {
            let text = String::from_utf8(files[name].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            files.insert(name.to_owned(), text.replace(from, to).into_bytes());
        })
    };
    let moved = |from: &str, to: &str| {
        change(&|files| {
            let bytes = files.remove(from).unwrap();
            files.insert(to.to_owned(), bytes);
        })
    };
    for ((code, said), about) in [
        (replaced(&record, "ALLOW", "DENY"), "not what the record in"),
        (replaced(&facts, "KR", "JP"), "not what the record in"),
        (replaced(&proof, "index ", "index 1"), "WRONG: "),
        (moved(&facts, "facts.json"), "no record is or names ['facts.json']"),
        (moved(&end, "ended.json"), "missing"),
        (moved(&proof, &proof.replace("ended-", "started-9")), "the record in it is another one"),
        (
            change(&|files| drop(files.insert("texts/notes.json".into(), vec![]))),
            "['texts/notes.json']",
        ),
        (
            change(&|files| files.retain(|name, _| !name.contains("/decision-"))),
            "no record is or names",
        ),
        (change(&|files| files.retain(|name, _| !name.contains('/'))), "there is no proof in it"),
    ] {
        assert!(code == Some(1) && said.contains(about), "{about}: {said}");
    }
    let (code, said) = change(&|files| files.retain(|name, _| !name.contains("/ended-")));
    assert!(code == Some(3) && said.contains(&format!("{id}: NO END: ")), "{said}");
    let (code, said) = change(&|files| drop(files.remove(&facts)));
    assert!(
        code == Some(3) && said.contains(&format!("{id}: NO TEXT: {facts} is not here")),
        "{said}"
    );
}

/// What a link leads to is no evidence that was handed out, and a pipe never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_a_bundle_is_named_and_nothing_behind_it_is_read() {
    let (lab, decision) = written().await;
    let vkeys = [0, 1].map(|lane| lab.key.vkey(ORIGIN, lane).unwrap());
    let (pool, dir, id) = (lab.stop().await, tempfile::tempdir().unwrap(), decision.to_string());
    let case = dir.path().join("case");
    exported(&pool, &[&id], &case).unwrap();
    let bundle = files(&case);
    for (begins, ends) in [(&*id, ".tlog-proof"), (&id, ".json"), ("texts/", ".json")] {
        let name = bundle.keys().find(|name| name.starts_with(begins) && name.ends_with(ends));
        let name = name.unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(case.join(name), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, case.join(name)).unwrap();
        let mut command = Command::new(python());
        let ran = command.current_dir(&case).args(["verify_more.py", "case", "."]).args(&vkeys);
        let ran = ran.output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("links, or no plain files: ['{name}']")), "{said}");
        std::fs::rename(&elsewhere, case.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_whose_end_was_not_found_is_said_to_be_one() {
    let (lab, decision) = written().await;
    let vkeys = [0, 1].map(|lane| lab.key.vkey(ORIGIN, lane).unwrap());
    let (pool, dir, id) = (lab.stop().await, tempfile::tempdir().unwrap(), decision.to_string());
    let told = |name: &str| {
        let out = dir.path().join(name);
        let said = exported(&pool, &[&id], &out).unwrap();
        let readme = std::fs::read_to_string(out.join("README.md")).unwrap();
        (said, readme, checked(&files(&out), &vkeys))
    };
    let (said, readme, (code, _)) = told("whole");
    assert!(readme.contains("**What is not here.** Each allow has its `ended` here"), "{readme}");
    assert!(!said.contains("no `ended` was found") && code == Some(0), "{said}");
    run(&pool, "delete from row_ended").await;
    run(&pool, "delete from row_started").await;
    let (said, readme, (code, checked)) = told("without");
    let en = format!("Of decision `{id}`, an allow, no `ended` was found");
    assert!(said.contains(&en) && readme.contains(&format!("- {en}")), "{said}{readme}");
    assert!(
        readme.contains(&format!("- 허용인 결정 `{id}`의 `ended`를 찾지 못했습니다.")),
        "{readme}"
    );
    assert!(code == Some(3) && checked.contains("NO END"), "{checked}");

    // Purged, as texts are when their time is over.
    run(&pool, "delete from log_text where kind = 'facts'").await;
    let (said, _, (code, checked)) = told("purged");
    assert!(
        said.contains(&format!("The text `facts` of decision `{id}` is no longer kept")),
        "{said}"
    );
    assert!(
        code == Some(3) && checked.contains(&format!("{id}: NO TEXT: texts/facts-")),
        "{checked}"
    );
    assert!(checked.contains("part: 1 records of 1 decisions, with what is here of their texts"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_lies_about_is_handed_out_with_it() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let id = lab.deny().await.unwrap().id.to_string();
    let allow = lab.allow().await.proof().id.clone();
    lab.audit.ended(Ended::not_forwarded(allow, "test"));
    lab.projected().await;
    let (pool, dir) = (lab.stop().await, tempfile::tempdir().unwrap());
    let (out, part) = (dir.path().join("case"), dir.path().join("case.part"));
    // An export for another organisation that was stopped.
    std::fs::create_dir_all(part.join("another")).unwrap();
    std::fs::write(part.join("another/decision-0-1.json"), "another's").unwrap();
    let refused = exported(&pool, &[&id], &out).unwrap_err();
    assert!(
        refused.contains("case.part` is there already: an export that was stopped"),
        "{refused}"
    );
    assert!(!out.exists() && part.join("another/decision-0-1.json").exists());
    std::fs::remove_dir_all(&part).unwrap();
    exported(&pool, &[&id], &out).unwrap();
    let found = files(&out);
    assert!(!found.keys().any(|name| name.contains("another")) && !part.exists(), "{found:?}");
    let refused = exported(&pool, &[&id], &out).unwrap_err();
    assert!(refused.contains("case` is there already: name a directory"), "{refused}");
}
