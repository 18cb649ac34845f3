//! Writes export files the way docs/record.md says, straight on `tlog`: what the verifier is shown does not come from
//! the code that it checks.

use std::{collections::BTreeMap, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tlog::{Checkpoint, Frontier, Hash, Signer, SigningKey, VerifierKey, key::Kind, tile::Edge};
use verdict::{Rulebook, facts::Facts};

/// Some data of a Korean organisation: at home it may be used, in Japan a rule refuses.
pub const BUNDLE: &str = r#"{"name":"test","version":"1","regimes":[{"id":"KR.X","mode":"floor"}],"groups":[],
"rules":[{"id":"R1","basis":["house"],"text":{"en":"No export.","ko":"반출 금지."},"citation":"-","mark":"M"}],
"rows":[{"rule":"R1","number":1,"kind":"restrict","out":"deny","regime":"KR.X","flow":"*","to":"JP","profiles":["statutory"]}],
"vocabulary":{},"limits":{"tia_age_s":0,"check_age_s":0,"attestation_age_s":0,"exposure_share":50,"control_share":50}}"#;

pub const ORIGIN: &str = "gw.example/log";
/// Every decision is judged for this second.
pub const JUDGED: i64 = 1_795_449_600;
const CREATED: &str = "2026-11-23T16:30:00.000000000Z";
const FACT_VERSION: u64 = 7;

/// One lane's records and its key.
pub struct Lane {
    pub number: u16,
    pub key: SigningKey,
    pub leaves: Vec<Vec<u8>>,
    /// Indexes below this have rows.
    pub projected: usize,
    /// Sizes with a checkpoint; the last one ends what is exported.
    pub checkpoints: Vec<usize>,
    /// The first index that is exported.
    pub from: usize,
    pub epoch: u64,
}

/// A file as its lines, without the last one, and the lanes' keys.
pub struct Export {
    pub lines: Vec<Value>,
    pub keys: Vec<VerifierKey>,
}

