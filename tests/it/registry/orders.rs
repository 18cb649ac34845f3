//! Orders: what an authority signed is checked against its registered key and shown, a bad signature enters nothing, an
//! order is never rewritten, and who may end it depends on who signed it.

use std::sync::OnceLock;

use clap::Parser;
use haetae::cli::order::{Args, run};
use haetae::registry::Sort;
use haetae::registry::orders::store::{Brought, OnFile, add, end, list};
use haetae::registry::orders::{end_text, text};
use haetae::registry::store::{self, apply, put_authority};
use haetae::registry::tree::{Entry, parse, parse_one};
use serde_json::Value as Json;
use sqlx::{ConnectOptions, PgPool};
use tlog::key::Kind;
use tlog::{Note, SigningKey};
use verdict::stamp::Stamp;

use super::{example, example_files};
use crate::support::{Fresh, fresh_database};

const NOW: i64 = 1_795_000_000;

#[test]
fn the_text_of_an_order_says_everything_that_it_does() {
    assert_eq!(text(&order().document), include_str!("orders/narrow.txt"));
    let wide = parse_one(Sort::Order, "o.toml", WIDE).unwrap();
    assert_eq!(text(&wide.document), include_str!("orders/wide.txt"));
    let at = Stamp::parse("2027-01-01T00:00:00+09:00").unwrap();
    assert_eq!(end_text(&wide.document, &at), include_str!("orders/end.txt"));
}

