//! The log as others read it (C2SP tlog-tiles): every tile of the specification's worked example and of the sizes round
//! its edges, served as it says; another implementation proves records from them; entries only for readers.

use std::collections::HashMap;
use std::sync::Arc;

use haetae::audit::Key;
use haetae::caller::{Callers, Connection, PeerCertificate};
use haetae::clock::Clock;
use haetae::demo::gateway::SUPERVISOR;
use haetae::demo::issuer::{Bearer, Mint};
use haetae::tiles::{Config, Tiles};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use jsonwebtoken::Algorithm;
use serde_json::json;
use sha2::Digest as _;
use sqlx::PgPool;
use tlog::tile::{self, Edge, Id, Resource, WIDTH};
use tlog::{Checkpoint, Frontier, Hash, Note, SigningKey, VerifierKey, key::Kind};

use crate::audit::{self, lab::Lab};
use crate::support::{
    fresh_database,
    python::python,
    served::Served,
    stage::{Answer, CHAT, Stage, chat, eventually, plain_http},
};

/// A log written by hand, so that it can have any size, and what serves it.
struct Log {
    pool: PgPool,
    key: SigningKey,
    frontier: Frontier,
    edge: Edge,
    leaves: Vec<Hash>,
    tiles: Tiles,
}

impl Log {
    async fn new() -> Self {
        let pool = fresh_database().await.pool;
        let config: Config = serde_json::from_value(json!({
            "listen": { "address": "127.0.0.1:0" },
            "readers": [{ "organisation": "supervisor", "role": "auditor" }],
        }))
        .unwrap();
        let who = |name: &str, organisation: &str, roles: &[&str]| json!({ "dns": name, "organisation": organisation, "roles": roles });
        let callers = json!({ "certificates": [
            who("auditor.example", "supervisor", &["auditor"]),
            who("clerk.example", "supervisor", &["user"]),
            who("auditor.bank.example", "bank", &["auditor"]),
        ] });
        let callers = serde_json::from_value(callers).unwrap();
        let callers = Callers::new(&callers, Clock::system()).await.unwrap();
        let tiles = Tiles::new(&config, ORIGIN, pool.clone(), Arc::new(callers));
        let insert = "insert into log_head (lane, origin, frontier, root) values (3, $1, $2, $3)";
        let frontier = Frontier::new();
        sqlx::query(insert)
            .bind(format!("{ORIGIN}/3"))
            .bind(frontier.to_bytes())
            .bind(Hash::EMPTY.0.as_slice())
            .execute(&pool)
            .await
            .unwrap();
        let key = SigningKey::from_seed(&format!("{ORIGIN}/3"), Kind::Ed25519, &[7; 32]).unwrap();
        Self { pool, key, frontier, edge: Edge::new(), leaves: Vec::new(), tiles }
    }

    /// Appends records up to a size, in batches as a lane writes them, and publishes a checkpoint of it.
    async fn grow(&mut self, size: u64) {
        while self.frontier.size() < size {
            let first = self.frontier.size();
            self.append((first..size.min(first + 1_000)).map(leaf).collect()).await;
        }
        let root = self.frontier.root();
        let note = Checkpoint::new(format!("{ORIGIN}/3"), size, root).sign(&self.key).unwrap();
        let insert = "insert into log_checkpoint (lane, size, note, vkey) values (3, $1, $2, '')";
        let query = sqlx::query(insert).bind(i64::try_from(size).unwrap());
        query.bind(note.to_string()).execute(&self.pool).await.unwrap();
    }

