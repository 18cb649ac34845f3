//! How the bundle in force changes: only as approvers say, for every replica at one version of the facts, and whoever
//! cannot judge with what is in force refuses.

mod flips;
mod life;
mod promised;
mod shadow;
mod unfit;
mod witnessed;

use std::path::{Path, PathBuf};

use haetae::clock::Clock;
use haetae::mandate::store::{self, Wish};
use haetae::mandate::{Enacted, How, MandateError, Role, Stored};
use haetae::policy::{Bundle, Folder};
use sqlx::PgPool;
use tlog::SigningKey;
use tlog::key::{Kind, Signer as _};

use crate::support::stage::{Stage, eventually};

/// An approver.
pub struct Person {
    key: SigningKey,
    role: Role,
}

/// A data protection officer, an administrator, and a second one.
pub fn people() -> [Person; 3] {
    let person = |name, seed, role| Person {
        key: SigningKey::from_seed(name, Kind::Ed25519, &[seed; 32]).unwrap(),
        role,
    };
    [
        person("park", 1, Role::DataProtection),
        person("kim", 2, Role::PlatformAdministrator),
        person("admin", 3, Role::PlatformAdministrator),
    ]
}

pub async fn register(pool: &PgPool, people: &[Person]) {
    for one in people {
        store::add_approver(pool, one.key.verifier(), one.role, "owner", now()).await.unwrap();
    }
}

/// The policies as they are, and the same with a rule that stops what the stage's retailer does: two bundles that
/// contradict each other on [`crate::support::stage::ORDERS`].
pub fn two_bundles(stage: &Stage) -> [PathBuf; 2] {
    let (open, shut) = (stage.world.dir.join("open"), stage.world.dir.join("shut"));
    for dir in [&open, &shut] {
        copy(&stage.world.sources.policies, dir);
    }
    let pack = shut.join("packs/halt");
    std::fs::create_dir(&pack).unwrap();
    for (file, text) in HALT {
        std::fs::write(pack.join(file), text).unwrap();
    }
    let manifest = std::fs::read_to_string(shut.join("bundle.toml")).unwrap();
    let named = manifest.replace("\"sovereign\",", "\"sovereign\", \"halt\",");
    std::fs::write(shut.join("bundle.toml"), named).unwrap();
    [open, shut]
}

pub async fn propose(pool: &PgPool, dir: &Path) -> Stored {
    let folder = Folder::read(dir).unwrap();
    let bundle = Bundle::of(&folder, now()).await.and_then(Bundle::tried).unwrap();
    keep(pool, &folder, bundle.digest(), bundle.access_digest()).await
}

async fn keep(pool: &PgPool, folder: &Folder, rulebook: &str, access: &str) -> Stored {
    let stored = Stored {
        digest: folder.digest().into(),
        rulebook: rulebook.into(),
        access: access.into(),
        title: "a bundle".into(),
        purpose: "a test".into(),
        proposed_by: "park".into(),
        proposed_at_s: now(),
    };
    store::propose(pool, folder, &stored, &[]).await.unwrap();
    stored
}

/// Waits until the gateway has both bundles at hand.
async fn staged(pool: &PgPool) {
    staged_by(pool, 1).await;
}

/// Waits until this many processes have.
pub async fn staged_by(pool: &PgPool, processes: i64) {
    let staged = "select count(*) from policy_replica where cardinality(staged) = 2";
    eventually("every gateway has loaded both", async || {
        sqlx::query_scalar::<_, i64>(staged).fetch_one(pool).await.unwrap() == processes
    })
    .await;
}

/// Signs and does it.
pub async fn enact(
    pool: &PgPool,
    how: How,
    bundle: &Stored,
    lasts_s: Option<i64>,
    signed: &[&Person],
) -> Result<Enacted, MandateError> {
    let bundle = bundle.clone();
    let (reason, by) = ("a test".into(), WHO.into());
    let wish = Wish { how, bundle, lasts_s, reason, by, at_s: now() };
    let act = store::act(pool, &wish).await?;
    let notes = signed.iter().map(|one| act.sign(&one.key).unwrap()).collect();
    store::enact(pool, &wish, notes).await
}

fn now() -> i64 {
    Clock::system().unix_s()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Who types it.
pub const WHO: &str = "yu-na.choi@op.example";

const HALT: [(&str, &str); 5] = [
    (
        "pack.toml",
        "name = \"halt\"\ntitle = { en = \"Halt\", ko = \"중지\" }\nregimes = []\nreviewed_on = \"2026-11-20\"\n",
    ),
    (
        "rules.csv",
        "p, id, kind, out, regime, flow, to, when, obligations, profiles\np, Z01/1, restrict, deny, *, compute, *, cat:pd:Purchase, -, *\n",
    ),
    (
        "texts.toml",
        "[Z01]\nen = \"Nothing about purchases is computed.\"\nko = \"구매 정보는 처리하지 않습니다.\"\ncitation = \"a test\"\nbasis = [\"house\"]\nmark = \"V\"\nfrom = \"2020-01-01T00:00:00+09:00\"\nreviewed_on = \"2026-11-20\"\n",
    ),
    ("cases.toml", include_str!("mandate/halt.toml")),
    ("README.md", "A test.\n"),
];