#[tokio::test]
async fn a_signature_is_checked_before_an_order_is_entered() {
    let pool = registered().await;
    let order = order();
    let kinder = text(&order.document).replace("kind: suspend", "kind: hold");
    let unknown = SigningKey::from_seed("pipc.example", Kind::Ed25519, &[9; 32]).unwrap();
    // The right text under a signature for another.
    let other = sign(key(), &kinder);
    let line = other.lines().last().unwrap();
    let forged = format!("{}\n{line}\n", text(&order.document));
    for (note, said) in [
        ("id: x\n".to_owned(), "not a signed note (C2SP signed-note): the text, an empty line, then lines that begin with `\u{2014} `".to_owned()),
        (sign(key(), &kinder), "what was signed is something else: line 4 of the note says `kind: hold`, and the order `kind: suspend`".into()),
        (sign(&unknown, &text(&order.document)), format!(
            "no registered key of authority `PIPC` signed it: registered are `{}`, the note has signatures of `{}`", short(key()), short(&unknown)
        )),
        (forged, "the signature of `pipc.example` does not fit the text: the text was changed after it was signed, or another key signed under that name".into()),
    ] {
        let brought = Brought { note: Some(&note), who: "kim", now: NOW };
        let error = add(&pool, &order, brought).await.unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    assert_eq!(store::show(&pool, Some(Sort::Order)).await.unwrap(), [], "nothing was entered");
    assert_eq!(acts(&pool).await, Vec::<Json>::new());

    let stranger = parse_one(Sort::Order, "o.toml", &NARROW.replace("PIPC", "ICO")).unwrap();
    let note = sign(key(), &text(&stranger.document));
    let brought = Brought { note: Some(&note), who: "kim", now: NOW };
    let error = add(&pool, &stranger, brought).await.unwrap_err().to_string();
    assert!(error.starts_with("authority `ICO` is not registered"), "{error}");
}

#[tokio::test]
async fn a_signed_order_is_shown_as_such_and_only_its_authority_ends_it() {
    let pool = registered().await;
    let order = order();
    // Unsigned at first: the signature may come later, and takes a version of its own.
    let (applied, signed) = add(&pool, &order, brought(None)).await.unwrap();
    assert_eq!((applied.version, signed), (3, None));
    assert!(on_file(&pool).await.signed.is_none());
    let note = sign(key(), &text(&order.document));
    let (applied, signed) = add(&pool, &order, brought(Some(&note))).await.unwrap();
    assert_eq!((applied.version, signed.unwrap().key), (4, short(key())));
    let (applied, _) = add(&pool, &order, brought(Some(&note))).await.unwrap();
    assert!(applied.is_nothing(), "once is enough");
    assert_eq!(on_file(&pool).await.signed.unwrap().unwrap().key, short(key()));

    let rewritten = parse_one(Sort::Order, "o.toml", &NARROW.replace("suspend", "hold")).unwrap();
    let error = add(&pool, &rewritten, brought(None)).await.unwrap_err().to_string();
    assert!(error.contains("an order is not rewritten"), "{error}");

    let at = Stamp::at(NOW + 60).unwrap();
    for (at, with, note, said) in [
        (&at, "kim", None, "an order is ended by two different people".to_owned()),
        (&Stamp::at(NOW - 1).unwrap(), "lee", None, "is past: an order ends now or later".into()),
        (&at, "lee", None, "order `o-1` was signed by `PIPC`: only what it signs ends it".into()),
        (&at, "lee", Some(&note), "line 1 of the note says `haetae order v1`".into()),
    ] {
        let brought = brought(note.map(String::as_str));
        let error = end(&pool, "o-1", at, with, brought).await.unwrap_err().to_string();
        assert!(error.contains(&said), "{error}");
    }
    let end_note = sign(key(), &end_text(&order.document, &at));
    let (applied, _) = end(&pool, "o-1", &at, "lee", brought(Some(&end_note))).await.unwrap();
    assert_eq!(applied.version, 5);
    let last = on_file(&pool).await;
    assert_eq!(last.document["until"], at.as_str());
    assert_eq!(last.ended_by.as_deref(), Some(&*end_note));
    assert!(last.signed.unwrap().is_ok(), "what was signed is the order as it was entered");
    let later = Stamp::at(NOW + 61).unwrap();
    let error = end(&pool, "o-1", &later, "lee", brought(None)).await.unwrap_err().to_string();
    assert!(error.contains("it can be ended earlier, not later"), "{error}");

    // Another key from now on: what was signed with the old one stays signed.
    let other = SigningKey::from_seed("pipc.example", Kind::Ed25519, &[9; 32]).unwrap();
    put_authority(&pool, &authority(&other), "kim").await.unwrap();
    assert!(on_file(&pool).await.signed.unwrap().is_ok());
    let told = acts(&pool).await;
    let brief: Vec<_> =
        told.iter().map(|act| (&act["act"], &act["fact_version"], &act["signed_by"])).collect();
    let by = Json::from(short(key()));
    assert_eq!(
        brief,
        [
            (&"added".into(), &3.into(), &Json::Null),
            (&"added".into(), &4.into(), &by),
            (&"ended".into(), &5.into(), &by),
        ]
    );
    assert_eq!((&told[0]["unsigned"], &told[1]["signed"]), (&true.into(), &true.into()));
}

#[tokio::test]
async fn a_note_that_is_changed_in_the_database_no_longer_holds() {
    let fresh = fresh_database().await;
    prepare(&fresh.pool).await;
    let order = order();
    let note = sign(key(), &text(&order.document));
    add(&fresh.pool, &order, brought(Some(&note))).await.unwrap();
    assert!(typed(&fresh, &["list"]).await.is_ok());
    sqlx::query("update registry_entry set document = jsonb_set(document, '{kind}', '\"hold\"') where sort = 'order'")
        .execute(&fresh.pool)
        .await
        .unwrap();
    assert!(on_file(&fresh.pool).await.signed.unwrap().is_err());
    let code = typed(&fresh, &["list"]).await.unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::FAILURE));
}

#[tokio::test]
async fn no_directory_changes_or_removes_an_order_that_was_entered_by_itself() {
    let pool = registered().await;
    add(&pool, &order(), brought(None)).await.unwrap();
    let mut files = example_files();
    files.insert("orders/o-1.toml".into(), NARROW.to_owned());
    apply(&pool, &parse(&files).unwrap(), "kim").await.unwrap();
    apply(&pool, &example(), "kim").await.unwrap();
    assert_eq!(store::show(&pool, Some(Sort::Order)).await.unwrap().len(), 1);
    // One that is the directory's is told of all the same.
    files.insert("orders/o-2.toml".into(), NARROW.replace("o-1", "o-2"));
    apply(&pool, &parse(&files).unwrap(), "kim").await.unwrap();
    apply(&pool, &example(), "kim").await.unwrap();
    let told: Vec<_> =
        acts(&pool).await.iter().map(|act| (act["act"].clone(), act["order"].clone())).collect();
    assert_eq!(
        told,
        [("added", "o-1"), ("added", "o-2"), ("removed", "o-2")]
            .map(|(act, id)| (act.into(), id.into()))
    );
}

