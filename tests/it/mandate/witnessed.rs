//! A rule demands that witnesses cosign the record first: nothing moves before they did, the caller and the site get the
//! receipt that shows it, and without them it is refused and on record.

use std::path::PathBuf;

use haetae::audit::Key;
use haetae::demo::gateway::ORIGIN;
use tlog::{Hash, Policy};

use super::{HALT, copy};
use crate::support::stage::{Answer, CHAT, ORDERS, SEOUL, Stage, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_before_the_witnesses_that_a_rule_demands() {
    let mut stage = Stage::start().await;
    let (policies, bundle) = (stage.world.sources.policies.clone(), demanding(&stage));
    let line = |dir: &PathBuf| format!("dir = {:?}", dir.to_str().unwrap());
    configure(&mut stage, |text| {
        let named = text.replace(&line(&policies), &line(&bundle));
        assert_ne!(named, text);
        named
    })
    .await;

    // Nobody is configured as a witness: refused at once.
    let refused = ask(&stage).await;
    is_refused(&stage, &refused).await;
    assert_eq!(stage.sites().arrived().await.0, 0, "nothing was forwarded");

    let (dir, key) =
        (tempfile::tempdir().unwrap(), Key::read(&stage.world.dir.join("log.key")).unwrap());
    let vkey = |lane| format!("log {}\n", key.vkey(ORIGIN, lane).unwrap());
    let logs = format!("{}{}", vkey(0), vkey(1));
    let settings = crate::witness::config(dir.path(), &logs);
    let running = haetae::app::witness::start(settings).await.unwrap();
    let witness = crate::witness::vkey();
    let trust = format!("{logs}witness w {witness}\nquorum w\n");
    std::fs::write(stage.world.dir.join("witnesses.policy"), &trust).unwrap();
    let url = format!("http://{}", running.address());
    configure(&mut stage, |text| {
        format!(
            "{text}\n[cosign]\nwitnesses = [{{ vkey = \"{witness}\", url = \"{url}\" }}]\n\
             [audit.witnessed]\ntrust = \"witnesses.policy\"\nwait_ms_max = 20000\n"
        )
    })
    .await;
    let trust: Policy = trust.parse().unwrap();
    let allowed = ask(&stage).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    assert_eq!(allowed.header("haetae-grade"), Some("witnessed"));
    let leaf = stage.leaf(allowed.header("haetae-decision").unwrap()).await;
    let trusted = allowed.receipt();
    assert_eq!(trusted.verify(&Hash::leaf(&leaf), &trust).unwrap().witnessed.len(), 1);
    let record = stage.record_of(&allowed).await;
    assert_eq!(
        (&record["grade"], &record["outcome"]),
        (&"witnessed".into(), &"ALLOW_WITH_OBLIGATIONS".into())
    );
    assert_eq!(stage.sites().arrived().await.0, 1);

    // What the rule does not speak of waits for nobody.
    let other =
        stage.caller("kr-retailer").post(CHAT, &[SEOUL], chat().to_string().as_bytes()).await;
    assert_eq!((other.status, other.header("haetae-grade")), (200, Some("logged")));
    assert!(stage.record_of(&other).await.get("grade").is_none());

    // The witness goes away: the answer waits as long as the configuration says, and is refused.
    running.stop().await;
    configure(&mut stage, |text| text.replace("wait_ms_max = 20000", "wait_ms_max = 300")).await;
    let refused = ask(&stage).await;
    is_refused(&stage, &refused).await;
}

async fn ask(stage: &Stage) -> Answer {
    let caller = stage.caller("kr-retailer");
    caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await
}

/// 503 with the record's proof, and the decision is ended as not forwarded.
async fn is_refused(stage: &Stage, answer: &Answer) {
    assert_eq!((answer.status, &*answer.code()), (503, "not_witnessed"), "{}", answer.text());
    assert_eq!(answer.header("haetae-grade"), Some("logged"));
    assert!(answer.header("retry-after").is_some());
    let id = answer.header("haetae-decision").unwrap();
    let pool = stage.pool().await;
    eventually("its end is on record", async || {
        let all = leaves(&pool).await;
        let end = all.iter().find(|leaf| leaf["kind"] == "ended" && leaf["decision"] == id);
        end.is_some_and(|end| end["how"] == "not_forwarded" && end["why"] == "not_witnessed")
    })
    .await;
}

/// Other settings, and the gateway again.
async fn configure(stage: &mut Stage, change: impl Fn(&str) -> String) {
    let world = &mut stage.world;
    world.gateway.terminate();
    assert!(world.gateway.ended().await.unwrap().success());
    let path = world.dir.join("haetae.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(&text)).unwrap();
    world.restart_gateway().await.unwrap();
}

/// The policies with a rule that wants witnesses for whatever is about purchases.
fn demanding(stage: &Stage) -> PathBuf {
    let dir = stage.world.dir.join("demanding");
    copy(&stage.world.sources.policies, &dir);
    let pack = dir.join("packs/halt");
    std::fs::create_dir(&pack).unwrap();
    for (file, text) in HALT {
        let text = text
            .replace(
                "deny, *, compute, *, cat:pd:Purchase, -",
                "oblige, *, compute, *, cat:pd:Purchase, WITNESSED_RECEIPT",
            )
            .replace(
                "expect = \"DENY\"\n[case.twin]",
                "expect = \"ALLOW_WITH_OBLIGATIONS\"\n[case.twin]",
            );
        std::fs::write(pack.join(file), text).unwrap();
    }
    let words = dir.join("vocabulary.toml");
    let text = std::fs::read_to_string(&words).unwrap() + MEANS;
    std::fs::write(words, text).unwrap();
    let manifest = std::fs::read_to_string(dir.join("bundle.toml")).unwrap();
    let named = manifest.replace("\"sovereign\",", "\"sovereign\", \"halt\",");
    std::fs::write(dir.join("bundle.toml"), named).unwrap();
    dir
}

/// What the code means, as each that a rule names must say.
const MEANS: &str = r#"
[obligations.WITNESSED_RECEIPT]
en = "Forward nothing before witnesses have cosigned the record."
ko = "증인이 기록에 함께 서명하기 전에는 아무것도 전달하지 않습니다."
source = "a test; the gateway does it itself"
mark = "V"
every = "once"
check = "records"
"#;