    async fn append(&mut self, leaves: Vec<Vec<u8>>) {
        let first = i64::try_from(self.frontier.size()).unwrap();
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| Hash::leaf(leaf)).collect();
        let marks: Vec<u8> = hashes.iter().flat_map(|hash| hash.0[..8].to_vec()).collect();
        let full = self.edge.append(&hashes);
        for hash in &hashes {
            self.frontier.append(*hash);
        }
        self.leaves.extend(hashes);
        let mut transaction = self.pool.begin().await.unwrap();
        sqlx::query("insert into log_batch (lane, first_index, count, epoch, leaves, marks) values (3, $1, $2, 1, $3, $4)")
            .bind(first)
            .bind(i32::try_from(leaves.len()).unwrap())
            .bind(tlog::bundle::encode(leaves.iter().map(Vec::as_slice)).unwrap())
            .bind(marks)
            .execute(&mut *transaction)
            .await
            .unwrap();
        for (id, hashes) in full {
            sqlx::query("insert into log_tile (lane, level, n, hashes) values (3, $1, $2, $3)")
                .bind(i16::from(id.level))
                .bind(i64::try_from(id.index).unwrap())
                .bind(Hash::concat(&hashes))
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        sqlx::query("update log_head set size = $1, frontier = $2, root = $3 where lane = 3")
            .bind(i64::try_from(self.frontier.size()).unwrap())
            .bind(self.frontier.to_bytes())
            .bind(self.frontier.root().0.as_slice())
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    /// Status, content type and how long it holds.
    async fn kind(&self, path: &str, as_whom: Option<&str>) -> (u16, String, String) {
        let response = self.ask(path, as_whom).await;
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        (response.status().as_u16(), header("content-type"), header("cache-control"))
    }

    async fn ask(&self, path: &str, as_whom: Option<&str>) -> Response<Full<bytes::Bytes>> {
        self.send("GET", path, as_whom).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        as_whom: Option<&str>,
    ) -> Response<Full<bytes::Bytes>> {
        let certificate = as_whom.map(|name| {
            let digest = sha2::Sha256::digest(name).into();
            Arc::new(PeerCertificate {
                spiffe_ids: Vec::new(),
                dns_names: vec![name.to_owned()],
                sha256: hex::encode(digest),
                digest,
                not_before: 0,
                not_after: i64::MAX,
            })
        });
        let connection = Connection { remote: ([127, 0, 0, 1], 1).into(), certificate };
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        self.tiles.handle(&connection, &request).await
    }

    async fn bytes(&self, path: &str, as_whom: Option<&str>) -> Vec<u8> {
        let response = self.ask(path, as_whom).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    async fn tile(&self, id: Id, width: u16) -> Vec<u8> {
        self.bytes(&path(Resource::Tile { id, width }), None).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.ask(path, Some(AUDITOR)).await.status().as_u16()
    }
}

/// Tiles as another implementation asks for them.
struct Fetched(HashMap<String, Vec<u8>>);

impl tlog_tiles::TileReader for Fetched {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths name the height, as Go's checksum database does; C2SP's do not.
        let served =
            |tile: &tlog_tiles::Tile| self.0[&tile.path().replace("tile/8/", "tile/")].clone();
        Ok(tiles.iter().map(served).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_size_others_prove_records_from_what_is_served() {
    let mut log = Log::new().await;
    assert_eq!(log.status("/log/3/checkpoint").await, 404);
    assert_eq!(log.status("/log/3/tile/0/000.p/1").await, 404);
    let mut before = 0;
    for size in SIZES {
        log.grow(size).await;
        let note: Note =
            String::from_utf8(log.bytes("/log/3/checkpoint", None).await).unwrap().parse().unwrap();
        let vkey: VerifierKey = tlog::Signer::verifier(&log.key).clone();
        note.verify([&vkey]).unwrap();
        let checkpoint: Checkpoint = note.text().parse().unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (size, log.frontier.root()));

        let full = tile::completed(0, size).into_iter().map(|id| (id, WIDTH));
        let mut served = Fetched(HashMap::new());
        for (id, width) in full.chain(tile::partials(size)) {
            let bytes = log.tile(id, width).await;
            assert_eq!(bytes.len(), usize::from(width) * 32);
            served.0.insert(Resource::Tile { id, width }.to_string(), bytes);
        }
        // Another implementation holds every tile against the signed root, and proves records and growth from them.
        let root = tlog_tiles::Hash(checkpoint.root.0);
        let reader = tlog_tiles::TileHashReader::new(size, root, &served);
        for index in [0, size / 2, size - 1] {
            let proof = tlog_tiles::prove_record(size, index, &reader).unwrap();
            let hash = tlog_tiles::Hash(log.leaves[usize::try_from(index).unwrap()].0);
            tlog_tiles::check_record(&proof, size, root, index, hash).unwrap();
        }
        if before > 0 {
            let mut old = Frontier::new();
            log.leaves.iter().take(before).for_each(|leaf| old.append(*leaf));
            let before = before as u64;
            let proof = tlog_tiles::prove_tree(size, before, &reader).unwrap();
            let old = tlog_tiles::Hash(old.root().0);
            tlog_tiles::check_tree(&proof, size, root, before, old).unwrap();
        }
        before = usize::try_from(size).unwrap();
    }
    // What a checkpoint was made for is still served when the log has grown past it.
    for size in SIZES {
        for (id, width) in tile::partials(size) {
            assert_eq!(log.tile(id, width).await.len(), usize::from(width) * 32, "{size}");
        }
        let (whole, part) = log.leaves[..usize::try_from(size).unwrap()].as_chunks::<256>();
        let id = Id { level: 0, index: whole.len() as u64 };
        let width = u16::try_from(part.len()).unwrap();
        assert!(width == 0 || log.tile(id, width).await == Hash::concat(part), "{size}");
    }
    // Wider than it was given before, of a tile that is full by now.
    let (first, leaves) = (Id { level: 0, index: 0 }, &log.leaves[..256]);
    for width in [1_u16, 2, 200, 255, 256, 3] {
        assert_eq!(log.tile(first, width).await, Hash::concat(&leaves[..usize::from(width)]));
    }
    for none in [
        "tile/0/273",
        "tile/0/273.p/113",
        "tile/1/001",
        "tile/2/000.p/2",
        "tile/3/000.p/1",
        "tile/0/0",
        "tile/0/000.p/256",
    ] {
        assert_eq!(log.status(&format!("/log/3/{none}")).await, 404, "{none}");
    }
    for index in [0, 100, 273] {
        let width = tile::width(Id { level: 0, index }, 70_000);
        let bytes = log.bytes(&path(Resource::Entries { index, width }), Some(AUDITOR)).await;
        let leaves: Vec<Hash> =
            tlog::bundle::leaves(&bytes).map(|leaf| Hash::leaf(leaf.unwrap())).collect();
        assert_eq!(Hash::concat(&leaves), log.tile(Id { level: 0, index }, width).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_say_how_long_they_hold_and_what_they_are() {
    let mut log = Log::new().await;
    log.grow(257).await;
    let seen = async |path: &str, who| log.kind(path, who).await;
    let (text, bytes) = ("text/plain; charset=utf-8", "application/octet-stream");
    let (short, forever) = ("public, max-age=1", "public, max-age=31536000, immutable");
    let own = "private, max-age=31536000, immutable";
    for (path, who, status, kind, keep) in [
        ("/log/3/checkpoint", None, 200, text, short),
        ("/log/3/tile/0/000", None, 200, bytes, forever),
        ("/log/3/tile/1/000.p/1", None, 200, bytes, forever),
        ("/log/3/tile/entries/000", Some(AUDITOR), 200, bytes, own),
        ("/log/3/tile/entries/001.p/1", Some(AUDITOR), 200, bytes, own),
        ("/log/3/tile/0/001", None, 404, text, "no-store"),
        ("/log/3/tile/entries/001", Some(AUDITOR), 404, text, "no-store"),
        // Nobody, somebody of the right organisation or role alone: records are not for them, there or not.
        ("/log/3/tile/entries/000", None, 401, text, "no-store"),
        ("/log/3/tile/entries/009", None, 401, text, "no-store"),
        ("/log/3/tile/entries/000", Some("stranger.example"), 401, text, "no-store"),
        ("/log/3/tile/entries/000", Some("clerk.example"), 403, text, "no-store"),
        ("/log/3/tile/entries/000", Some("auditor.bank.example"), 403, text, "no-store"),
        ("/log/4/checkpoint", None, 404, text, "no-store"),
        ("/log/03/checkpoint", None, 404, text, "no-store"),
        ("/log/+3/checkpoint", None, 404, text, "no-store"),
        ("/log/99999/checkpoint", None, 404, text, "no-store"),
        ("/log/3/checkpoint/", None, 404, text, "no-store"),
        ("/log/3//checkpoint", None, 404, text, "no-store"),
        ("/log/3/tile/0/%30%30%30", None, 404, text, "no-store"),
        ("/3/checkpoint", None, 404, text, "no-store"),
        ("/", None, 404, text, "no-store"),
    ] {
        let expected = (status, kind.to_owned(), keep.to_owned());
        assert_eq!(seen(path, who).await, expected, "{path} {who:?}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = log.send(method, "/log/3/checkpoint", None).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_below_the_minimum_index_is_not_served_and_the_rest_is() {
    let mut log = Log::new().await;
    log.grow(1_000).await;
    sqlx::query("update log_head set minimum_index = 512").execute(&log.pool).await.unwrap();
    for (path, status) in [
        ("tile/0/000", 404),
        ("tile/0/001", 404),
        ("tile/0/001.p/7", 404),
        ("tile/0/002", 200),
        ("tile/entries/001", 404),
        ("tile/entries/002", 200),
        ("tile/entries/003.p/232", 200),
        ("tile/1/000.p/3", 200),
        ("checkpoint", 200),
    ] {
        assert_eq!(log.status(&format!("/log/3/{path}")).await, status, "{path}");
    }
    let beyond = sqlx::query("update log_head set minimum_index = 1001").execute(&log.pool).await;
    assert!(beyond.is_err(), "it cannot be more than the size");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lacks_a_tile_says_so_and_gives_nothing() {
    let mut log = Log::new().await;
    log.grow(600).await;
    sqlx::query("delete from log_tile where n = 1").execute(&log.pool).await.unwrap();
    assert_eq!(log.status("/log/3/tile/0/001").await, 500);
    assert_eq!(log.status("/log/3/tile/1/000.p/2").await, 500);
    assert_eq!(log.status("/log/3/tile/1/000.p/1").await, 200);
    sqlx::query("delete from log_batch where first_index = 0").execute(&log.pool).await.unwrap();
    assert_eq!(log.status("/log/3/tile/entries/000").await, 500);
}

/// A record that a standby did not have is seen until the failover takes it away; no receipt and no checkpoint has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_checkpoint_covered_is_read_again() {
    let mut log = Log::new().await;
    log.grow(10).await;
    log.bytes("/log/3/checkpoint", None).await;
    let (first, before) = (Id { level: 0, index: 0 }, (log.frontier.clone(), log.edge.clone()));
    log.append((100..103).map(leaf).collect()).await;
    assert_eq!(log.tile(first, 13).await, Hash::concat(&log.leaves));
    for (path, who, keep) in [
        ("/log/3/tile/0/000.p/13", None, "no-store"),
        ("/log/3/tile/0/000.p/10", None, "public, max-age=31536000, immutable"),
        ("/log/3/tile/entries/000.p/13", Some(AUDITOR), "no-store"),
        ("/log/3/tile/entries/000.p/10", Some(AUDITOR), "private, max-age=31536000, immutable"),
    ] {
        assert_eq!(log.kind(path, who).await.2, keep, "{path}");
    }
    (log.frontier, log.edge) = before;
    log.leaves.truncate(10);
    sqlx::query("delete from log_batch where first_index = 10").execute(&log.pool).await.unwrap();
    log.grow(20).await;
    for width in [13_u16, 20, 12, 5] {
        let leaves = &log.leaves[..usize::from(width)];
        assert_eq!(log.tile(first, width).await, Hash::concat(leaves), "{width}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_serves_its_log_and_a_receipt_is_proven_from_it() {
    let stage = Stage::shared().await;
    let answer = stage.caller("kr-retailer").post(CHAT, &[], chat().to_string().as_bytes()).await;
    let receipt = answer.receipt();
    let text = receipt.checkpoint.split("\n\n").next().unwrap();
    let of_receipt: Checkpoint = format!("{text}\n").parse().unwrap();
    let lane = of_receipt.origin.rsplit('/').next().unwrap();
    let http = stage.with_authorization(None);
    let get = async |path: &str| http.of_log(path).await;

    // The tiles of the receipt's own size give its root, whether or not a checkpoint of that size was published.
    let mut tiles = std::collections::BTreeMap::new();
    let full = tile::completed(0, of_receipt.size).into_iter().map(|id| (id, WIDTH));
    for (id, width) in full.chain(tile::partials(of_receipt.size)) {
        let served = get(&format!("{lane}/{}", Resource::Tile { id, width })).await;
        assert_eq!(served.status, 200);
        tiles.insert(id, Hash::many(&served.body).unwrap());
    }
    assert_eq!(tlog::proof::root(&tiles, of_receipt.size), Ok(of_receipt.root));

    // Published within a second or so.
    let checkpoint = format!("{lane}/checkpoint");
    eventually("a checkpoint is served", async || get(&checkpoint).await.status == 200).await;
    let published = get(&format!("{lane}/checkpoint")).await;
    assert_eq!(
        (published.status, published.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    stage.trust(lane.parse().unwrap()).check(&published.text()).unwrap();
    // What is under a checkpoint stays as it is.
    let newest = tile::partials(of_receipt.size).into_iter().next();
    let full = || tile::completed(0, of_receipt.size).into_iter().next().map(|id| (id, WIDTH));
    let (id, width) = newest.or_else(full).unwrap();
    let tile = format!("{lane}/{}", Resource::Tile { id, width });
    eventually("a checkpoint covers the receipt", async || {
        get(&tile).await.header("cache-control") == Some("public, max-age=31536000, immutable")
    })
    .await;

    // A second implementation reads the whole lane over TLS.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify_more.py");
    let url = format!("{}/{lane}", stage.log_url());
    let key = Key::read(&stage.world.dir.join("log.key")).unwrap();
    let vkey = key.vkey(haetae::demo::gateway::ORIGIN, lane.parse().unwrap()).unwrap();
    let root = stage.world.dir.join("pki/root.pem");
    let reader = tokio::process::Command::new(python())
        .args([script, "served", &url, &vkey, root.to_str().unwrap()])
        .output()
        .await
        .unwrap();
    assert!(reader.status.success(), "{}", String::from_utf8_lossy(&reader.stderr));

    let entries = format!("{lane}/tile/entries/000.p/1");
    let refused = get(&entries).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(stage.caller("kr-retailer").of_log(&entries).await.status, 403);
    assert_eq!(stage.certified("kr-retailer").of_log(&entries).await.status, 403);
    let bearer = Bearer { org: SUPERVISOR, subject: "reviewer", roles: &["auditor"] };
    let token =
        stage.world.issuer.mint(Mint::Right(Algorithm::EdDSA), bearer, stage.world.clock.unix_s());
    let reader = stage.with_authorization(Some(format!("Bearer {}", token.unwrap())));
    let given: Answer = reader.of_log(&entries).await;
    assert_eq!(
        (given.status, given.header("cache-control")),
        (200, Some("private, max-age=31536000, immutable"))
    );
    let leaf = tlog::bundle::leaves(&given.body).next().unwrap().unwrap();
    assert_eq!(Hash::leaf(leaf).0, get(&format!("{lane}/tile/0/000.p/1")).await.body[..]);
    assert!(String::from_utf8_lossy(leaf).contains("\"kind\":\"lane_open\""));
    // It reads, and that is all that the grant is for.
    let asked = reader.post(CHAT, &[], chat().to_string().as_bytes()).await;
    assert_eq!(asked.status, 403);
}

/// A witness that was away comes back: what it cosigns first is older than what was shown meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_checkpoint_is_shown_that_is_smaller_than_one_before() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    let published = async || haetae::audit::published(&fresh.pool).await.unwrap().pop();
    let beyond = async |size: u64| {
        let _ = lab.allow().await;
        eventually("a larger checkpoint", async || {
            published().await.is_some_and(|newest| newest.size > size)
        })
        .await;
        published().await.unwrap()
    };
    let first = beyond(0).await;
    let second = beyond(first.size).await;
    let (_served, url) = Served::start(&fresh.pool).await;
    let shown = async || -> (u64, String) {
        let answer = plain_http().get(format!("{url}/0/checkpoint")).send().await.unwrap();
        let note = answer.text().await.unwrap();
        (note.lines().nth(1).unwrap().parse().unwrap(), note)
    };
    assert_eq!(shown().await.0, second.size);
    let cosign = async |one: &haetae::audit::Published| {
        haetae::audit::keep_cosignature(
            &fresh.pool,
            one,
            "witness.example",
            1,
            "\u{2014} witness.example AAAAAGxpbmU=",
        )
        .await
        .unwrap();
    };
    cosign(&first).await;
    assert_eq!(shown().await.0, second.size, "not back to the cosigned one");
    let one_that_starts_now = haetae::audit::checkpoint(&fresh.pool, 0, 0).await.unwrap().unwrap();
    assert_eq!(one_that_starts_now.0, first.size, "a cosigned one is preferred");
    cosign(&second).await;
    let third = beyond(second.size).await;
    let (size, note) = shown().await;
    assert_eq!(size, second.size, "the cosigned one before {}", third.size);
    assert!(note.contains("witness.example"), "{note}");
    // Without the witness not for long.
    let older = "update log_checkpoint set at = at - interval '11 seconds'";
    sqlx::query(older).execute(&fresh.pool).await.unwrap();
    assert_eq!(shown().await.0, third.size);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_read_records_and_texts_is_told_to_the_log() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    let _ = lab.allow().await;
    let (served, url) = Served::start(&fresh.pool).await;
    let get = async |path: &str| plain_http().get(format!("{url}/0/{path}")).send().await.unwrap();
    let text = audit::lab::draft(verdict::decision::Outcome::Allow, 0).facts;
    let path = format!("text/{}", hex::encode(text.digest));
    eventually("a checkpoint is published", async || get("checkpoint").await.status() == 200).await;
    // Of a lane that there is: else one reader could be counted under any number of them.
    let elsewhere = plain_http().get(format!("{url}/9/{path}")).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    let given = get(&path).await;
    assert_eq!(given.headers()["cache-control"], "private, max-age=31536000, immutable");
    assert_eq!(given.bytes().await.unwrap(), text.bytes);
    for entries in ["tile/entries/000.p/1", "tile/entries/000.p/2"] {
        assert_eq!(get(entries).await.status(), 200);
    }
    // Neither hashes nor what is not there is a reading of records; nor is what a stranger was refused.
    let missing = format!("text/{}", "00".repeat(32));
    for (path, status) in [("tile/0/000.p/1", 200), (&*missing, 404), ("text/00", 404)] {
        assert_eq!(get(path).await.status(), status, "{path}");
    }
    served.let_in("stranger.example");
    for path in [&*path, "tile/entries/000.p/1"] {
        assert_eq!(get(path).await.status(), 401);
    }
    served.tell(&lab.audit).await;
    let mut read = None;
    eventually("the reading is in the log", async || {
        read = lab.leaves().await.into_iter().find(|leaf| leaf["kind"] == "read");
        read.is_some()
    })
    .await;
    let read = read.unwrap();
    let wanted = json!({ "act": "fetched", "org": "supervisor", "of": 0, "from": 0, "to": 2, "bundles": 2, "texts": 1 });
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(&read[key], value, "{key} of {read}");
    }
    assert_eq!(read["people"].as_array().unwrap().len(), 1);
    assert!(!read.to_string().contains("reader.example"), "people only as digests");
    // Told once.
    served.tell(&lab.audit).await;
    let _ = lab.allow().await;
    assert_eq!(lab.leaves().await.iter().filter(|leaf| leaf["kind"] == "read").count(), 1);
    lab.stop().await;
}

fn leaf(index: u64) -> Vec<u8> {
    format!("record {index}").into_bytes()
}

fn path(resource: Resource) -> String {
    format!("/log/3/{resource}")
}

const ORIGIN: &str = "gateway.example/log";
const AUDITOR: &str = "auditor.example";
/// The specification's worked example, 70,000, and both sides of each edge.
const SIZES: [u64; 8] = [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000];