#[tokio::test]
async fn the_commands_sign_enter_show_and_end() {
    let fresh = fresh_database().await;
    prepare(&fresh.pool).await;
    let dir = std::env::temp_dir().join(format!("haetae-orders-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let order_file = file("order.toml", NARROW);
    let note = file("order.note", &sign(key(), &text(&order().document)));
    let late = file("late.toml", &NARROW.replace("\"never\"", "\"2026-02-01\""));
    let error = typed(&fresh, &["add", &late]).await.unwrap_err().to_string();
    assert!(error.contains("ended on 2026-02-01 before it was entered"), "{error}");
    typed(&fresh, &["text", &order_file]).await.unwrap();
    typed(&fresh, &["add", &order_file, "--signed", &note]).await.unwrap();
    typed(&fresh, &["add", &order_file, "--signed", &note]).await.unwrap();
    typed(&fresh, &["list"]).await.unwrap();
    typed(&fresh, &["show", "o-1"]).await.unwrap();
    let at = "2096-01-01T00:00:00Z";
    typed(&fresh, &["end", "o-1", "--at", at, "--print"]).await.unwrap();
    let error = typed(&fresh, &["end", "o-1", "--at", at, "--with", "lee"]).await.unwrap_err();
    assert!(error.to_string().contains("was signed by `PIPC`"), "{error}");
    let end = end_text(&order().document, &Stamp::parse(at).unwrap());
    let end = file("end.note", &sign(key(), &end));
    typed(&fresh, &["end", "o-1", "--at", at, "--with", "lee", "--signed", &end]).await.unwrap();
    let error = typed(&fresh, &["show", "o-9"]).await.unwrap_err().to_string();
    assert_eq!(error, "order `o-9` is not registered");
    let error = typed(&fresh, &["end", "o-1", "--at", "2096-01-01", "--with", "lee"]).await;
    assert!(error.unwrap_err().to_string().contains("is a day: say the instant"));
    std::fs::remove_dir_all(&dir).unwrap();
}

fn order() -> Entry {
    parse_one(Sort::Order, "o.toml", NARROW).unwrap()
}

fn authority(key: &SigningKey) -> Entry {
    let vkey = tlog::Signer::verifier(key).to_string();
    let text = format!("id = \"PIPC\"\nkeys = [\"{vkey}\"]\n");
    parse_one(Sort::Authority, "a.toml", &text).unwrap()
}

async fn registered() -> PgPool {
    let pool = fresh_database().await.pool;
    prepare(&pool).await;
    pool
}

async fn prepare(pool: &PgPool) {
    apply(pool, &example(), "kim").await.unwrap();
    put_authority(pool, &authority(key()), "kim").await.unwrap();
}

fn brought(note: Option<&str>) -> Brought<'_> {
    Brought { note, who: "kim", now: NOW }
}

async fn on_file(pool: &PgPool) -> OnFile {
    let mut orders = list(pool, None).await.unwrap();
    assert_eq!(orders.len(), 1);
    orders.remove(0)
}

/// What the log will tell, in order.
async fn acts(pool: &PgPool) -> Vec<Json> {
    let select = "select body from log_outbox where kind = 'order' order by n";
    sqlx::query_scalar(select).fetch_all(pool).await.unwrap()
}

fn sign(key: &SigningKey, text: &str) -> String {
    Note::sign(text.to_owned(), key).unwrap().to_string()
}

fn short(key: &SigningKey) -> String {
    let key = tlog::Signer::verifier(key);
    format!("{}+{:08x}", key.name(), key.id())
}

fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_seed("pipc.example", Kind::Ed25519, &[7; 32]).unwrap())
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The words after `haetae order`.
async fn typed(fresh: &Fresh, words: &[&str]) -> anyhow::Result<std::process::ExitCode> {
    let url = fresh.options.to_url_lossy().to_string();
    let line = ["it", "--database", &url, "--by", "kim"];
    run(Line::parse_from(line.iter().chain(words)).args).await
}

const NARROW: &str = r#"
id = "o-1"
authority = "PIPC"
legal_basis = "PIPA Art. 28-9"
kind = "suspend"
effective_from = "2026-01-01T00:00:00+09:00"
until = "never"
entered_by = ["kim", "lee"]

[match]
regimes = ["KR.PIPA"]
to = ["US", "IN"]
"#;

const WIDE: &str = r#"
id = "o-2"
authority = "개인정보보호위원회"
legal_basis = "PIPA Art. 28-9"
kind = "prohibit"
effective_from = "2026-01-01"
until = "2026-12-31"
received_at = "2025-12-30"
entered_by = ["kim", "lee"]
match = {}
"#;