/// Texts by digest: kind and bytes.
#[derive(Default)]
pub struct Texts(pub BTreeMap<[u8; 32], (&'static str, Vec<u8>)>);

/// What a decision's leaf points to and says.
pub struct Decided {
    pub outcome: Value,
    pub fields: Map<String, Value>,
}

impl Texts {
    pub fn keep(&mut self, kind: &'static str, bytes: Vec<u8>) -> String {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        self.0.insert(digest, (kind, bytes));
        STANDARD.encode(digest)
    }

    /// Judges data of the organisation at a site in `place`, and keeps the three texts.
    pub fn decide(&mut self, place: &str, dataset: &str) -> Decided {
        self.decide_let_in(place, dataset, None)
    }

    /// The same of a caller who was let in (or not) by access rows that are about this service and operation.
    pub fn decide_let_in(
        &mut self,
        place: &str,
        dataset: &str,
        about: Option<(&str, &str)>,
    ) -> Decided {
        let book: Rulebook = serde_json::from_str(BUNDLE).unwrap();
        let mut facts = facts(place, dataset);
        facts.access = about.map(|(service, operation)| {
            serde_json::from_value(json!({
                "service": service, "operation": operation,
                "rows": [{ "id": "a-1", "out": "allow", "service": service, "operation": operation }],
            }))
            .unwrap()
        });
        self.judge(&book, &facts, JUDGED)
    }

    /// Judges these facts under these rules for an instant, and keeps the three texts.
    pub fn judge(&mut self, book: &Rulebook, facts: &Facts, at: i64) -> Decided {
        let judgement = verdict::judge(book, facts, at);
        let first = judgement.decision.reasons.first();
        let mut fields = Map::new();
        for (kind, bytes) in [
            ("bundle", verdict::canonical(book).unwrap()),
            ("facts", verdict::canonical(facts).unwrap()),
            ("detail", verdict::canonical(&judgement).unwrap()),
        ] {
            fields.insert(kind.into(), self.keep(kind, bytes).into());
        }
        fields.insert(
            "reason".into(),
            json!(first.map_or(json!("ALLOWED_BY_RULE"), |why| json!(why.code))),
        );
        if let Some(rule) = first.and_then(|why| why.rule.as_ref()) {
            fields.insert("rule".into(), json!(rule));
        }
        if let Some(site) = judgement.permitted.first() {
            fields.insert("site".into(), json!(site));
            fields.insert("identity".into(), json!("spiffe://site.example/s-1"));
            fields.insert(
                "request".into(),
                json!({ "authority": "s-1.example", "method": "POST", "path": "/v1" }),
            );
        }
        Decided { outcome: json!(judgement.outcome), fields }
    }
}

/// Data of the organisation, and a site in this place.
pub fn facts(place: &str, dataset: &str) -> Facts {
    let component = json!({ "dataset": dataset, "regimes": ["KR.X"], "origins": ["KR"] });
    serde_json::from_value(json!({
        "question": {
            "profile": "statutory", "role": "entrustment", "components": [component],
            "recipient": { "place": "KR", "same_entity": true },
        },
        "sites": [{ "id": "s-1", "location": place, "operator": { "entity": "A", "seat": "KR" } }],
    }))
    .unwrap()
}

impl Lane {
    pub fn open(number: u16) -> Self {
        let origin = format!("{ORIGIN}/{number}");
        let seed = [u8::try_from(number + 1).unwrap(); 32];
        let key = SigningKey::from_seed(&origin, Kind::Ed25519, &seed).unwrap();
        let (leaves, checkpoints) = (Vec::new(), Vec::new());
        let mut lane =
            Self { number, key, leaves, projected: usize::MAX, checkpoints, from: 0, epoch: 0 };
        lane.claim();
        lane
    }

    /// Begins a new epoch.
    pub fn claim(&mut self) {
        self.epoch += 1;
        let (size, root) = (self.leaves.len(), self.root(self.leaves.len()));
        let key = self.key.verifier().to_string();
        let origin = format!("{ORIGIN}/{}", self.number);
        self.push(
            "lane_open",
            json!({
                "build": "haetae test", "key": key, "origin": origin, "root": root, "size": size,
                "version": FACT_VERSION,
            }),
        );
    }

    /// Appends a record; `fields` may overrule what every record has. Gives its id.
    pub fn push(&mut self, kind: &str, fields: Value) -> String {
        let index = self.leaves.len();
        let id = format!("01900000-0000-7000-8{:03x}-{index:012x}", self.number);
        let at = format!("2026-11-23T16:00:{:02}.{:09}Z", self.number, index + 1);
        let mut leaf = json!({
            "v": 1, "kind": kind, "id": id, "lane": self.number, "index": index, "epoch": self.epoch,
            "at": at, "nonce": STANDARD.encode([7; 16]),
        });
        leaf.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.leaves.push(verdict::canonical(&leaf).unwrap());
        leaf["id"].as_str().unwrap().to_owned()
    }

    pub fn decision(&mut self, decided: &Decided, lies: Value) -> String {
        let mut fields = json!({
            "org": "org-a", "actor": STANDARD.encode([1; 32]), "actor_kind": "human", "credential": "token",
            "network": "203.0.113.0/24", "protocol": "openai", "operation": "chat.completions",
            "service": "llama", "trace": "0".repeat(32), "body": STANDARD.encode([2; 32]), "body_bytes": 11,
            "datasets": ["d@1"], "judged": JUDGED, "fact_version": FACT_VERSION, "outcome": decided.outcome,
        });
        let object = fields.as_object_mut().unwrap();
        object.extend(decided.fields.clone());
        object.extend(lies.as_object().unwrap().clone());
        object.retain(|_, value| !value.is_null());
        self.push("decision", fields)
    }

    /// Says that the rules of a decision came into force.
    pub fn announce(&mut self, decided: &Decided) {
        self.push("policy_change", json!({ "bundle": decided.fields["bundle"] }));
    }

    /// Forwarded and ended.
    pub fn forward(&mut self, decision: &str) {
        self.push(
            "started",
            json!({ "decision": decision, "identity": "spiffe://site.example/s-1" }),
        );
        self.push("ended", json!({
            "decision": decision, "how": "forwarded", "status": 200, "bytes_out": 11, "bytes_back": 400,
            "duration_ms": 12,
        }));
    }

    /// What a heartbeat keeps of this lane at a size.
    pub fn head(&self, size: usize) -> Value {
        json!({ "epoch": 1, "lane": self.number, "size": size, "root": self.root(size) })
    }

    pub fn root(&self, size: usize) -> String {
        self.frontier(size).root().to_string()
    }

    fn frontier(&self, size: usize) -> Frontier {
        let mut tree = Frontier::new();
        self.leaves.iter().take(size).for_each(|leaf| tree.append(Hash::leaf(leaf)));
        tree
    }

    fn to(&self) -> usize {
        self.checkpoints.last().copied().unwrap_or(0)
    }

    fn header(&self) -> Value {
        let bytes = self.frontier(self.from).to_bytes();
        let left: Vec<String> =
            Hash::many(&bytes[8..]).unwrap().iter().map(Hash::to_string).collect();
        let origin = format!("{ORIGIN}/{}", self.number);
        json!({
            "lane": self.number, "origin": origin, "from": self.from, "to": self.to(), "left": left,
            "projected": self.projected.min(self.to()),
        })
    }

    fn signed(&self) -> Vec<Value> {
        let line = |size: &usize| {
            let root = self.frontier(*size).root();
            let text = Checkpoint::new(format!("{ORIGIN}/{}", self.number), *size as u64, root);
            let note = text.sign(&self.key).unwrap().to_string();
            json!({ "type": "checkpoint", "lane": self.number, "size": size, "note": note })
        };
        self.checkpoints.iter().map(line).collect()
    }

    fn tiles(&self) -> Vec<Value> {
        let hashes: Vec<Hash> =
            self.leaves.iter().take(self.to()).map(|leaf| Hash::leaf(leaf)).collect();
        let mut tiles = Edge::new().append(&hashes);
        tiles.retain(|(id, _)| (id.index << (8 * (u32::from(id.level) + 1))) >= self.from as u64);
        tiles.sort_by_key(|(id, _)| *id);
        let line = |(id, hashes): &(tlog::tile::Id, Vec<Hash>)| {
            let bytes = STANDARD.encode(Hash::concat(hashes));
            json!({ "type": "tile", "lane": self.number, "level": id.level, "n": id.index, "hashes": bytes })
        };
        tiles.iter().map(line).collect()
    }

    fn records(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for (index, leaf) in self.leaves.iter().enumerate().take(self.to()).skip(self.from) {
            lines.push(leaf_line(self.number, index, leaf));
            let row = row_of(leaf).filter(|_| index < self.projected);
            lines.extend(row.map(|row| json!({ "type": "row", "row": row })));
        }
        lines
    }
}

impl Export {
    pub fn of(lanes: &[&Lane], texts: &Texts) -> Self {
        let headers: Vec<Value> = lanes.iter().map(|lane| lane.header()).collect();
        let mut lines = vec![json!({
            "type": "header", "format": "haetae-export", "v": 1, "build": "haetae test", "created": CREATED,
            "lanes": headers,
        })];
        let keys: Vec<VerifierKey> = lanes.iter().map(|lane| lane.key.verifier().clone()).collect();
        let vkey = |lane: &&Lane| json!({ "type": "vkey", "lane": lane.number, "vkey": lane.key.verifier().to_string() });
        lines.extend(lanes.iter().map(vkey));
        lines.extend(lanes.iter().flat_map(|lane| lane.signed()));
        lines.extend(lanes.iter().flat_map(|lane| lane.tiles()));
        lines.extend(texts.0.iter().map(|(digest, (kind, bytes))| {
            json!({
                "type": "text", "kind": kind, "digest": STANDARD.encode(digest),
                "bytes": STANDARD.encode(bytes),
            })
        }));
        lines.extend(lanes.iter().flat_map(|lane| lane.records()));
        Self { lines, keys }
    }

    /// The place of the only line that is as described.
    pub fn find(&self, kind: &str, keys: &[(&str, Value)]) -> usize {
        let fits = |line: &Value| {
            line["type"] == kind && keys.iter().all(|(key, value)| line[*key] == *value)
        };
        let found: Vec<usize> = (0..self.lines.len()).filter(|at| fits(&self.lines[*at])).collect();
        assert_eq!(found.len(), 1, "{kind} {keys:?}");
        found[0]
    }

    pub fn leaf(&self, lane: u16, index: usize) -> usize {
        self.find("leaf", &[("lane", lane.into()), ("index", index.into())])
    }

    /// The whole file with a last line that fits: what somebody careful would write.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend(verdict::canonical(line).unwrap());
            bytes.push(b'\n');
        }
        let count = |kind: &str| self.lines.iter().filter(|line| line["type"] == kind).count();
        let end = json!({
            "type": "end", "lines": self.lines.len(), "leaves": count("leaf"), "texts": count("text"),
            "checkpoints": count("checkpoint"), "rows": count("row"), "tiles": count("tile"),
            "vkeys": count("vkey"), "sha256": STANDARD.encode(Sha256::digest(&bytes)),
        });
        bytes.extend(verdict::canonical(&end).unwrap());
        bytes.push(b'\n');
        bytes
    }
}

pub fn leaf_line(lane: u16, index: usize, leaf: &[u8]) -> Value {
    let mark = STANDARD.encode(&Hash::leaf(leaf).0[..8]);
    json!({ "type": "leaf", "lane": lane, "index": index, "mark": mark, "bytes": STANDARD.encode(leaf) })
}

/// The row of a leaf, by the table of docs/record.md.
fn row_of(leaf: &[u8]) -> Option<Value> {
    let leaf: Value = serde_json::from_slice(leaf).unwrap();
    let keys = match leaf["kind"].as_str().unwrap() {
        "decision" => {
            "actor at bundle detail facts id index issuer kind lane operation org outcome reason rule service site"
        }
        "started" => "at decision id identity index kind lane",
        "ended" => "at bytes_back bytes_out decision duration_ms how id index kind lane status why",
        _ => return None,
    };
    let there = keys.split(' ').filter(|key| !leaf[*key].is_null());
    Some(there.map(|key| (key.to_owned(), leaf[key].clone())).collect::<Map<_, _>>().into())
}

/// A file on disk for as long as it is needed.
pub fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.export");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}
