//! `haetae registry` does what it says to a database, and says what is wrong before it touches one.

use std::path::Path;

use clap::Parser;
use haetae::cli::registry::{Args, run};
use haetae::registry::{Sort, store};
use sqlx::ConnectOptions;

use crate::support::{Fresh, fresh_database};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

#[tokio::test]
async fn apply_add_suspend_and_look() {
    let fresh = fresh_database().await;
    for words in [
        ["check", "registry-example"].as_slice(),
        &["apply", "registry-example"],
        &["ground", "add", "ground-example.toml"],
        &["authority", "add", "authority-example.toml"],
        &["show"],
        &["show", "ground"],
    ] {
        typed(&fresh, words).await.unwrap();
    }
    assert_eq!(store::head(&fresh.pool).await.unwrap(), 3);
    typed(&fresh, &["ground", "suspend", "kr-retailer.va-2026"]).await.unwrap();
    typed(&fresh, &["history", "kr-retailer.va-2026"]).await.unwrap();
    let ground = store::show(&fresh.pool, Some(Sort::Ground)).await.unwrap().pop().unwrap();
    assert_eq!(ground.id, "kr-retailer.va-2026");
    assert_eq!(ground.document["suspended"], true);
    assert_eq!((ground.from, ground.applied_by.as_str()), (4, "kim"));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let fresh = fresh_database().await;
    let cases = [
        (
            ["show", "grund"].as_slice(),
            "`grund` is no kind of entry: write one of organisation, site, dataset, ground, order, list, outside, authority, access_row, role_grant",
        ),
        (&["history", "nobody"], "nothing called `nobody` was ever registered"),
        (&["ground", "suspend", "nobody"], "ground `nobody` is not registered"),
        (&["ground", "add", "ground-example.toml"], "organisation `kr-retailer` is not registered"),
    ];
    for (words, said) in cases {
        assert_eq!(typed(&fresh, words).await.unwrap_err().to_string(), said, "{words:?}");
    }
    let error = typed(&fresh, &["ground", "add", "order-example.toml"]).await.unwrap_err();
    assert!(
        error.to_string().contains("order-example.toml:4: unknown key `authority` in a ground")
    );
    let line = ["it", "--config", "/no/such/haetae.toml", "show"];
    let error = run(Line::parse_from(line).args).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "say which database: `--database postgres://..`, HAETAE_REGISTRAR_URL, or `--config FILE`"
    );
}

/// The words after `haetae registry`, with paths under `deploy/`.
async fn typed(fresh: &Fresh, words: &[&str]) -> anyhow::Result<()> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let url = fresh.options.to_url_lossy().to_string();
    let words = words.iter().map(|word| {
        let path = deploy.join(word);
        if path.exists() { path.display().to_string() } else { (*word).to_owned() }
    });
    let line = ["it", "--database", &url, "--by", "kim"].map(ToOwned::to_owned);
    run(Line::parse_from(line.into_iter().chain(words)).args).await.map(drop)
}
